/** A file that a command makes: whole, or not there. What was there before stays when the command fails. */
import { open, rename, rm, stat } from 'node:fs/promises';
import { fromSystemError } from '../../errors.js';

/**
 * Gives `produce` a function that writes to `path`. A regular file gets its name when it is whole; a device or a FIFO is
 * written to as it is. Raises ENOENT, EACCES, EISDIR, ENOSPC and the like, and what `produce` raises.
 */
export async function writeFileOrNothing(
  path: string,
  produce: (write: (chunk: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  const isReplaced = existing === undefined || existing.isFile();
  const target = isReplaced ? `${path}.${process.pid}.tmp` : path;
  try {
    const file = await open(target, isReplaced ? 'wx' : 'w');
    try {
      await produce(async (chunk) => {
        for (let done = 0; done < chunk.length;) {
          done += (await file.write(chunk, done)).bytesWritten;
        }
      });
      if (isReplaced) await file.sync();
    } finally {
      await file.close();
    }
    if (isReplaced) await rename(target, path);
  } catch (error) {
    if (isReplaced) await rm(target, { force: true });
    throw fromSystemError(error, 'cannot write', path);
  }
}
