/**
 * Answers to FUSE requests by path, from a merged TOC: the portable driver without the mount. Results are in the form that
 * `fuse-native` hands to libfuse; failures are negative errno values (errno(3)). It never raises for what an image can hold.
 */
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../../bytes.js';
import { bytesToBuffer } from '../../bytes.js';
import type { TocInode } from '../../merge/toc-reader.js';
import { ROOT_INO } from '../../merge/toc-reader.js';
import type { ImageView } from '../../merge/view.js';
import { dataBlocks } from '../../merge/view-read.js';
import { deviceNumber, statMode } from '../../merge/view-stat.js';
import type { Attributes, DirectoryListing } from './fuse-native-stat.js';
import { BLOCK_BYTES, direntWords, NAME_MAX, statfsWords, statWords } from './fuse-native-stat.js';

/** Linux errno values, negated as FUSE wants them. */
export const ENOENT = -2;
export const EIO = -5;
export const EINVAL = -22;
export const ERANGE = -34;
export const ENAMETOOLONG = -36;
export const ENODATA = -61;

const CACHED_NODES = 16_384;
/** libfuse 2.9's buffer for a symbolic link, less the NUL: lib/fuse.c, fuse_lib_readlink. */
const LINK_BYTES = 4096;

/** What both of the portable filesystems answer. Failures are negative errno values, or are thrown as errors that have one. */
export interface ServedFilesystem {
  /** stat(2) of the name itself. */
  getattr(path: ByteString): Uint32Array | number;
  readdir(path: ByteString): DirectoryListing | number;
  readlink(path: ByteString): ByteString | number;
  /** pread(2) into `buffer`: the number of bytes. */
  read(path: ByteString, buffer: Buffer, position: number): number;
  /**
   * getxattr(2): the value's length, which is all that is asked for with an empty buffer.
   * @param name as text: fuse-native decoded it as UTF-8, with U+FFFD for what is not
   */
  getxattr(path: ByteString, name: string, buffer: Buffer): number;
  /** listxattr(2): the length of the list of names, each ended by a NUL. */
  listxattr(path: ByteString, buffer: Buffer): number;
  statfs(): Uint32Array | number;
}

export class PortableFilesystem implements ServedFilesystem {
  readonly #view: ImageView;
  /** Path -> ino. */
  readonly #nodes = new LRUCache<ByteString, number>({ max: CACHED_NODES });

  constructor(view: ImageView) {
    this.#view = view;
  }

  getattr(path: ByteString): Uint32Array | typeof ENOENT | typeof ENAMETOOLONG {
    const inode = this.#inode(path);
    if (inode !== undefined) return statWords(inodeAttributes(this.#view, inode));
    // The kernel asks for names of up to 1024 bytes (FUSE_NAME_MAX).
    return path.length - path.lastIndexOf('/') - 1 > NAME_MAX ? ENAMETOOLONG : ENOENT;
  }

  readdir(path: ByteString): DirectoryListing | typeof ENOENT {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    const entries = this.#view.toc.entries(inode.ino);
    return {
      names: ['.', '..', ...entries.map(({ name }) => name)],
      stats: [
        direntWords('dir', inode.ino),
        direntWords('dir', inode.parent),
        ...entries.map(({ type, ino }) => direntWords(type, ino)),
      ],
    };
  }

  readlink(path: ByteString): ByteString | number {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    if (inode.type !== 'symlink') return EINVAL;
    return linkText(inode.target);
  }

  read(path: ByteString, buffer: Buffer, position: number): number {
    const ino = this.#ino(path);
    return ino === undefined ? ENOENT : this.#view.read(ino, buffer, position);
  }

  getxattr(path: ByteString, name: string, buffer: Buffer): number {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    const value = inodeXattr(inode, name);
    return value === undefined ? ENODATA : fill(buffer, value);
  }

  listxattr(path: ByteString, buffer: Buffer): number {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    return fill(buffer, inodeXattrNames(inode));
  }

  /** The tars' size, all of it used. */
  statfs(): Uint32Array {
    const { layers, inodeCount } = this.#view.toc;
    const usedBytes = layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return statfsWords({
      blockBytes: BLOCK_BYTES,
      blocks: Math.ceil(usedBytes / BLOCK_BYTES),
      freeBlocks: 0,
      availableBlocks: 0,
      files: inodeCount,
      freeFiles: 0,
    });
  }

  #inode(path: ByteString): TocInode | undefined {
    const ino = this.#ino(path);
    return ino === undefined ? undefined : this.#view.toc.inode(ino);
  }

  /** The kernel resolves symbolic links and `..` itself: what arrives is a chain of directories and a name. */
  #ino(path: ByteString): number | undefined {
    if (path === '' || path === '/') return ROOT_INO;
    let ino = this.#nodes.get(path);
    if (ino !== undefined) return ino;
    const slash = path.lastIndexOf('/');
    const parent = this.#ino(path.slice(0, slash));
    if (parent === undefined) return undefined;
    ino = this.#view.toc.lookup(parent, path.slice(slash + 1));
    if (ino !== undefined) this.#nodes.set(path, ino);
    return ino;
  }
}

/** An empty buffer asks for the length. */
export function fill(buffer: Buffer, value: Buffer): number {
  if (buffer.length === 0) return value.length;
  if (buffer.length < value.length) return ERANGE;
  value.copy(buffer);
  return value.length;
}

/** The text of a symbolic link; EIO where libfuse cannot hold it. */
export function linkText(target: ByteString): ByteString | typeof EIO {
  return Buffer.byteLength(target, 'utf8') > LINK_BYTES ? EIO : target;
}

/** stat(2) of an inode of the TOC. */
export function inodeAttributes(view: ImageView, inode: TocInode): Attributes {
  const { uid, gid, sizeBytes, nlink, ino, rdevMajor, rdevMinor } = inode;
  const timeMs = inode.mtimeSec * 1000 + Math.floor(inode.mtimeNsec / 1e6);
  return {
    mode: statMode(inode),
    uid,
    gid,
    sizeBytes,
    nlink,
    ino,
    rdev: deviceNumber(rdevMajor, rdevMinor),
    blocks: dataBlocks(view.extents(ino)),
    atimeMs: timeMs,
    mtimeMs: timeMs,
    ctimeMs: timeMs,
  };
}

/** The value of an attribute by its name as text; undefined where none, or more than one, is called so. */
export function inodeXattr({ xattrs = [] }: TocInode, name: string): Buffer | undefined {
  const found = xattrs.filter((xattr) => bytesToBuffer(xattr.name).toString() === name);
  return found.length === 1 ? found[0]!.value : undefined;
}

/** Each ended by a NUL. */
export function inodeXattrNames({ xattrs = [] }: TocInode): Buffer {
  return bytesToBuffer(xattrs.map(({ name }) => `${name}\0`).join(''));
}
