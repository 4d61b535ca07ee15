/**
 * What a lazy mount has of a layer: `partial/lazy-<algorithm>-<hex>/`, with the parts of the blob that have come (`blob`, `have`), and what
 * says where things are in it (`table`). Who works with it holds the lock of `lock`, which dies with the process. A pull of the
 * layer goes on from there.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
} from 'node:fs';
import path from 'node:path';
import { fromSystemError } from '../../errors.js';
import { namesIn } from '../../store/blobs.js';
import { tryLockFile } from '../../store/flock.js';
import type { PartialFile } from '../partial.js';
import { readWhole, SparseBlob } from './sparse-blob.js';

const CHUNK_BYTES = 1 << 20;

/** Bytes `from`..`end` of a blob, or all that follow. */
export type Download = (from: number, end?: number) => AsyncIterable<Buffer>;

export interface BlobInParts {
  /** As a pull takes it: of no length yet, because its parts are hashed again. */
  partial: PartialFile;
  /** What follows `from`: what is there from the file, what is not from the network. */
  rest(from: number, download: Download): AsyncIterable<Buffer>;
}

export function partsDirectory(root: string, digest: string): string {
  return path.join(root, 'partial', `lazy-${digest.replace(':', '-')}`);
}

const MOUNT_FILE = /^(data|map)-/;

/**
 * Whether a mount uses the directory: its fetcher has the lock, but for the moment in which it takes it over from the command that mounted. A
 * machine that went down leaves such files as well.
 */
export function isMounted(directory: string): boolean {
  return namesIn(directory).some((name) => MOUNT_FILE.test(name));
}

/** What mounts left that did not end as they should; under the lock. */
export function removeMountFiles(directory: string): void {
  for (const name of namesIn(directory))
    if (MOUNT_FILE.test(name)) rmSync(path.join(directory, name), { force: true });
}

/** Opens the file for a blob, made when it is missing; as long as the blob, whatever of it is there. Raises as the system does. */
export function openSparseFile(file: string, sizeBytes: number): number {
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
    if (fstatSync(fd).size !== sizeBytes) ftruncateSync(fd, sizeBytes);
    return fd;
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

/** What an earlier lazy mount left of a layer; undefined when there is nothing, or a mount is at work on it. */
export async function openLeftParts(
  root: string,
  { digest, sizeBytes }: { digest: string; sizeBytes: number },
): Promise<BlobInParts | undefined> {
  const directory = partsDirectory(root, digest);
  const file = path.join(directory, 'blob');
  if (!existsSync(file) || isMounted(directory)) return undefined;
  const lock = await tryLockFile(path.join(directory, 'lock'));
  if (lock === undefined) return undefined;
  if (!existsSync(file)) {
    lock.release();
    return undefined;
  }
  const fd = openSparseFile(file, sizeBytes);
  const blob = new SparseBlob(fd, sizeBytes, path.join(directory, 'have'), () => {
    throw new Error('only what follows is fetched');
  });
  return inParts(blob, file, {
    release: () => {
      closeSync(fd);
      // Once the layer is in the store nobody needs the rest.
      if (existsSync(file)) blob.save();
      else rmSync(directory, { recursive: true, force: true });
      lock.release();
    },
  });
}

interface PartsOptions {
  release: () => void;
  /** Whether somebody waits for other parts, and when nobody does any more. */
  isBusy?: () => boolean;
  untilIdle?: () => Promise<void>;
}

export function inParts(blob: SparseBlob, file: string, options: PartsOptions): BlobInParts {
  const { fd, sizeBytes } = blob;
  return {
    partial: {
      ...{ file, fd, sizeBytes: 0, release: options.release },
      remove: () => {
        blob.forget();
        rmSync(file, { force: true });
      },
    },
    rest: (from, download) => restOf(blob, sizeBytes, from, download, options),
  };
}

async function* restOf(
  blob: SparseBlob,
  sizeBytes: number,
  from: number,
  download: Download,
  { isBusy = () => false, untilIdle = async () => {} }: PartsOptions,
): AsyncGenerator<Buffer> {
  for (let position = from; position < sizeBytes;) {
    const present = Math.min(blob.have.presentUntil(position), position + CHUNK_BYTES);
    if (present > position) {
      yield await readWhole(blob.fd, position, present);
      position = present;
      continue;
    }
    await untilIdle();
    const end = Math.min(sizeBytes, blob.have.nextAfter(position));
    for await (const chunk of download(position, end)) {
      await blob.put(position, chunk);
      yield chunk;
      position += chunk.length;
      // Who waits for a part comes first, and gets the whole line.
      if (isBusy()) break;
    }
  }
}
