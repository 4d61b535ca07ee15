/**
 * Making names and taking them away (kernel: fs/overlayfs/dir.c). A name that a lower layer has is hidden by a whiteout; where a
 * whiteout is in the way of a new object that is made in the work directory and takes its place. As native/overlay/{create,remove}.cc.
 */
import { closeSync, constants, linkSync, mkdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import { isReservedName } from '../../../layer/whiteout.js';
import type { CopyUp } from './copy-up.js';
import type { Place } from './descriptors.js';
import { at, byDescriptor, openDirectory } from './descriptors.js';
import { isErrno, systemError } from './errno.js';
import type { Found, Lookup, Missing } from './lookup.js';
import { linkDescriptor } from './special.js';
import type { Undo } from './undo.js';
import type { Upper } from './upper.js';
import { DEFAULT_ACL, namesIn, removeTree, S_IFMT, unlinkIfThere } from './upper.js';
import { findXattr, setXattr } from './xattrs.js';

const { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } = constants;
const NAME_MAX = 255;

/** Whether the last name of a path is one that may be made: a layer could not hold what begins as its whiteouts do. */
export function checkNewName(path: ByteString): void {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (name.length > NAME_MAX) throw systemError('ENAMETOOLONG');
  if (isReservedName(name)) throw systemError('EINVAL');
}

export class Names {
  readonly #upper: Upper;

  constructor(
    readonly lookup: Lookup,
    readonly copyUp: CopyUp,
    readonly undo: Undo,
  ) {
    this.#upper = lookup.upper;
  }

  /** @param mode with the type. Raises EEXIST, EPERM, ENAMETOOLONG. */
  create(path: ByteString, mode: number, rdev = 0, target: ByteString = ''): void {
    const type = mode & S_IFMT;
    // It would be a whiteout.
    if (type === S_IFCHR && rdev === 0) throw systemError('EPERM');
    const { whiteout, place } = this.#newName(path);
    // What other programs make they make under a name that is text.
    const isDirect = type === S_IFREG || type === S_IFDIR || type === S_IFLNK;
    if (whiteout || !isDirect) this.#createInWork(path, place, mode, rdev, target, whiteout);
    else this.#upper.make(place, mode, rdev, target);
    this.lookup.forget(path);
  }

  link(from: ByteString, to: ByteString): void {
    const source = this.lookup.get(from);
    if (source.type === 'dir') throw systemError('EPERM');
    const { whiteout, place } = this.#newName(to);
    const found = this.copyUp.attributes(source);
    // Under its new name a metacopy would look for its data at another place.
    if (this.lookup.isMetacopy(found)) this.copyUp.setRedirect(found);
    const old = this.lookup.place(from);
    if (whiteout) this.#replace(place, (temporary) => linkSync(at(old), at(temporary)));
    else linkSync(at(old), at(place));
    this.lookup.forget(to);
  }

  /** A further name for a file that lost one while it is open. Raises ENOENT when that was the last. */
  linkOpen(fd: number | undefined, to: ByteString): void {
    const { place } = this.#newName(to);
    if (fd === undefined) throw systemError('ENOENT');
    this.#replace(place, (temporary) => linkDescriptor(fd, temporary));
    this.lookup.forget(to);
  }

  /** Raises EISDIR. */
  unlink(path: ByteString): void {
    let found = this.lookup.get(path);
    if (found.type === 'dir') throw systemError('EISDIR');
    // All names of a lower file are copied up before one of them goes, so that the others keep the right count.
    if (found.object === undefined && this.lookup.toc.inode(found.lower!).nlink > 1)
      found = this.copyUp.attributes(found);
    const { name, parent, dir } = this.parentOf(path);
    const place = { dir, name };
    if (this.lookup.lowerHas(parent, name)) this.#upper.makeWhiteout(place);
    else unlinkSync(at(place));
    this.lookup.forget(path);
  }

  /** Raises ENOTDIR, ENOTEMPTY. */
  rmdir(path: ByteString): void {
    const found = this.lookup.getDirectory(path);
    if (path === '') throw systemError('EBUSY');
    if (this.list(found).length > 0) throw systemError('ENOTEMPTY');
    const { name, parent, dir } = this.parentOf(path);
    const place = { dir, name };
    const isHidden = this.lookup.lowerHas(parent, name);
    if (found.object === undefined) this.#upper.makeWhiteout(place);
    else if (isHidden) this.#hideDirectory(path, place);
    else this.#removeDirectory(place);
    this.lookup.forget(path);
  }

  /** What a directory shows, in no order. */
  list(found: Found): { name: ByteString; found: Found }[] {
    const seen = new Set<ByteString>();
    const shown: { name: ByteString; found: Found }[] = [];
    if (found.object !== undefined) {
      for (const name of namesIn(this.lookup.directory(found.path))) {
        seen.add(name);
        const child = this.lookup.find(`${found.path}/${name}`);
        if (child.type !== undefined) shown.push({ name, found: child });
      }
    }
    if (found.lower === undefined) return shown;
    for (const { name, ino, type } of this.lookup.toc.entries(found.lower)) {
      const path = `${found.path}/${name}`;
      if (!seen.has(name)) shown.push({ name, found: { path, type, object: undefined, lower: ino } });
    }
    return shown;
  }

  /** The directory of a name, copied up. */
  parentOf(path: ByteString): { parent: Found; name: ByteString; dir: number } {
    const slash = path.lastIndexOf('/');
    const parent = this.lookup.getDirectory(path.slice(0, slash));
    const dir = this.copyUp.directory(parent);
    return { parent: this.lookup.get(parent.path), name: path.slice(slash + 1), dir };
  }

  /** Whiteouts are all that is left in a directory that shows nothing. */
  clearWhiteouts(dir: number): void {
    for (const name of namesIn(dir)) unlinkSync(at({ dir, name }));
  }

  #newName(path: ByteString): { place: Place; whiteout: boolean } {
    checkNewName(path);
    const found: Found | Missing = this.lookup.find(path);
    if (found.type !== undefined) throw systemError('EEXIST');
    const { dir, name } = this.parentOf(path);
    return { place: { dir, name }, whiteout: found.whiteout };
  }

  #createInWork(
    path: ByteString,
    place: Place,
    mode: number,
    rdev: number,
    target: ByteString,
    whiteout: boolean,
  ): void {
    this.#inheriting(place.dir, (work) => {
      const temporary = { dir: work, name: this.#upper.temporary().name };
      this.#upper.make(temporary, mode, rdev, target);
      try {
        if ((mode & S_IFMT) !== S_IFDIR) renameSync(at(temporary), at(place));
        else this.#placeDirectory(path, place, temporary, whiteout);
      } catch (error) {
        removeTree(temporary);
        throw error;
      }
    });
  }

  /** Opaque, because something is hidden there. */
  #placeDirectory(path: ByteString, place: Place, temporary: Place, whiteout: boolean): void {
    if (!whiteout) return renameSync(at(temporary), at(place));
    this.#upper.setOpaque(temporary);
    this.undo.guard([path], () => {
      unlinkSync(at(place));
      renameSync(at(temporary), at(place));
    });
  }

  /** Calls `make` with a directory in the work directory, from which new objects inherit what they would inherit from `dir`. */
  #inheriting(dir: number, make: (work: number) => void): void {
    const parent = this.#upper.stat({ dir, name: '.' })!;
    const acl = findXattr(byDescriptor(dir), DEFAULT_ACL);
    if (acl === undefined && (parent.mode & 0o2000) === 0) return make(this.#upper.work);
    const nest = this.#upper.temporary();
    mkdirSync(at(nest), 0o700);
    const fd = openDirectory(nest);
    try {
      this.#upper.chown(byDescriptor(fd), this.#upper.stat(nest)!, parent.uid, parent.gid);
      this.#upper.chmod(byDescriptor(fd), this.#upper.stat(nest)!, 0o700 | (parent.mode & 0o2000));
      if (acl !== undefined) setXattr(byDescriptor(fd), DEFAULT_ACL, acl);
      make(fd);
    } finally {
      closeSync(fd);
      rmdirSync(at(nest));
    }
  }

  /** Makes something that is no directory in the place of a whiteout. */
  #replace(place: Place, make: (temporary: Place) => void): void {
    const temporary = this.#upper.temporary();
    make(temporary);
    try {
      renameSync(at(temporary), at(place));
    } finally {
      unlinkIfThere(temporary);
    }
  }

  #hideDirectory(path: ByteString, place: Place): void {
    const whiteout = this.#upper.prepareWhiteout(place.dir);
    const temporary = this.#upper.temporary();
    this.undo.guard([path], () => {
      renameSync(at(place), at(temporary));
      renameSync(at(whiteout), at(place));
    });
    removeTree(temporary);
  }

  /** With the whiteouts that it may hold. */
  #removeDirectory(place: Place): void {
    try {
      rmdirSync(at(place));
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      const temporary = this.#upper.temporary();
      renameSync(at(place), at(temporary));
      removeTree(temporary);
    }
  }
}
