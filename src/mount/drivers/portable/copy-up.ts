/**
 * Bringing an object of the TOC into the upper before it is changed (kernel: fs/overlayfs/copy_up.c). It is made whole in the work
 * directory and gets its place by one call. Of a file whose data is not about to change only the attributes are copied
 * (metacopy). A file with several names takes all of them along, so that they stay one inode. As native/overlay/copy_up.cc.
 */
import type { BigIntStats } from 'node:fs';
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
  renameSync,
  rmdirSync,
  statSync,
  writeSync,
} from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import { bytesToBuffer } from '../../../bytes.js';
import type { TreeInode } from '../../../layer/tree.js';
import { HOLE, ROOT_INO } from '../../../layer/tree.js';
import { inoOfOrigin, originOf } from '../../../merge/origin.js';
import type { ImageView } from '../../../merge/view.js';
import { statMode } from '../../../merge/view-stat.js';
import type { Place } from './descriptors.js';
import { at, byDescriptor, withObject } from './descriptors.js';
import { isErrno, systemError } from './errno.js';
import type { Found, Lookup } from './lookup.js';
import type { Home } from './lower.js';
import { Homes } from './lower.js';
import { setTimes } from './times.js';
import type { ObjectAttributes, Upper } from './upper.js';
import { namesIn, removeTree, unlinkIfThere } from './upper.js';
import { findXattr, removeXattr, setXattr } from './xattrs.js';

const PIECE_BYTES = 1 << 20;
const CAPABILITY = 'security.capability';
const NS = 1_000_000_000n;

export class CopyUp {
  readonly homes: Homes;
  readonly #upper: Upper;

  /** @param tocKey tells this TOC from others */
  constructor(
    readonly lookup: Lookup,
    readonly view: ImageView,
    readonly tocKey: bigint,
  ) {
    this.#upper = lookup.upper;
    this.homes = new Homes(view.toc);
  }

