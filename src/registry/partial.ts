/**
 * Blobs on their way: `partial/<algorithm>-<hex>`, as far as they have come, so that a later pull goes on from there. A partial file is
 * never read by anybody else and is never taken for whole by its length: it counts when its bytes have been hashed. Its writer
 * holds its lock, which dies with the process; who finds it locked fetches the blob for himself.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import { namesIn } from '../store/blobs.js';
import { temporaryName } from '../store/files.js';
import { tryLockFile } from '../store/flock.js';

/** What nobody has asked for in that time is not kept. */
const MAX_AGE_MS = 7 * 24 * 3600 * 1000;

export interface PartialFile {
  file: string;
  fd: number;
  /** Bytes that are there. */
  sizeBytes: number;
  /** Lets go of it; it stays, unless it is of no use to anybody. */
  release(): void;
  remove(): void;
}

/** @param digest well-formed; a file longer than `sizeBytes` is begun anew. Raises as the system does. */
export async function openPartial(root: string, digest: string, sizeBytes: number): Promise<PartialFile> {
  const directory = path.join(root, 'partial');
  const file = path.join(directory, digest.replace(':', '-'));
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const lock = await tryLockFile(file);
      if (lock === undefined) break;
      const { ino, size } = fstatSync(lock.fd);
      // Its last holder may have moved it into the store, or removed it, while we waited for the lock.
      if (statSync(file, { throwIfNoEntry: false })?.ino !== ino) {
        lock.release();
        continue;
      }
      if (size > sizeBytes) ftruncateSync(lock.fd, 0);
      return {
        file,
        fd: lock.fd,
        sizeBytes: size > sizeBytes ? 0 : size,
        release: () => lock.release(),
        remove: () => rmSync(file, { force: true }),
      };
    }
    const own = path.join(root, 'tmp', temporaryName());
    const fd = openSync(own, 'wx+', 0o600);
    const remove = (): void => rmSync(own, { force: true });
    return {
      file: own,
      fd,
      sizeBytes: 0,
      remove,
      release: () => {
        closeSync(fd);
        remove();
      },
    };
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

const MAX_ATTEMPTS = 10;

/** Removes what has been left for long. Failing to is no harm. */
export async function sweepPartials(root: string, nowMs = Date.now()): Promise<void> {
  const directory = path.join(root, 'partial');
  for (const name of namesIn(directory)) {
    const file = path.join(directory, name);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    // Of a lazy mount (lazy/parts.ts): what was written down last says how old it is.
    const isDirectory = stats.isDirectory();
    const newest = isDirectory
      ? Math.max(stats.mtimeMs, ...namesIn(file).map((one) => mtimeOf(path.join(file, one))))
      : stats.mtimeMs;
    if (nowMs - newest < MAX_AGE_MS) continue;
    const lock = await tryLockFile(isDirectory ? path.join(file, 'lock') : file).catch(() => undefined);
    if (lock === undefined) continue;
    rmSync(file, { recursive: true, force: true });
    lock.release();
  }
}

function mtimeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
