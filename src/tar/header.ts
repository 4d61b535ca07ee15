/**
 * Fields of one 512-byte tar header block, read in place. Nothing here allocates but the strings asked for.
 * Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (base-256 numbers,
 * old GNU header); Go archive/tar, which container tools read layers with, where those two leave a choice.
 */
import type { ByteString } from '../bytes.js';

export const BLOCK = 512;

/** Field offsets in the block; sizes are given where they are read. */
export const FIELD = {
  name: 0,
  mode: 100,
  uid: 108,
  gid: 116,
  size: 124,
  mtime: 136,
  checksum: 148,
  typeflag: 156,
  linkname: 157,
  magic: 257,
  devmajor: 329,
  devminor: 337,
  prefix: 345,
  starTrailer: 508,
} as const;

/** How the header says it was written; decides what the bytes from 257 on mean. */
export type Dialect = 'v7' | 'ustar' | 'gnu' | 'star';

const SPACE = 0x20;

/** The next multiple of 512. Exact up to 2^53. */
export function roundUpToBlock(bytes: number): number {
  const over = bytes % BLOCK;
  return over === 0 ? bytes : bytes + BLOCK - over;
}

/**
 * A numeric field: octal digits with spaces or NULs around them, or base-256 (two's complement, big-endian) when the top
 * bit of its first byte is set. A blank field is 0. NaN when malformed or when it does not fit a safe integer.
 */
export function readNumber(block: Buffer, start: number, length: number): number {
  if (block[start]! & 0x80) return readBase256(block, start, length);
  const end = start + length;
  let at = start;
  while (at < end && (block[at] === SPACE || block[at] === 0)) at++;
  let value = 0;
  for (; at < end; at++) {
    const digit = block[at]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  if (at < end && block[at] !== SPACE && block[at] !== 0) return NaN;
  return value;
}

function readBase256(block: Buffer, start: number, length: number): number {
  const first = block[start]!;
  const negative = (first & 0x40) !== 0;
  const flip = negative ? 0xff : 0;
  let value = (first ^ flip) & 0x3f;
  for (let at = start + 1; at < start + length; at++) value = value * 256 + (block[at]! ^ flip);
  if (value > Number.MAX_SAFE_INTEGER) return NaN;
  return negative ? -value - 1 : value;
}

/** The bytes `start` to `end` as a string. */
export function latin1(buffer: Buffer, start: number, end: number): ByteString {
  return buffer.toString('latin1', start, end);
}

/** A text field: its bytes up to the first NUL, or all of them. */
export function readText(block: Buffer, start: number, length: number): ByteString {
  let end = start;
  const limit = start + length;
  while (end < limit && block[end] !== 0) end++;
  return end === start ? '' : latin1(block, start, end);
}

/**
 * Sum of the block's bytes, taken as unsigned. `words` views the same memory as 32-bit words and `index` is the block's
 * first word. Two bytes are added per lane: 128 times 255 stays below 2^16, so that lanes never run into each other.
 */
export function sumBlock(words: Int32Array, index: number): number {
  let even = 0;
  let odd = 0;
  for (let at = index; at < index + BLOCK / 4; at++) {
    const word = words[at]!;
    even += word & 0x00ff00ff;
    odd += (word >>> 8) & 0x00ff00ff;
  }
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16);
}

/**
 * Whether the checksum field matches. The field itself counts as eight spaces. POSIX sums unsigned bytes; some old
 * tars summed signed ones, which differ by 256 for each byte above 127.
 */
export function checksumMatches(block: Buffer, start: number, unsignedSum: number): boolean {
  const stored = readNumber(block, start + FIELD.checksum, 8);
  let field = 0;
  for (let at = start + FIELD.checksum; at < start + FIELD.typeflag; at++) field += block[at]!;
  const unsigned = unsignedSum - field + 8 * SPACE;
  if (stored === unsigned) return true;
  let high = 0;
  for (let at = start; at < start + BLOCK; at++) {
    const inField = at >= start + FIELD.checksum && at < start + FIELD.typeflag;
    if (!inField && block[at]! > 127) high++;
  }
  return high > 0 && stored === unsigned - 256 * high;
}

/** "ustar\0" is POSIX (star when "tar\0" ends the block), "ustar  \0" old GNU, anything else v7. */
export function dialectOf(block: Buffer, start: number): Dialect {
  const magic = start + FIELD.magic;
  // 'u', then 's', 't', 'a', 'r': compared singly since a string would be made for every header otherwise.
  if (
    block[magic] !== 0x75 ||
    block[magic + 1] !== 0x73 ||
    block[magic + 2] !== 0x74 ||
    block[magic + 3] !== 0x61 ||
    block[magic + 4] !== 0x72
  )
    return 'v7';
  if (block[magic + 5] === SPACE) return block[magic + 6] === SPACE && block[magic + 7] === 0 ? 'gnu' : 'v7';
  if (block[magic + 5] !== 0) return 'v7';
  const trailer = start + FIELD.starTrailer;
  const star =
    block[trailer] === 0x74 &&
    block[trailer + 1] === 0x61 &&
    block[trailer + 2] === 0x72 &&
    block[trailer + 3] === 0;
  return star ? 'star' : 'ustar';
}

/**
 * The name with its prefix. star's prefix is 24 bytes shorter than POSIX's. Old GNU has none: access and
 * change time lie there; but Go before 1.8, and so docker before 17.03, wrote prefixes into headers with GNU magic, and
 * still reads them when the times are no numbers.
 */
export function readName(block: Buffer, start: number, dialect: Dialect): ByteString {
  const name = readText(block, start + FIELD.name, 100);
  const at = start + FIELD.prefix;
  if (dialect === 'v7' || block[at] === 0) return name;
  let length = 155;
  if (dialect === 'star') length = 131;
  if (dialect === 'gnu') {
    const times = readNumber(block, at, 12) + readNumber(block, at + 12, 12);
    if (!Number.isNaN(times)) return name;
    for (let byte = at; byte < at + 155 && block[byte] !== 0; byte++) if (block[byte]! > 127) return name;
  }
  return `${readText(block, at, length)}/${name}`;
}

/** Decimal digits and nothing else -> a safe integer; NaN otherwise. */
export function parseDecimal(text: ByteString): number {
  if (text.length === 0 || text.length > 16) return NaN;
  let value = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return value > Number.MAX_SAFE_INTEGER ? NaN : value;
}
