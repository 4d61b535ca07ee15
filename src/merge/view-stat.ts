/** What stat(2) says of an inode where it is one number made of several: inode(7), makedev(3). */
import { TYPE_BITS } from './toc-format.js';
import type { TocInode } from './toc-reader.js';

/** st_mode: the type and the permission bits. */
export function statMode(inode: TocInode): number {
  return TYPE_BITS[inode.type] | inode.mode;
}

/** st_rdev as glibc's makedev(3) makes it. The low 32 bits are all that FUSE carries: major below 4096, minor below 2^20. */
export function deviceNumber(major: number, minor: number): number {
  const low = (major & 0xfff) * 2 ** 8 + (minor & 0xff);
  return low + Math.floor(minor / 2 ** 8) * 2 ** 20 + Math.floor(major / 2 ** 12) * 2 ** 44;
}
