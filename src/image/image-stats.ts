/** What `stat` and `readdir` say of a file in an image, in the shape of Node's fs.Stats and fs.Dirent (documentation of node:fs). */
import type { ByteString } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import { NO_LAYER } from '../layer/tree.js';
import type { Extent, NodeType } from '../layer/tree.js';
import type { TocInode } from '../merge/toc-reader.js';
import { dataBlocks } from '../merge/view-read.js';
import { deviceNumber, statMode } from '../merge/view-stat.js';

class FileKind {
  readonly #type: NodeType;

  constructor(type: NodeType) {
    this.#type = type;
  }

  isFile(): boolean {
    return this.#type === 'file';
  }
  isDirectory(): boolean {
    return this.#type === 'dir';
  }
  isSymbolicLink(): boolean {
    return this.#type === 'symlink';
  }
  isCharacterDevice(): boolean {
    return this.#type === 'char';
  }
  isBlockDevice(): boolean {
    return this.#type === 'block';
  }
  isFIFO(): boolean {
    return this.#type === 'fifo';
  }
  isSocket(): boolean {
    return this.#type === 'socket';
  }
}

/** fs.Stats. An image keeps one time, mtime: the others repeat it. `dev` is 0. */
export class ImageStats extends FileKind {
  readonly dev = 0;
  readonly ino: number;
  /** Type and permission bits, as st_mode. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** As Linux encodes a device number (makedev(3)); 0 for what is no device. */
  readonly rdev: number;
  /** Of a regular file's content or a symbolic link's text; 0 for all else. */
  readonly size: number;
  readonly blksize = 4096;
  /** Of 512 bytes; holes do not count. */
  readonly blocks: number;
  readonly mtimeMs: number;
  readonly mtimeNs: bigint;
  /** Index of the layer that gave these attributes, bottom is 0; undefined for a directory that no layer describes. */
  readonly layer: number | undefined;

  constructor(inode: TocInode, extents: readonly Extent[]) {
    super(inode.type);
    this.ino = inode.ino;
    this.mode = statMode(inode);
    this.nlink = inode.nlink;
    this.uid = inode.uid;
    this.gid = inode.gid;
    this.rdev = deviceNumber(inode.rdevMajor, inode.rdevMinor);
    this.size = inode.sizeBytes;
    this.blocks = dataBlocks(extents);
    this.mtimeMs = inode.mtimeSec * 1000 + inode.mtimeNsec / 1e6;
    this.mtimeNs = BigInt(inode.mtimeSec) * 1_000_000_000n + BigInt(inode.mtimeNsec);
    this.layer = inode.layer === NO_LAYER ? undefined : inode.layer;
  }

  get mtime(): Date {
    return new Date(this.mtimeMs);
  }
  get atime(): Date {
    return this.mtime;
  }
  get ctime(): Date {
    return this.mtime;
  }
  get birthtime(): Date {
    return this.mtime;
  }
  get atimeMs(): number {
    return this.mtimeMs;
  }
  get ctimeMs(): number {
    return this.mtimeMs;
  }
  get birthtimeMs(): number {
    return this.mtimeMs;
  }
}

/** fs.Dirent. */
export class ImageDirent extends FileKind {
  readonly name: string;
  /** The name's bytes, for one that is not UTF-8. */
  readonly nameBytes: Buffer;

  constructor(
    name: ByteString,
    readonly parentPath: string,
    type: NodeType,
    readonly ino: number,
  ) {
    super(type);
    this.nameBytes = bytesToBuffer(name);
    this.name = this.nameBytes.toString('utf8');
  }
}
