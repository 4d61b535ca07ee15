/**
 * Answers to FUSE requests by path, from a merged TOC: the portable driver without the mount. Results are in the form that
 * `fuse-native` hands to libfuse; failures are negative errno values (errno(3)). It never raises for what an image can hold.
 */
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../../bytes.js';
import { bytesToBuffer } from '../../bytes.js';
import type { NodeType } from '../../layer/tree.js';
import { TYPE_BITS } from '../../merge/toc-format.js';
import type { TocInode } from '../../merge/toc-reader.js';
import { ROOT_INO } from '../../merge/toc-reader.js';
import type { ImageView } from '../../merge/view.js';
import { dataBlocks } from '../../merge/view-read.js';
import { deviceNumber, statMode } from '../../merge/view-stat.js';

/** Linux errno values, negated as FUSE wants them. */
export const ENOENT = -2;
export const EIO = -5;
export const EINVAL = -22;
export const ERANGE = -34;
export const ENAMETOOLONG = -36;
export const ENODATA = -61;

const CACHED_NODES = 16_384;
const BLOCK_BYTES = 4096;
const NAME_MAX = 255;
/** libfuse 2.9's buffer for a symbolic link, less the NUL: lib/fuse.c, fuse_lib_readlink. */
const LINK_BYTES = 4096;

/** Words of the array that fuse-native.c's populate_stat reads; 64-bit values are low word, high word. */
const STAT_WORDS = 18;
const WORD = {
  mode: 0,
  uid: 1,
  gid: 2,
  size: 3,
  nlink: 6,
  ino: 7,
  rdev: 8,
  blksize: 9,
  blocks: 10,
  atime: 12,
  mtime: 14,
  ctime: 16,
} as const;

/** Names and `.` and `..`, each with a stat of which readdir(3) shows type and ino. */
export interface DirectoryListing {
  names: ByteString[];
  stats: Uint32Array[];
}

export class PortableFilesystem {
  readonly #view: ImageView;
  /** Path -> ino. */
  readonly #nodes = new LRUCache<ByteString, number>({ max: CACHED_NODES });

  constructor(view: ImageView) {
    this.#view = view;
  }

  /** stat(2) of the name itself. */
  getattr(path: ByteString): Uint32Array | typeof ENOENT | typeof ENAMETOOLONG {
    const inode = this.#inode(path);
    if (inode !== undefined) return statWords(inode, dataBlocks(this.#view.extents(inode.ino)));
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
    return Buffer.byteLength(inode.target, 'utf8') > LINK_BYTES ? EIO : inode.target;
  }

  /** pread(2) into `buffer`: the number of bytes. */
  read(path: ByteString, buffer: Buffer, position: number): number {
    const ino = this.#ino(path);
    return ino === undefined ? ENOENT : this.#view.read(ino, buffer, position);
  }

  /**
   * getxattr(2): the value's length, which is all that is asked for with an empty buffer.
   * @param name as text: fuse-native decoded it as UTF-8, with U+FFFD for what is not
   */
  getxattr(path: ByteString, name: string, buffer: Buffer): number {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    const found = (inode.xattrs ?? []).filter((xattr) => bytesToBuffer(xattr.name).toString() === name);
    return found.length === 1 ? fill(buffer, found[0]!.value) : ENODATA;
  }

  /** listxattr(2): the length of the list of names, each ended by a NUL. */
  listxattr(path: ByteString, buffer: Buffer): number {
    const inode = this.#inode(path);
    if (inode === undefined) return ENOENT;
    return fill(buffer, bytesToBuffer((inode.xattrs ?? []).map(({ name }) => `${name}\0`).join('')));
  }

  /** statvfs(3), in the words of fuse-native.c's populate_statvfs: the tars' size, all of it used. */
  statfs(): Uint32Array {
    const { layers, inodeCount } = this.#view.toc;
    const usedBytes = layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const blocks = Math.ceil(usedBytes / BLOCK_BYTES);
    // bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax
    return Uint32Array.of(BLOCK_BYTES, BLOCK_BYTES, blocks, 0, 0, inodeCount, 0, 0, 0, 0, NAME_MAX);
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
function fill(buffer: Buffer, value: Buffer): number {
  if (buffer.length === 0) return value.length;
  if (buffer.length < value.length) return ERANGE;
  value.copy(buffer);
  return value.length;
}

function statWords(inode: TocInode, blocks: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[WORD.mode] = statMode(inode);
  words[WORD.uid] = inode.uid;
  words[WORD.gid] = inode.gid;
  words[WORD.nlink] = inode.nlink;
  words[WORD.ino] = inode.ino;
  words[WORD.rdev] = deviceNumber(inode.rdevMajor, inode.rdevMinor);
  words[WORD.blksize] = BLOCK_BYTES;
  setLong(words, WORD.size, inode.sizeBytes);
  setLong(words, WORD.blocks, blocks);
  const mtimeMs = Math.max(0, inode.mtimeSec * 1000 + Math.floor(inode.mtimeNsec / 1e6));
  for (const time of [WORD.atime, WORD.mtime, WORD.ctime]) setLong(words, time, mtimeMs);
  return words;
}

function direntWords(type: NodeType, ino: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[WORD.mode] = TYPE_BITS[type];
  words[WORD.ino] = ino;
  return words;
}

function setLong(words: Uint32Array, at: number, value: number): void {
  words[at] = value % 2 ** 32;
  words[at + 1] = Math.floor(value / 2 ** 32);
}
