/**
 * Objects on the disk are reached by the descriptor of their directory and one name, so that no link leads elsewhere and no path is
 * too long. Node has no openat(2): `/proc/self/fd/N/NAME` is one (proc_pid_fd(5)).
 */
import { closeSync, constants, openSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../../../bytes.js';
import { bytesToBuffer } from '../../../bytes.js';

const { O_DIRECTORY, O_NOFOLLOW } = constants;
/** open(2); Node has no name for it. x86 and arm agree. */
const O_PATH = 0o10000000;

/** An object on the disk, or where one is to be. */
export interface Place {
  /** Descriptor of the directory. */
  dir: number;
  name: ByteString;
}

/** A path for Node's calls. Those that follow links are for `withObject`. */
export function at({ dir, name }: Place): Buffer {
  return bytesToBuffer(`/proc/self/fd/${dir}/${name}`);
}

/** The path that leads to what a descriptor holds, a symbolic link too. Plain ASCII, whatever it is called. */
export function byDescriptor(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** Descriptor of a directory, for `Place`s in it. */
export function openDirectory(place: Place): number {
  return openSync(at(place), O_PATH | O_DIRECTORY | O_NOFOLLOW);
}

/** Calls `use` with a path that leads to the object itself, be it a symbolic link. */
export function withObject<T>(place: Place, use: (path: string) => T): T {
  const fd = openSync(at(place), O_PATH | O_NOFOLLOW);
  try {
    return use(byDescriptor(fd));
  } finally {
    closeSync(fd);
  }
}

/**
 * Descriptors that were used lately. One that is evicted is closed only when `settle` is called, between two requests:
 * its number must not come to mean something else while a request still uses it.
 */
export class Descriptors {
  readonly #fds: LRUCache<string, number>;
  readonly #evicted: number[] = [];

  constructor(max: number) {
    this.#fds = new LRUCache({ max, dispose: (fd) => void this.#evicted.push(fd) });
  }

  get(key: string, open: () => number): number {
    let fd = this.#fds.get(key);
    if (fd === undefined) {
      fd = open();
      this.#fds.set(key, fd);
    }
    return fd;
  }

  drop(key: string): void {
    this.#fds.delete(key);
  }

  /** Those whose key begins so. */
  dropBelow(prefix: string): void {
    for (const key of [...this.#fds.keys()]) if (key.startsWith(prefix)) this.#fds.delete(key);
  }

  settle(): void {
    for (const fd of this.#evicted.splice(0)) closeSync(fd);
  }

  close(): void {
    this.#fds.clear();
    this.settle();
  }
}
