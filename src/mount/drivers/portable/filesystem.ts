/**
 * The writable filesystem of the portable driver, without the mount: an upper directory over a merged TOC, asked by path. Requests
 * are answered one after the other; each leaves the upper in a state that a mount can start from. Failures are thrown as
 * errors that have an errno, as Node's own calls do.
 */
import {
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readlinkSync,
  readSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import { bufferToBytes } from '../../../bytes.js';
import { TYPE_OF_BITS } from '../../../merge/toc-format.js';
import type { ImageView } from '../../../merge/view.js';
import type { ServedFilesystem } from '../fuse-native-filesystem.js';
import {
  ENODATA,
  fill,
  inodeAttributes,
  inodeXattr,
  inodeXattrNames,
  linkText,
} from '../fuse-native-filesystem.js';
import type { Attributes, DirectoryListing } from '../fuse-native-stat.js';
import { direntWords, NAME_MAX, statfsWords, statWords } from '../fuse-native-stat.js';
import { CopyUp } from './copy-up.js';
import { at, byDescriptor, Descriptors, withObject } from './descriptors.js';
import { systemError } from './errno.js';
import type { Found } from './lookup.js';
import { Lookup } from './lookup.js';
import { Names } from './names.js';
import type { Orphan } from './orphans.js';
import { hiddenName, Orphans } from './orphans.js';
import { rename } from './rename.js';
import { setTimes } from './times.js';
import { Undo } from './undo.js';
import type { Upper, UpperStat } from './upper.js';
import { isOverride, S_IFMT, syncObject } from './upper.js';
import type { Marks } from './xattrs.js';
import { findXattr, listXattrs, readMarks, removeXattr, setXattr } from './xattrs.js';

const OPEN_FILES = 256;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const NS_PER_MS = 1_000_000n;

export class WritableFilesystem implements ServedFilesystem {
  readonly #upper: Upper;
  readonly #view: ImageView;
  readonly #lookup: Lookup;
  readonly #copyUp: CopyUp;
  readonly #names: Names;
  readonly #orphans: Orphans;
  /** Upper files with data of their own, by inode number. */
  readonly #files = new Descriptors(OPEN_FILES);

  /**
   * Mends what a killed process left behind.
   * @param tocKey tells this TOC from others
   */
  constructor(upper: Upper, workFd: number, view: ImageView, tocKey: bigint) {
    this.#upper = upper;
    this.#view = view;
    const undo = new Undo(upper, workFd);
    undo.recover();
    this.#lookup = new Lookup(upper, view.toc);
    this.#copyUp = new CopyUp(this.#lookup, view, tocKey);
    this.#names = new Names(this.#lookup, this.#copyUp, undo);
    this.#orphans = new Orphans(this.#names, this.#copyUp);
    this.#copyUp.prepareRoot();
    this.#copyUp.finishLinks();
  }

  /** To be called between two requests. */
  settle(): void {
    this.#lookup.settle();
    this.#files.settle();
  }

  close(): void {
    this.#lookup.close();
    this.#files.close();
  }

  getattr(path: ByteString): Uint32Array {
    const orphan = this.#orphans.get(path);
    return statWords(
      orphan === undefined ? this.#attributes(this.#get(path)) : this.#orphanAttributes(orphan),
    );
  }

  readdir(path: ByteString): DirectoryListing {
    const found = this.#lookup.getDirectory(trimmed(path));
    const above = this.#lookup.getDirectory(found.path.slice(0, Math.max(0, found.path.lastIndexOf('/'))));
    const entries = this.#names.list(found);
    return {
      names: ['.', '..', ...entries.map(({ name }) => name)],
      stats: [
        direntWords('dir', this.#inoOf(found)),
        direntWords('dir', this.#inoOf(above)),
        ...entries.map((entry) => direntWords(entry.found.type, this.#inoOf(entry.found))),
      ],
    };
  }

  readlink(path: ByteString): ByteString | number {
    const found = this.#get(path);
    if (found.type !== 'symlink') throw systemError('EINVAL');
    if (found.object === undefined) return linkText(this.#view.toc.inode(found.lower!).target);
    return linkText(bufferToBytes(readlinkSync(at(this.#lookup.place(found.path)), 'buffer')));
  }

  read(path: ByteString, buffer: Buffer, position: number): number {
    const orphan = this.#orphans.get(path);
    const [fd, lower] = orphan === undefined ? this.#dataOf(this.#get(path)) : [orphan.fd, orphan.lower];
    if (lower !== undefined) return this.#view.read(lower, buffer, position);
    let done = 0;
    while (done < buffer.length) {
      const got = readSync(fd!, buffer, done, buffer.length - done, position + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  write(path: ByteString, buffer: Buffer, position: number): number {
    const fd = this.#writable(path);
    let done = 0;
    while (done < buffer.length) {
      try {
        done += writeSync(fd, buffer, done, buffer.length - done, position + done);
      } catch (error) {
        if (done === 0) throw error;
        break;
      }
    }
    return done;
  }

  truncate(path: ByteString, sizeBytes: number): void {
    ftruncateSync(this.#writable(path, sizeBytes), sizeBytes);
  }

  fsync(path: ByteString, dataOnly: boolean): void {
    const orphan = this.#orphans.get(path);
    // Nobody can ask for it after a crash.
    if (orphan !== undefined) return;
    const found = this.#get(path);
    if (found.object === undefined) return;
    const [fd] = found.type === 'file' ? this.#dataOf(found) : [undefined];
    if (fd === undefined) syncObject(this.#lookup.place(found.path));
    else if (dataOnly) fdatasyncSync(fd);
    else fsyncSync(fd);
  }

  create(path: ByteString, mode: number, rdev = 0): void {
    this.#refuseHidden(path);
    const type = mode & S_IFMT;
    this.#names.create(path, type === 0 ? constants.S_IFREG | mode : mode, rdev);
  }

  mkdir(path: ByteString, mode: number): void {
    this.#refuseHidden(path);
    this.#names.create(path, constants.S_IFDIR | (mode & 0o7777));
  }

  symlink(target: ByteString, path: ByteString): void {
    this.#refuseHidden(path);
    this.#names.create(path, constants.S_IFLNK | 0o777, 0, target);
  }

  link(from: ByteString, to: ByteString): void {
    this.#refuseHidden(to);
    const orphan = this.#orphans.get(from);
    if (orphan === undefined) this.#names.link(from, to);
    else this.#names.linkOpen(orphan.fd, to);
  }

  unlink(path: ByteString): void {
    if (this.#orphans.release(path)) return;
    this.#dropFile(path);
    this.#names.unlink(path);
  }

  rmdir(path: ByteString): void {
    this.#names.rmdir(path);
  }

  rename(from: ByteString, to: ByteString): void {
    if (hiddenName(to) !== undefined) {
      this.#dropFile(from);
      this.#orphans.hide(from, to);
      return;
    }
    this.#dropFile(to);
    rename(this.#names, from, to);
  }

  chmod(path: ByteString, mode: number): void {
    this.#change(path, (object, status) => this.#upper.chmod(object, status, mode));
  }

  /** -1 leaves one as it is. */
  chown(path: ByteString, uid: number, gid: number): void {
    this.#change(path, (object, status) => this.#upper.chown(object, status, uid, gid));
  }

  utimens(path: ByteString, atimeMs: bigint, mtimeMs: bigint): void {
    this.#change(path, (object) => setTimes(object, atimeMs * NS_PER_MS, mtimeMs * NS_PER_MS));
  }

  getxattr(path: ByteString, name: string, buffer: Buffer): number {
    const value = this.#xattr(path, name);
    return value === undefined ? ENODATA : fill(buffer, value);
  }

  listxattr(path: ByteString, buffer: Buffer): number {
    const orphan = this.#orphans.get(path);
    const found = orphan === undefined ? this.#get(path) : undefined;
    const lower = orphan === undefined ? found!.lower : orphan.lower;
    if ((orphan?.fd ?? found?.object) === undefined)
      return fill(buffer, inodeXattrNames(this.#view.toc.inode(lower!)));
    const names = this.#withObject(path, listXattrs)
      .filter((name) => !this.#isPrivate(name))
      .map((name) => this.#upper.xattrs.shown(name))
      .filter((name) => name !== undefined);
    return fill(buffer, Buffer.from(names.map((name) => `${name}\0`).join('')));
  }

  /** fs-xattr has no flags; nobody else changes anything between the question and the answer. */
  setxattr(path: ByteString, name: string, value: Buffer, flags: number): void {
    if (this.#isPrivate(name)) throw systemError('EPERM');
    const isThere = flags !== 0 && this.#xattr(path, name) !== undefined;
    if ((flags & XATTR_CREATE) !== 0 && isThere) throw systemError('EEXIST');
    if ((flags & XATTR_REPLACE) !== 0 && !isThere) throw systemError('ENODATA');
    this.#change(path, (object) => setXattr(object, this.#upper.xattrs.onDisk(name), value));
  }

  removexattr(path: ByteString, name: string): void {
    // Copied up only when there is something to remove.
    if (this.#xattr(path, name) === undefined) throw systemError('ENODATA');
    this.#change(path, (object) => removeXattr(object, this.#upper.xattrs.onDisk(name)));
  }

  statfs(): Uint32Array {
    const space = statfsSync(byDescriptor(this.#upper.root));
    return statfsWords({
      blockBytes: space.bsize,
      blocks: space.blocks,
      freeBlocks: space.bfree,
      availableBlocks: space.bavail,
      files: space.files,
      freeFiles: space.ffree,
    });
  }

  #get(path: ByteString): Found {
    const found = this.#lookup.find(trimmed(path));
    if (found.type !== undefined) return found;
    // The kernel asks for names of up to 1024 bytes (FUSE_NAME_MAX).
    const isLong = path.length - path.lastIndexOf('/') - 1 > NAME_MAX;
    throw systemError(isLong ? 'ENAMETOOLONG' : 'ENOENT');
  }

  /** libfuse keeps removed files that are open under such names, which therefore are not for anybody else. */
  #refuseHidden(path: ByteString): void {
    if (hiddenName(path) !== undefined) throw systemError('EPERM');
  }

  #isPrivate(name: string): boolean {
    return this.#upper.overrides && isOverride(name);
  }

  #attributes(found: Found): Attributes {
    if (found.object === undefined) return inodeAttributes(this.#view, this.#view.toc.inode(found.lower!));
    const status = this.#lookup.status(found);
    const attributes = { ...fromStatus(status), ino: this.#inoOf(found) };
    // How many subdirectories a merged directory has would have to be counted; 1 means that it is not known.
    if (found.type === 'dir' && found.lower !== undefined) attributes.nlink = 1;
    if (this.#lookup.isMetacopy(found) && found.lower !== undefined)
      attributes.blocks = inodeAttributes(this.#view, this.#view.toc.inode(found.lower)).blocks;
    return attributes;
  }

  #orphanAttributes({ fd, lower }: Orphan): Attributes {
    if (fd === undefined) return { ...inodeAttributes(this.#view, this.#view.toc.inode(lower!)), nlink: 1 };
    const path = byDescriptor(fd);
    const status = this.#upper.asShown(fstatSync(fd, { bigint: true }), path);
    const ino = this.#inoOfObject(status.ino, readMarks(path, this.#upper.xattrs));
    // libfuse takes the hidden name off.
    return { ...fromStatus(status), ino, nlink: status.nlink + 1 };
  }

  /** Those of the TOC stay when something is copied up; all others follow them. */
  #inoOf(found: Found): number {
    if (found.lower !== undefined) return found.lower;
    return this.#inoOfObject(found.object!, this.#lookup.marks(found as Found & { object: bigint }));
  }

  #inoOfObject(object: bigint, { origin }: Marks): number {
    const lower = this.#copyUp.lowerOf(origin);
    if (lower !== undefined) return lower;
    return Number(BigInt.asUintN(32, BigInt(this.#view.toc.inodeCount) + object));
  }

  /** Where the data of a file is to be read: a descriptor, or a file of the TOC. */
  #dataOf(found: Found): [fd: number, lower: undefined] | [fd: undefined, lower: number] {
    if (found.type === 'dir') throw systemError('EISDIR');
    if (found.type !== 'file') throw systemError('EINVAL');
    if (found.object === undefined || this.#lookup.isMetacopy(found)) {
      // A metacopy whose lower file is gone.
      if (found.lower === undefined) throw systemError('EIO');
      return [undefined, found.lower];
    }
    const fd = this.#files.get(String(found.object), () =>
      openSync(
        at(this.#lookup.place(found.path)),
        constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      ),
    );
    return [fd, undefined];
  }

  /** Descriptor of the upper file with its data, as much of it as is going to be kept. */
  #writable(path: ByteString, sizeBytes = Infinity): number {
    const orphan = this.#orphans.get(path);
    if (orphan !== undefined) return this.#orphans.data(orphan, sizeBytes);
    const found = this.#get(path);
    if (found.type === 'dir') throw systemError('EISDIR');
    if (found.type !== 'file') throw systemError('EINVAL');
    return this.#dataOf(this.#copyUp.data(found, sizeBytes))[0]!;
  }

  /** Changes attributes of an object, which is copied up for it. */
  #change(path: ByteString, act: (object: string, status: UpperStat) => void): void {
    const orphan = this.#orphans.get(path);
    if (orphan !== undefined) {
      const fd = this.#orphans.attributes(orphan);
      act(byDescriptor(fd), this.#upper.asShown(fstatSync(fd, { bigint: true }), byDescriptor(fd)));
      return;
    }
    const found = this.#copyUp.attributes(this.#get(path));
    const status = this.#lookup.status(found);
    this.#lookup.forgetMarks(found.object);
    withObject(this.#lookup.place(found.path), (object) => act(object, status));
  }

  /** Calls `use` with a path of the upper object. */
  #withObject<T>(path: ByteString, use: (object: string) => T): T {
    const orphan = this.#orphans.get(path);
    if (orphan !== undefined) return use(byDescriptor(orphan.fd!));
    return withObject(this.#lookup.place(trimmed(path)), use);
  }

  /** undefined where there is none. */
  #xattr(path: ByteString, name: string): Buffer | undefined {
    if (this.#isPrivate(name)) return undefined;
    const orphan = this.#orphans.get(path);
    const found = orphan === undefined ? this.#get(path) : undefined;
    if ((orphan?.fd ?? found?.object) === undefined)
      return inodeXattr(this.#view.toc.inode((orphan?.lower ?? found?.lower)!), name);
    const onDisk = this.#upper.xattrs.onDisk(name);
    // The kernel asks for one at each write.
    if (
      found !== undefined &&
      !this.#lookup.marks(found as Found & { object: bigint }).names.includes(onDisk)
    )
      return undefined;
    return this.#withObject(path, (object) => findXattr(object, onDisk));
  }

  /** Before a name goes: its inode number may come to mean another file. */
  #dropFile(path: ByteString): void {
    const found = this.#lookup.find(path);
    if (found.type === undefined || found.object === undefined) return;
    this.#files.drop(String(found.object));
    this.#lookup.forgetMarks(found.object);
  }
}

/** The root is asked for as `/`. */
function trimmed(path: ByteString): ByteString {
  return path === '/' ? '' : path;
}

function fromStatus(status: UpperStat): Omit<Attributes, 'ino'> {
  const type = TYPE_OF_BITS.get(status.mode & S_IFMT);
  return {
    mode: status.mode,
    uid: status.uid,
    gid: status.gid,
    sizeBytes: status.sizeBytes,
    nlink: status.nlink,
    rdev: type === 'char' || type === 'block' ? status.rdev : 0,
    blocks: status.blocks,
    atimeMs: milliseconds(status.atimeNs),
    mtimeMs: milliseconds(status.mtimeNs),
    ctimeMs: milliseconds(status.ctimeNs),
  };
}

/** Rounded down. */
function milliseconds(ns: bigint): number {
  return Math.floor(Number(ns / 1000n) / 1000);
}
