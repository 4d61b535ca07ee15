/** The image under a container: what is written down of it when the container is made, and how it is found again. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { openImage } from '../image/open.js';
import type { OpenedImage, OpenImageOptions } from '../image/open.js';
import { formatPlatform } from '../oci/platform.js';
import type { ContainerImage, ContainerRecord } from '../store/container-record.js';

export type BaseOptions = Omit<OpenImageOptions, 'parsed' | 'platform'>;

/** What a container has to know of the image that it is made from. */
export function imageRecord({ name, located, archived }: OpenedImage): ContainerImage {
  const { manifestDigest } = archived;
  return {
    name,
    transport: located.transport ?? null,
    path: path.resolve(located.path),
    reference: located.reference ?? null,
    platform: formatPlatform(archived.platform),
    imageId: archived.imageId,
    ...(located.transport === 'store' && manifestDigest !== undefined ? { manifestDigest } : {}),
    diffIds: archived.layers.map(({ diffId }) => diffId),
  };
}

/**
 * Opens the image of a container. It is found by its ID where its name has come to mean another. The caller closes it.
 * Raises EBASE when the archive is gone, or no longer holds that image; else as `openImage`.
 */
export async function openBase(
  { name, image }: ContainerRecord,
  options: BaseOptions = {},
): Promise<OpenedImage> {
  const lost = (what: string, cause?: unknown): LaminaError =>
    new LaminaError('EBASE', `the image of container "${name}" ${what}: ${image.path}`, {
      path: image.path,
      digest: image.imageId,
      cause,
    });
  if (image.transport === 'store') {
    const { manifestDigest = '', imageId } = image;
    const parsed = { transport: 'store' as const, path: image.path, reference: imageId, manifestDigest };
    return openImage(image.name, { ...options, parsed }).catch((error: unknown) => {
      if (error instanceof LaminaError && error.code === 'EBLOB')
        throw lost('is not in the store any more', error);
      throw error;
    });
  }
  if (!existsSync(image.path)) throw lost('is gone');
  const named = { transport: image.transport ?? undefined, path: image.path };
  const open = (reference: string | undefined): Promise<OpenedImage> =>
    openImage(image.name, { ...options, parsed: { ...named, reference } });
  let opened: OpenedImage;
  try {
    opened = await open(image.imageId);
  } catch (error) {
    if (!(error instanceof LaminaError) || !CHANGED.has(error.code)) throw error;
    if (error.code !== 'ENOIMAGE') throw lost('cannot be read any more', error);
    // Archives of Docker before 1.10 hold no IDs.
    opened = await open(image.reference ?? undefined).catch((cause: unknown) => {
      throw lost('is no longer in the archive', cause);
    });
  }
  const diffIds = opened.archived.layers.map(({ diffId }) => diffId);
  if (opened.archived.imageId === image.imageId && diffIds.join() === image.diffIds.join()) return opened;
  opened.close();
  throw lost(`has changed: it was ${image.imageId} and is ${opened.archived.imageId}`);
}

/** What the archive says when something else stands in its place. */
const CHANGED = new Set(['ENOENT', 'ENOIMAGE', 'ENOTARCHIVE', 'EBADTAR', 'EBADIMAGE', 'EBLOB', 'EPLATFORM']);
