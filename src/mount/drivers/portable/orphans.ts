/**
 * Files that lost their last name while they are open. libfuse 2.9 names files by path, so it renames such a file to
 * `.fuse_hidden` and sixteen digits until it is closed, and asks for it by that name. The file has no name on the disk, only a
 * descriptor here: no directory shows it, and nothing is left when this process dies.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import type { CopyUp } from './copy-up.js';
import { at } from './descriptors.js';
import { systemError } from './errno.js';
import type { Names } from './names.js';

/** Also of libfuse 2.9: lib/fuse.c, hidden_name. Its own counter is part of it, so that the last part of the path is enough. */
const HIDDEN = /(?:^|\/)(\.fuse_hidden[0-9a-f]{16,})$/;

export function hiddenName(path: ByteString): ByteString | undefined {
  return HIDDEN.exec(path)?.[1];
}

export interface Orphan {
  /** The upper file; undefined for one that is all the lower one's. */
  fd: number | undefined;
  /** The lower file, while the data is that one's. */
  lower: number | undefined;
}

export class Orphans {
  readonly #orphans = new Map<ByteString, Orphan>();

  constructor(
    readonly names: Names,
    readonly copyUp: CopyUp,
  ) {}

  get(path: ByteString): Orphan | undefined {
    if (this.#orphans.size === 0) return undefined;
    const name = hiddenName(path);
    return name === undefined ? undefined : this.#orphans.get(name);
  }

  /** Takes the name `path` away from a file that goes on as `hidden`. Raises EPERM for what is no file: libfuse hides none. */
  hide(path: ByteString, hidden: ByteString): void {
    const { lookup } = this.names;
    let found = lookup.get(path);
    if (found.type !== 'file') throw systemError('EPERM');
    if (found.object === undefined && lookup.toc.inode(found.lower!).nlink > 1)
      found = this.copyUp.attributes(found);
    const isMetacopy = lookup.isMetacopy(found);
    const orphan: Orphan =
      found.object === undefined
        ? { fd: undefined, lower: found.lower }
        : {
            fd: openSync(
              at(lookup.place(path)),
              constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK,
            ),
            lower: isMetacopy ? found.lower : undefined,
          };
    try {
      this.names.unlink(path);
    } catch (error) {
      if (orphan.fd !== undefined) closeSync(orphan.fd);
      throw error;
    }
    this.#orphans.set(hiddenName(hidden)!, orphan);
  }

  /** The last descriptor was closed; -> whether there was such a file. */
  release(path: ByteString): boolean {
    const orphan = this.get(path);
    if (orphan === undefined) return false;
    if (orphan.fd !== undefined) closeSync(orphan.fd);
    this.#orphans.delete(hiddenName(path)!);
    return true;
  }

  /** The upper file, for a change of its attributes, which its other names share. */
  attributes(orphan: Orphan): number {
    if (orphan.fd === undefined) {
      orphan.fd = this.copyUp.orphan(orphan.lower!);
      orphan.lower = undefined;
    }
    this.names.lookup.forgetMarks(fstatSync(orphan.fd, { bigint: true }).ino);
    return orphan.fd;
  }

  /** The upper file with its data. */
  data(orphan: Orphan, sizeBytes = Infinity): number {
    const fd = this.attributes(orphan);
    if (orphan.lower !== undefined) {
      this.copyUp.takeData(fd, orphan.lower, sizeBytes);
      orphan.lower = undefined;
    }
    return fd;
  }
}
