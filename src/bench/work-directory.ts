/**
 * The directory in which all lies that a bench makes, and its end: what is mounted below it is taken down, then it is removed. The rule
 * it guards: nothing is removed while anything is mounted there, since that would remove what the mount shows.
 */
import { accessSync, constants, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { mountedDirectories } from '../mount/table.js';
import { umount } from '../mount/umount.js';
import type { ByteString } from '../bytes.js';
import { runProgram } from './programs.js';
import { listBytes } from './scenarios.js';

const BUSY_TRIES = 40;

export class WorkDirectory {
  readonly path: string;
  #count = 0;

  /** @param parent where it is made; where that is undefined, beside `store`, or else in the temporary directory */
  constructor(parent: string | undefined, store: string) {
    const place = parent ?? (isWritable(path.dirname(store)) ? path.dirname(store) : tmpdir());
    try {
      this.path = mkdtempSync(path.join(path.resolve(place), 'lamina-bench-'));
    } catch (error) {
      throw fromSystemError(error, 'cannot make a directory in', place);
    }
  }

  /** A new empty directory. */
  directory(name: string): string {
    const made = path.join(this.path, `${name}${this.#count++}`);
    mkdirSync(made, { recursive: true });
    return made;
  }

  file(name: string): string {
    return path.join(this.path, name);
  }

  writeList = (name: string, paths: readonly ByteString[]): string => {
    const file = this.file(name);
    writeFileSync(file, listBytes(paths));
    return file;
  };

  /** Takes down what is mounted, and removes everything unless it is kept. Raises EBUSY when it cannot. */
  async close(keep: boolean): Promise<void> {
    for (const mountpoint of this.#mounted()) await unmount(mountpoint).catch(() => {});
    const left = this.#mounted();
    if (left.length > 0)
      throw new LaminaError(
        'EBUSY',
        `still mounted, so that ${this.path} was not removed: ${left.join(', ')}`,
      );
    if (!keep) await rm(this.path, { recursive: true, force: true, maxRetries: 3 });
  }

  /** The last made first. */
  #mounted(): string[] {
    return [...mountedDirectories().keys()].filter((at) => at.startsWith(`${this.path}/`)).reverse();
  }
}

/** Waits for a moment while it is busy. Raises EMOUNT, EBUSY. */
export async function unmount(mountpoint: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      const type = mountedDirectories().get(mountpoint);
      if (type === undefined) return;
      if (type === 'fuse.lamina') await umount(mountpoint);
      else if (process.getuid?.() === 0) await runProgram('umount', [mountpoint]);
      else await runProgram('fusermount3', ['-u', mountpoint]);
      return;
    } catch (error) {
      if (tries === BUSY_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
