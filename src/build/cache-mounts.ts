/** The directories that `RUN --mount=type=cache` shows, `cache-mounts/<digest of its ID>/data` in the store. Nothing else needs them. */
import { renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import { namesIn } from '../store/blobs.js';
import { diskBytes } from '../store/collect.js';
import { lockDirectory } from '../store/flock.js';
import { temporaryName } from '../store/files.js';
import { keyOf } from './state.js';

const DIRECTORY = 'cache-mounts';

export function cacheMount(root: string, id: string): string {
  return path.join(root, DIRECTORY, keyOf(id).slice('sha256:'.length));
}

/**
 * Removes all of them, each when no command that asked to have it alone (`sharing=locked`) is at work in it; others lose their files.
 * @returns the bytes that were freed
 */
export async function pruneCacheMounts(root: string): Promise<number> {
  let freed = 0;
  for (const name of namesIn(path.join(root, DIRECTORY))) {
    const directory = path.join(root, DIRECTORY, name);
    const away = path.join(root, 'tmp', temporaryName());
    const lock = await lockDirectory(directory);
    try {
      freed += diskBytes(directory);
      renameSync(directory, away);
      rmSync(away, { recursive: true, force: true });
    } catch (error) {
      throw fromSystemError(error, 'cannot remove', directory);
    } finally {
      lock.release();
    }
  }
  return freed;
}
