/**
 * Node has no renameat2(2), so a directory and a whiteout cannot change places in one step: for a moment neither has its name, and
 * what the whiteout hides would be seen again if this process were killed then. The names are written down before, beside the
 * work directory's contents; whoever mounts next hides those that are missing. That ends what was begun, or takes it back.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import { openDirectory } from './descriptors.js';
import { isErrno } from './errno.js';
import { undoFile } from './undo-file.js';
import type { Upper } from './upper.js';

export class Undo {
  readonly #file: string;

  /** @param workFd the directory that holds the work directory */
  constructor(
    readonly upper: Upper,
    private readonly workFd: number,
  ) {
    this.#file = undoFile(`/proc/self/fd/${workFd}`);
  }

  /** While `act` runs each of the names may be missing. */
  guard(paths: readonly ByteString[], act: () => void): void {
    this.#write(paths);
    try {
      act();
    } catch (error) {
      this.recover();
      throw error;
    }
    unlinkSync(this.#file);
  }

  /** It is on the disk before the first name moves: a power cut in between must not leave the move without it. */
  #write(paths: readonly ByteString[]): void {
    const fd = openSync(this.#file, 'w', 0o600);
    try {
      writeSync(fd, `${JSON.stringify(paths)}\n`, null, 'latin1');
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    fsyncSync(this.workFd);
  }

  /** Before anything is looked up. */
  recover(): void {
    if (!existsSync(this.#file)) return;
    for (const path of this.#read()) this.#hide(path);
    unlinkSync(this.#file);
  }

  /** One that was cut short was written before anything was done. */
  #read(): ByteString[] {
    const text = readFileSync(this.#file, 'latin1');
    return text.endsWith('\n') ? (JSON.parse(text) as ByteString[]) : [];
  }

  #hide(path: ByteString): void {
    const names = path.slice(1).split('/');
    const last = names.pop()!;
    const opened: number[] = [];
    try {
      let dir = this.upper.root;
      for (const name of names) opened.push((dir = openDirectory({ dir, name })));
      const place = { dir, name: last };
      if (this.upper.stat(place) === undefined) this.upper.makeWhiteout(place);
    } catch (error) {
      // Where its directory has no upper part nothing was hidden there.
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    } finally {
      opened.forEach(closeSync);
    }
  }
}
