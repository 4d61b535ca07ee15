/** `images`: which images are listed, and under which names (moby daemon/images/images.go; docker/cli formatter/image.go). */
import { familiarReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { Snapshot } from '../store/snapshot.js';
import type { StoredImage } from '../store/stored-image.js';
import { pathMatcher } from './path-match.js';

/** All that is given must fit; of `references`, one. */
export interface ImageFilter {
  /** Without a name, and no image was made from it here. */
  isDangling?: boolean;
  /** `key` or `key=value`; all must be there. */
  labels?: readonly string[];
  /** None must be there. */
  withoutLabels?: readonly string[];
  /** Names or IDs; raises ENOIMAGE for one that is not there. */
  before?: readonly string[];
  since?: readonly string[];
  /** Patterns of names. */
  references?: readonly string[];
  /** Milliseconds since the epoch: made before. */
  untilMs?: number;
}

export interface ListOptions extends ImageFilter {
  /** Also images without a name. */
  isAll?: boolean;
}

export interface ListedImage {
  image: StoredImage;
  /** The names that are shown; none for an image without one. */
  names: Reference[];
}

/** Newest first. Raises ENOIMAGE, EUSAGE. */
export function listImages(snapshot: Snapshot, options: ListOptions = {}): ListedImage[] {
  const matchers = (options.references ?? []).map(pathMatcher);
  const parents = new Set(snapshot.images.map(({ parent }) => parent));
  const isWanted = filterImages(snapshot, options, parents);
  return snapshot.images
    .filter(isWanted)
    .map((image) => ({ image, names: shownNames(image, matchers) }))
    .filter(({ image, names }) => {
      if (names.length > 0) return true;
      if (matchers.length > 0) return false;
      return options.isAll === true || options.isDangling === true || hasOtherName(image);
    })
    .sort(newestFirst);
}

/** Whether an image fits what does not concern its names. */
export function filterImages(
  snapshot: Snapshot,
  filter: ImageFilter,
  parents: ReadonlySet<string | undefined>,
): (image: StoredImage) => boolean {
  const before = (filter.before ?? []).map((name) => snapshot.get(name).image.createdMs);
  const since = (filter.since ?? []).map((name) => snapshot.get(name).image.createdMs);
  return (image) =>
    (filter.isDangling === undefined || filter.isDangling === isDangling(image, parents)) &&
    (filter.labels ?? []).every((label) => hasLabel(image, label)) &&
    !(filter.withoutLabels ?? []).some((label) => hasLabel(image, label)) &&
    before.every((createdMs) => image.createdMs < createdMs) &&
    since.every((createdMs) => image.createdMs > createdMs) &&
    (filter.untilMs === undefined || image.createdMs < filter.untilMs);
}

/** An image without a name that another was made from is intermediate, not dangling. */
export function isDangling(image: StoredImage, parents: ReadonlySet<string | undefined>): boolean {
  return image.isDangling && !parents.has(image.imageId);
}

function hasLabel({ labels }: StoredImage, label: string): boolean {
  const [key = '', wanted] = label.split(/=(.*)/s);
  const value = labels.get(key);
  return value !== undefined && (wanted === undefined || value === wanted);
}

/** Of the tagged names and those by digest, those that one of the patterns matches. */
function shownNames({ entries }: StoredImage, matchers: readonly ((name: string) => boolean)[]): Reference[] {
  const names = new Map<string, Reference>();
  for (const { name } of entries) if (name !== undefined) names.set(familiarReference(name), name);
  return [...names.values()]
    .filter(
      (name) =>
        matchers.length === 0 ||
        matchers.some(
          (matches) =>
            matches(familiarReference(name)) ||
            matches(familiarReference({ ...name, tag: undefined, digest: undefined })),
        ),
    )
    .sort((a, b) => (familiarReference(a) < familiarReference(b) ? -1 : 1));
}

/** Another tool named it, in words that are no reference. */
function hasOtherName({ entries }: StoredImage): boolean {
  return entries.some(({ otherName }) => otherName !== undefined);
}

function newestFirst(a: ListedImage, b: ListedImage): number {
  if (a.image.createdMs !== b.image.createdMs) return b.image.createdMs - a.image.createdMs;
  const [one, other] = [a, b].map(({ image, names: [name] }) =>
    name === undefined ? `\uffff${image.imageId}` : familiarReference(name),
  );
  return one! < other! ? -1 : 1;
}
