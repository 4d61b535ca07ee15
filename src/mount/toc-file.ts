/** Opens the file of a merged TOC. */
import { openSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../errors.js';

/** Raises EBADTOC when it has gone: whoever cleared the cache may have done so since it was found, and it can be made again. */
export function openTocFile(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(error, 'cannot open', file);
    throw new LaminaError('EBADTOC', `${file} is gone`, { path: file, cause: error });
  }
}
