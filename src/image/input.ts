/** Standard input as a file that can be seeked: itself where it is one, else written down for as long as it is needed. */
import { createWriteStream, fstatSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fromSystemError } from '../errors.js';
import { temporaryName } from '../store/files.js';
import { Cache } from '../store/cache.js';

/**
 * @param file a path; `-` and undefined stand for standard input
 * Raises what `use` raises, and ENOSPC; nothing is left of what was written down.
 */
export async function withInput<T>(
  root: string,
  file: string | undefined,
  use: (file: string) => Promise<T>,
): Promise<T> {
  if (file !== undefined && file !== '-') return use(file);
  if (fstatSync(0).isFile()) return use('/proc/self/fd/0');
  await Cache.open(root);
  const temporary = path.join(root, 'tmp', temporaryName());
  try {
    await mkdir(path.dirname(temporary), { recursive: true });
    await pipeline(process.stdin, createWriteStream(temporary, { flags: 'wx', mode: 0o600 }));
    return await use(temporary);
  } catch (error) {
    throw fromSystemError(error, 'cannot read standard input into', temporary);
  } finally {
    await rm(temporary, { force: true });
  }
}
