/** What an upper object's attribute `lamina.origin` says of a file of the image (FORMAT.md, The upper and work directories). */
import type { ByteString } from '../bytes.js';
import type { TreeReader } from '../layer/tree.js';

/** @param tocKey of the merged TOC that `ino` is a number in */
export function originOf(tocKey: bigint, ino: number): ByteString {
  return `toc:${tocKey.toString(16)}:${ino.toString(16)}`;
}

/** The inode of the TOC that an origin means; undefined for that of another TOC, or of a directory of a stack. */
export function inoOfOrigin(
  origin: ByteString | undefined,
  tocKey: bigint,
  { inodeCount }: TreeReader,
): number | undefined {
  const [, key, text] = /^toc:([0-9a-f]+):([0-9a-f]+)$/.exec(origin ?? '') ?? [];
  if (key === undefined || BigInt(`0x${key}`) !== tocKey) return undefined;
  const ino = parseInt(text!, 16);
  return ino >= 1 && ino <= inodeCount ? ino : undefined;
}
