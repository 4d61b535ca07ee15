/**
 * The contents of files in an upper directory, which a mount may be writing to. The rule it guards: no link in it is followed, so
 * nothing outside is read, whatever is put there meanwhile. Each directory on the way is opened from the one before with
 * O_NOFOLLOW, by /proc/self/fd/N/NAME (proc_pid_fd(5)), which is Node's only openat(2).
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer, displayBytes } from '../bytes.js';
import { fromSystemError, LaminaError } from '../errors.js';
import type { UpperNode } from '../layer/upper.js';
import type { ByteSource } from '../tar/source.js';

const MAX_OPEN = 64;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** O_NONBLOCK: a FIFO that takes a file's place must not make us wait. */
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A file as a scan found it. */
export type FileOnDisk = Pick<UpperNode, 'path' | 'sizeBytes' | 'disk'>;

export class UpperFiles {
  readonly #rootFd: number;
  readonly #files = new LRUCache<ByteString, number>({
    max: MAX_OPEN,
    dispose: (fd) => closeSync(fd),
    // Put back by what opens the next one: only the oldest goes.
    noDisposeOnSet: true,
  });

  /** The directory of the file that was opened last: most files stand beside the one before. */
  #directoryFd: number | undefined;
  #directoryPath = '';

  /** Raises ENOENT, EACCES. Must be closed. */
  constructor(private readonly directory: string) {
    try {
      this.#rootFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      throw fromSystemError(error, 'cannot open', directory);
    }
  }

  /** The file's content as a source, opened when it is read and closed again when many others are. */
  source(node: FileOnDisk): ByteSource {
    const open = (): number => this.#open(node);
    return {
      offset: 0,
      sizeBytes: node.sizeBytes,
      name: displayBytes(`/${node.path}`),
      get fd() {
        return open();
      },
    };
  }

  close(): void {
    this.#files.clear();
    if (this.#directoryFd !== undefined) closeSync(this.#directoryFd);
    closeSync(this.#rootFd);
  }

  #open(node: FileOnDisk): number {
    const known = this.#files.get(node.path);
    if (known !== undefined) return known;
    const fd = this.#openAnew(node.path);
    const { ino, size } = fstatSync(fd, { bigint: true });
    // One that has grown is read as far as it was long.
    if (ino !== node.disk.ino || size < BigInt(node.sizeBytes)) {
      closeSync(fd);
      throw changed(node.path);
    }
    this.#files.set(node.path, fd);
    return fd;
  }

  #openAnew(path: ByteString): number {
    const cut = path.lastIndexOf('/');
    try {
      return openSync(below(this.#directoryOf(path.slice(0, Math.max(0, cut))), path.slice(cut + 1)), FILE);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') throw changed(path);
      throw fromSystemError(error, 'cannot read', `${this.directory}/${displayBytes(path)}`);
    }
  }

  /** Raises as the system does. */
  #directoryOf(path: ByteString): number {
    if (path === '') return this.#rootFd;
    if (this.#directoryFd !== undefined && this.#directoryPath === path) return this.#directoryFd;
    const opened: number[] = [];
    try {
      let fd = this.#rootFd;
      for (const name of path.split('/')) opened.push((fd = openSync(below(fd, name), DIRECTORY)));
      opened.pop();
      if (this.#directoryFd !== undefined) closeSync(this.#directoryFd);
      this.#directoryPath = path;
      return (this.#directoryFd = fd);
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  }
}

/** The container is in use, and this file is not what it was a moment ago. */
export function changed(path: ByteString): LaminaError {
  const shown = displayBytes(`/${path}`);
  return new LaminaError('EBUSY', `${shown} changed while it was read`, {
    path: shown,
    hint: 'Stop what writes to the container, and try again.',
  });
}

function below(fd: number, name: ByteString): Buffer {
  return bytesToBuffer(`/proc/self/fd/${fd}/${name}`);
}
