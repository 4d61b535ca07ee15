/** What a name on the command line means: an image of the store, or one in an archive on the disk. */
import { existsSync } from 'node:fs';
import { parseImageName } from '../archive/name.js';
import type { ImageName } from '../archive/name.js';
import { LaminaError } from '../errors.js';
import type { ImageStore } from '../store/image-store.js';
import { noSuchImage } from '../store/snapshot.js';

export type LocatedImage =
  | ImageName
  | {
      transport: 'store';
      /** Directory of the store. */
      path: string;
      /** Any name that the store takes. */
      reference: string;
      /** When given, this counts. */
      manifestDigest?: string;
    };

const STORE = 'store:';

/**
 * The store comes first, as in docker, then the disk. What looks like a path, or names a transport, is never looked up in the store.
 * Raises EUSAGE, ENOIMAGE when it is neither in the store nor on the disk.
 */
export function locateImage(text: string, store: ImageStore): LocatedImage {
  if (text.startsWith(STORE)) {
    const reference = text.slice(STORE.length);
    if (reference === '') throw new LaminaError('EUSAGE', `invalid image name "${text}": it names no image`);
    return { transport: 'store', path: store.root, reference };
  }
  if (/^\.{0,2}\//.test(text) || text === '.' || text === '..') return parseImageName(text);
  const inStore = store.snapshot().find(text);
  if (inStore !== undefined) return { transport: 'store', path: store.root, reference: text };
  const onDisk = parseImageName(text);
  if (onDisk.transport !== undefined || existsSync(onDisk.path)) return onDisk;
  throw noSuchImage(text);
}
