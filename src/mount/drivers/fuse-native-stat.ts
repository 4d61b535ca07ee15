/** Attributes in the words that fuse-native.c takes: 32 bits each, 64-bit values as low word, high word, times in milliseconds. */
import type { ByteString } from '../../bytes.js';
import type { NodeType } from '../../layer/tree.js';
import { TYPE_BITS } from '../../merge/toc-format.js';

export const BLOCK_BYTES = 4096;
export const NAME_MAX = 255;
const WORD_MAX = 2 ** 32 - 1;

/** Places in the array that populate_stat reads. */
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

/** What stat(2) says. */
export interface Attributes {
  /** With the type. */
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  nlink: number;
  ino: number;
  rdev: number;
  blocks: number;
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
}

/** Names and `.` and `..`, each with a stat of which readdir(3) shows type and ino. */
export interface DirectoryListing {
  names: ByteString[];
  stats: Uint32Array[];
}

export function statWords(attributes: Attributes): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[WORD.mode] = attributes.mode;
  words[WORD.uid] = attributes.uid;
  words[WORD.gid] = attributes.gid;
  words[WORD.nlink] = attributes.nlink;
  words[WORD.ino] = attributes.ino;
  words[WORD.rdev] = attributes.rdev;
  words[WORD.blksize] = BLOCK_BYTES;
  setLong(words, WORD.size, attributes.sizeBytes);
  setLong(words, WORD.blocks, attributes.blocks);
  setLong(words, WORD.atime, Math.max(0, attributes.atimeMs));
  setLong(words, WORD.mtime, Math.max(0, attributes.mtimeMs));
  setLong(words, WORD.ctime, Math.max(0, attributes.ctimeMs));
  return words;
}

export function direntWords(type: NodeType, ino: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[WORD.mode] = TYPE_BITS[type];
  words[WORD.ino] = ino;
  return words;
}

export interface Space {
  blockBytes: number;
  blocks: number;
  freeBlocks: number;
  availableBlocks: number;
  files: number;
  freeFiles: number;
}

/** statvfs(3), as populate_statvfs reads it. Numbers that do not fit are made to by larger blocks. */
export function statfsWords(space: Space): Uint32Array {
  const { blockBytes, blocks, freeBlocks, availableBlocks, files, freeFiles } = space;
  let scale = 1;
  while (blocks / scale > WORD_MAX) scale *= 2;
  const scaled = (count: number): number => Math.floor(count / scale);
  const word = (count: number): number => Math.min(count, WORD_MAX);
  // bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax
  return Uint32Array.of(
    blockBytes * scale,
    blockBytes * scale,
    scaled(blocks),
    scaled(freeBlocks),
    scaled(availableBlocks),
    word(files),
    word(freeFiles),
    word(freeFiles),
    0,
    0,
    NAME_MAX,
  );
}

function setLong(words: Uint32Array, at: number, value: number): void {
  words[at] = value % 2 ** 32;
  words[at + 1] = Math.floor(value / 2 ** 32);
}