  /** The upper's root takes the image's attributes, when it is mounted for the first time. */
  prepareRoot(): void {
    const root = { dir: this.#upper.root, name: '.' };
    if (this.#upper.marks(root).origin !== undefined) return;
    withObject(root, (path) => {
      this.#copyAttributes(path, this.view.toc.inode(ROOT_INO));
      setXattr(path, this.#upper.xattrs.origin, this.#originOf(ROOT_INO));
    });
  }

  /** Gives files the names that a killed process had begun to give them. */
  finishLinks(): void {
    for (const name of namesIn(this.#upper.links)) {
      const lower = this.lowerOf(name);
      const kept = { dir: this.#upper.links, name };
      const paths = lower === undefined ? [] : this.#seenAs(lower);
      for (const path of paths) {
        const dir = this.parent(path.slice(0, path.lastIndexOf('/')));
        const place = { dir, name: path.slice(path.lastIndexOf('/') + 1) };
        this.#keepingTimes(dir, () => linkSync(at(kept), at(place)));
        this.lookup.forget(path);
      }
      unlinkIfThere(kept);
    }
  }

  /** The inode of the TOC that an origin means; undefined for that of another TOC. */
  lowerOf(origin: ByteString | undefined): number | undefined {
    return inoOfOrigin(origin, this.tocKey, this.view.toc);
  }

  /** The upper object of what was found, with its attributes; the data of a file may still be the lower one's. */
  attributes(found: Found): Found & { object: bigint } {
    if (found.object === undefined) {
      if (found.type === 'dir') this.directory(found);
      else this.#file(found, undefined);
    }
    return this.lookup.get(found.path) as Found & { object: bigint };
  }

  /**
   * The upper object of a file, with its data.
   * @param sizeBytes how much of it is needed, where the rest is cut off anyway
   */
  data(found: Found, sizeBytes = Infinity): Found & { object: bigint } {
    if (found.object === undefined) this.#file(found, sizeBytes);
    else if (this.lookup.isMetacopy(found)) this.#data(found as Found & { object: bigint }, sizeBytes);
    return this.lookup.get(found.path) as Found & { object: bigint };
  }

  /** The directory and those above it; -> descriptor of its upper part. */
  directory(found: Found): number {
    if (found.object === undefined) {
      const slash = found.path.lastIndexOf('/');
      const parent = this.lookup.getDirectory(found.path.slice(0, slash));
      const dir = this.directory(parent);
      const temporary = this.#upper.temporary();
      const inode = this.view.toc.inode(found.lower!);
      this.#upper.makeExactly(temporary, attributesOf(inode), '');
      try {
        withObject(temporary, (path) => this.#copyAttributes(path, inode));
        this.#keepingTimes(dir, () =>
          renameSync(at(temporary), at({ dir, name: found.path.slice(slash + 1) })),
        );
      } catch (error) {
        rmdirSync(at(temporary));
        throw error;
      }
      // What was found below it has no upper object still.
      this.lookup.forget(found.path);
    }
    return this.lookup.directory(found.path);
  }

  /** As `directory`, by path. Raises ENOENT, ENOTDIR. */
  parent(path: ByteString): number {
    return this.directory(this.lookup.getDirectory(path));
  }

  /** Says in the upper object where the lower one is, so that it is found wherever the upper one goes. */
  setRedirect(found: Found & { object: bigint }): void {
    const { redirect } = this.lookup.marks(found);
    if (redirect?.startsWith('/') === true) return;
    const target = this.homes.pathOf(found.lower!);
    withObject(this.lookup.place(found.path), (path) => setXattr(path, this.#upper.xattrs.redirect, target));
    this.lookup.forgetMarks(found.object);
  }

  /** A file without a name, with all of a lower one's attributes and data; -> its descriptor. */
  orphan(lower: number): number {
    const inode = this.view.toc.inode(lower);
    const temporary = this.#upper.temporary();
    this.#make(temporary, inode, Infinity);
    const fd = openSync(at(temporary), constants.O_RDWR | constants.O_NOFOLLOW);
    unlinkIfThere(temporary);
    return fd;
  }

  /** The first bytes of a lower file, holes as holes; the file gets just that length. */
  copyData(lower: number, fd: number, sizeBytes: number): void {
    ftruncateSync(fd, 0);
    const end = Math.min(sizeBytes, this.view.toc.inode(lower).sizeBytes);
    const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end));
    for (const { logical, length, source } of this.view.extents(lower)) {
      const stop = Math.min(logical + length, end);
      if (source === HOLE) continue;
      for (let position = logical; position < stop;) {
        const piece = buffer.subarray(0, Math.min(buffer.length, stop - position));
        const got = this.view.read(lower, piece, position);
        if (got < piece.length) throw systemError('EIO');
        for (let done = 0; done < got;) done += writeSync(fd, piece, done, got - done, position + done);
        position += got;
      }
    }
    ftruncateSync(fd, end);
  }

  /** @param dataBytes how much data to copy; undefined: none, which makes it a metacopy */
  #file(found: Found, dataBytes: number | undefined): void {
    const lower = found.lower!;
    const inode = this.view.toc.inode(lower);
    const places = this.#namesOf(found, inode);
    const directories = places.map((path) => this.parent(path.slice(0, path.lastIndexOf('/'))));
    const temporary = this.#upper.temporary();
    const isShared = places.length > 1;
    this.#make(temporary, inode, dataBytes, isShared);
    // Several names are not given in one step: until all are, the file is kept where the next mount finds it.
    const kept = { dir: this.#upper.links, name: this.#originOf(lower) };
    const placed: Place[] = [];
    try {
      if (isShared) linkSync(at(temporary), at(kept));
      places.forEach((path, index) => {
        const dir = directories[index]!;
        const place = { dir, name: path.slice(path.lastIndexOf('/') + 1) };
        this.#keepingTimes(dir, () =>
          isShared ? linkSync(at(temporary), at(place)) : renameSync(at(temporary), at(place)),
        );
        if (isShared) placed.push(place);
      });
    } catch (error) {
      // Where some names lead to it and others to the lower file, it would be two files.
      for (const place of placed) this.#keepingTimes(place.dir, () => unlinkIfThere(place));
      throw error;
    } finally {
      if (isShared) unlinkIfThere(kept);
      unlinkIfThere(temporary);
      for (const path of places) this.lookup.forget(path);
    }
  }

  #namesOf(found: Found, { ino, nlink }: TreeInode): ByteString[] {
    if (nlink <= 1) return [found.path];
    return [found.path, ...this.#seenAs(ino).filter((path) => path !== found.path)];
  }

  /** All names that lead to a file of the TOC itself. */
  #seenAs(ino: number): ByteString[] {
    const home = (dir: number): Home => this.homes.of(dir)[0]!;
    const paths: ByteString[] = [];
    for (const { parent, name } of this.homes.of(ino)) {
      const directory = this.lookup.pathOfLower(parent, home);
      if (directory === undefined) continue;
      const found = this.lookup.find(`${directory}/${name}`);
      if (found.type !== undefined && found.object === undefined && found.lower === ino)
        paths.push(found.path);
    }
    return paths;
  }

  #make(temporary: Place, inode: TreeInode, dataBytes: number | undefined, isShared = false): void {
    const { xattrs } = this.#upper;
    this.#upper.makeExactly(temporary, attributesOf(inode), inode.target);
    try {
      const hasData = inode.type === 'file' && inode.sizeBytes > 0;
      const isMetacopy = hasData && dataBytes === undefined;
      if (hasData) this.#fill(temporary, inode, dataBytes);
      withObject(temporary, (path) => {
        this.#copyAttributes(path, inode);
        if (isMetacopy) {
          setXattr(path, xattrs.metacopy, '');
          // By name where it lies at the same place as the lower file; else by path.
          if (isShared) setXattr(path, xattrs.redirect, this.homes.pathOf(inode.ino));
        }
        try {
          setXattr(path, xattrs.origin, this.#originOf(inode.ino));
        } catch (error) {
          if (!mayBeLeftOut(error)) throw error;
        }
      });
    } catch (error) {
      removeTree(temporary);
      throw error;
    }
  }

  #fill(temporary: Place, { ino, sizeBytes }: TreeInode, dataBytes: number | undefined): void {
    const fd = openSync(at(temporary), constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      if (dataBytes === undefined) return ftruncateSync(fd, sizeBytes);
      this.copyData(ino, fd, dataBytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** The mark of a metacopy stays until the data is whole and safe. */
  #data(found: Found & { object: bigint }, sizeBytes: number): void {
    const place = this.lookup.place(found.path);
    const fd = openSync(at(place), constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      this.takeData(fd, found.lower!, sizeBytes);
    } finally {
      closeSync(fd);
    }
    this.lookup.forgetMarks(found.object);
  }

  /** Gives the upper file behind `fd` the data of the lower one, in place of its mark. */
  takeData(fd: number, lower: number, sizeBytes: number): void {
    const path = byDescriptor(fd);
    const { atimeNs, mtimeNs, size } = statOf(path);
    // Writing takes capabilities away, which this is not meant to.
    const capability = findXattr(path, CAPABILITY);
    this.copyData(lower, fd, Math.min(sizeBytes, Number(size)));
    setTimes(path, atimeNs, mtimeNs);
    if (capability !== undefined) setXattr(path, CAPABILITY, capability);
    fsyncSync(fd);
    removeXattr(path, this.#upper.xattrs.metacopy);
  }

  /** @param path leads to an upper object that stands for `inode` */
  #copyAttributes(path: string, inode: TreeInode): void {
    this.#upper.setAttributes(path, attributesOf(inode));
    for (const { name, value } of inode.xattrs ?? []) {
      try {
        setXattr(path, this.#upper.xattrs.onDisk(utf8Of(name)), value);
      } catch (error) {
        if (!mayBeLeftOut(error)) throw error;
      }
    }
    const mtimeNs = BigInt(inode.mtimeSec) * NS + BigInt(inode.mtimeNsec);
    setTimes(path, mtimeNs, mtimeNs);
  }

  /** Puts the times of a directory back to what they were before it got an entry that it had all along. */
  #keepingTimes(dir: number, act: () => void): void {
    const path = byDescriptor(dir);
    const { atimeNs, mtimeNs } = statOf(path);
    act();
    setTimes(path, atimeNs, mtimeNs);
  }

  #originOf(ino: number): string {
    return originOf(this.tocKey, ino);
  }
}

function attributesOf(inode: TreeInode): ObjectAttributes {
  const { uid, gid, rdevMajor, rdevMinor } = inode;
  return { mode: statMode(inode), uid, gid, rdevMajor, rdevMinor };
}

function statOf(path: string): BigIntStats {
  return statSync(path, { bigint: true });
}

/** fs-xattr takes names as text: one that is not UTF-8 becomes another (fuse-native-limits.ts). */
function utf8Of(name: ByteString): string {
  return bytesToBuffer(name).toString();
}

/** Refused by filesystems and namespaces that do not know an attribute: an object without it is better than none. */
function mayBeLeftOut(error: unknown): boolean {
  return isErrno(error, 'EOPNOTSUPP', 'EPERM', 'EINVAL');
}
