/**
 * flock(2), which dies with the process that holds it and leaves nothing behind. Node has no such call: lamina-fuse takes the
 * lock on a descriptor that it inherits, and since the lock belongs to the open file it stays with us when the helper ends.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { fromSystemError } from '../errors.js';
import { HELPER_FD, helperError, startHelper } from './helper.js';

export interface HeldLock {
  release(): void;
}

/** Waits for the lock of the file or directory at `path`; a file is made when it is missing. Raises EACCES, ENOENT, ENOSERVER. */
export async function takeLock(path: string): Promise<HeldLock> {
  return (await lock(path, constants.O_RDWR | constants.O_CREAT, []))!;
}

/** Waits for the lock of a directory. */
export async function lockDirectory(path: string): Promise<HeldLock> {
  return (await lock(path, constants.O_RDONLY | constants.O_DIRECTORY, []))!;
}

/** The lock of a directory; undefined when another process holds it. */
export async function tryLockDirectory(path: string): Promise<HeldLock | undefined> {
  return lock(path, constants.O_RDONLY | constants.O_DIRECTORY, ['--try']);
}

/** The lock of a file, which is made when it is missing; undefined when another process holds it. `fd` is open for reading and writing until it is released. */
export async function tryLockFile(path: string): Promise<(HeldLock & { fd: number }) | undefined> {
  return lock(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, ['--try']);
}

async function lock(
  path: string,
  flags: number,
  options: readonly string[],
): Promise<(HeldLock & { fd: number }) | undefined> {
  let fd: number;
  try {
    fd = openSync(path, flags, 0o600);
  } catch (error) {
    throw fromSystemError(error, 'cannot lock', path);
  }
  try {
    const helper = startHelper(['lock', ...options, String(HELPER_FD)], [fd]);
    helper.stdin.end();
    helper.stdout.resume();
    const { status, said } = await helper.ended;
    if (status === 0) return { fd, release: () => closeSync(fd) };
    if (status !== 3) throw helperError(said, `cannot lock ${path}:`, status);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}
