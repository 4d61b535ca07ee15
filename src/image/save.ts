/** `save`: images of the store as one docker archive, which docker, podman and skopeo read. The blobs go as they are stored. */
import { archiveMembers, describeImage } from '../archive/members.js';
import type { ArchiveMembers, DescribedImage } from '../archive/members.js';
import { formatReference, tryParseReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { parsePlatform } from '../oci/platform.js';
import type { ImageStore } from '../store/image-store.js';
import { openStored } from '../store/open-stored.js';
import type { OpenedStored } from '../store/open-stored.js';
import { noSuchImage } from '../store/snapshot.js';
import type { Snapshot } from '../store/snapshot.js';

export interface SavedImages {
  members: ArchiveMembers;
  /** To be called when the members have been read, or are not going to be. */
  close(): void;
}

interface Wanted {
  imageId: string;
  names: Reference[];
}

/**
 * What an archive of these images holds. A name alone saves all its tags, as docker does; an ID saves the image without a name.
 * Raises ENOIMAGE, EPLATFORM, EBLOB.
 */
export function saveImages(store: ImageStore, texts: readonly string[], platform?: string): SavedImages {
  const wanted = wantedImages(store.snapshot(), texts);
  const opened: OpenedStored[] = [];
  const close = (): void => {
    for (const { close: closeOne } of opened.splice(0)) closeOne();
  };
  try {
    const described: DescribedImage[] = [];
    for (const { imageId, names } of wanted) {
      const stored = openStored(
        store,
        names[0] === undefined ? imageId : formatReference(names[0]),
        platform === undefined ? undefined : parsePlatform(platform),
      );
      opened.push(stored);
      const { archived } = stored;
      const parent = store.snapshot().byId(imageId)?.parent;
      described.push(
        describeImage({
          config: archived.configBytes,
          layers: archived.layers,
          platform: archived.platform,
          manifest: { ...archived.manifest!, digest: archived.manifestDigest! },
          names,
          parent: wanted.some((other) => other.imageId === parent) ? parent : undefined,
        }),
      );
    }
    return { members: archiveMembers(described, 'docker-archive'), close };
  } catch (error) {
    close();
    throw error;
  }
}

function wantedImages(snapshot: Snapshot, texts: readonly string[]): Wanted[] {
  const wanted = new Map<string, Wanted>();
  const take = (imageId: string, name: Reference | undefined): void => {
    const image = wanted.get(imageId) ?? { imageId, names: [] };
    wanted.set(imageId, image);
    if (name !== undefined && !image.names.some((other) => formatReference(other) === formatReference(name)))
      image.names.push(name);
  };
  for (const text of texts) {
    const reference = tryParseReference(text);
    if (reference !== undefined && reference.tag === undefined && reference.digest === undefined) {
      const tagged = tagsOf(snapshot, reference);
      for (const { imageId, name } of tagged) take(imageId, name);
      if (tagged.length > 0) continue;
    }
    const { image, name } = snapshot.get(text);
    // A digest is no name that an archive could give the image again.
    take(image.imageId, name?.digest === undefined ? name : undefined);
  }
  if (wanted.size === 0) throw noSuchImage(texts[0] ?? '');
  return [...wanted.values()];
}

/** All tags of a repository, in the order of their names. */
function tagsOf({ images }: Snapshot, { domain, path }: Reference): { imageId: string; name: Reference }[] {
  return images
    .flatMap(({ imageId, entries }) =>
      entries.flatMap(({ name }) =>
        name?.domain === domain && name.path === path && name.digest === undefined ? [{ imageId, name }] : [],
      ),
    )
    .sort((a, b) => (formatReference(a.name) < formatReference(b.name) ? -1 : 1));
}
