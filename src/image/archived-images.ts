/** Which images of an archive are meant when all are, and what they are going to be called. */
import type { ArchivedImage, OpenedArchive } from '../archive/image.js';
import { LaminaError } from '../errors.js';
import { formatPlatform, hostPlatform, platformRank } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { formatReference, tryParseReference, withDefaultTag } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';

export interface NamedImage {
  image: ArchivedImage;
  /** In full, each with a tag. */
  names: Reference[];
}

/**
 * Every named image once, for each of several platforms the one that is asked for, or the host's; then those without a name. Raises
 * EPLATFORM when none is for the platform that is asked for, ENOIMAGE when there is none at all, and what `select` raises.
 */
export function archivedImages(archive: OpenedArchive, platform?: Platform): NamedImage[] {
  const summaries = archive.list();
  if (summaries.length === 0)
    throw new LaminaError('ENOIMAGE', `${archive.path} holds no image`, { path: archive.path });
  const wanted = platform === undefined ? {} : { platform };
  const found = new Map<string, NamedImage>();
  const take = (reference: string, name: Reference | undefined): void => {
    const image = archive.select({ reference, ...wanted });
    const key = image.manifestDigest ?? image.imageId;
    const named = found.get(key) ?? { image, names: [] };
    found.set(key, named);
    if (name !== undefined && !named.names.some((other) => formatReference(other) === formatReference(name)))
      named.names.push(name);
  };
  const fits = (other: Platform): boolean => platformRank(other, platform ?? hostPlatform()) !== undefined;
  for (const reference of new Set(summaries.flatMap(({ references }) => references))) {
    const same = summaries.filter(({ references }) => references.includes(reference));
    // An archive of several images is loaded for what fits; one that was asked for by its platform alone may fit none.
    if (platform !== undefined && !same.some((summary) => fits(summary.platform))) continue;
    take(reference, nameOf(reference));
  }
  const unnamed = summaries.filter(({ references }) => references.length === 0);
  const fitting = unnamed.filter((summary) => fits(summary.platform));
  const chosen = platform === undefined && fitting.length === 0 ? unnamed : fitting;
  for (const { imageId, manifestDigest } of chosen) {
    const reference = manifestDigest ?? imageId;
    if (reference !== undefined) take(reference, undefined);
  }
  if (found.size === 0)
    throw new LaminaError(
      'EPLATFORM',
      `requested platform (${formatPlatform(platform ?? hostPlatform())}) not found: image might be filtered out`,
      { path: archive.path },
    );
  return [...found.values()];
}

/** undefined for what is only a tag: OCI layouts name images of one repository so. */
function nameOf(text: string): Reference | undefined {
  if (/^(latest|v?\d[\w.-]*)$/.test(text)) return undefined;
  const reference = tryParseReference(text);
  if (reference === undefined) return undefined;
  const name = withDefaultTag(reference);
  return name.digest === undefined ? name : withDefaultTag({ ...name, digest: undefined });
}
