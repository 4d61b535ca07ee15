/**
 * Sparse maps: which runs of a file are stored, and where. Four spellings: old GNU (typeflag S, in the header and in
 * blocks after it), and PAX 0.0, 0.1 (in the records) and 1.0 (text at the head of the data). Source: GNU tar
 * manual, "Sparse Formats". The rule: runs are in order, do not overlap, lie inside the file, and are exactly what is stored.
 */
import { BLOCK, parseDecimal, readNumber } from './header.js';

/** A run of a file's bytes that is stored; what no run covers is a hole. */
export interface TarExtent {
  /** Offset in the file. */
  logical: number;
  length: number;
  /** Offset in the source. */
  offset: number;
}

/** Entries of a map: offset in the file and length, in turn. */
export type SparseMap = number[];

/** Reads `count` pairs of 12-byte numbers at `start`; false when one is malformed. A pair that begins with NUL ends the list. */
export function readOldGnuPairs(block: Buffer, start: number, count: number, map: SparseMap): boolean {
  for (let index = 0; index < count; index++) {
    const at = start + 24 * index;
    if (block[at] === 0) break;
    const offset = readNumber(block, at, 12);
    const length = readNumber(block, at + 12, 12);
    if (Number.isNaN(offset) || Number.isNaN(length)) return false;
    map.push(offset, length);
  }
  return true;
}

/** Where to find the text of a 1.0 map, block by block. */
export type BlockReader = (index: number) => Buffer;

/**
 * A 1.0 map: decimal numbers, each with a newline: how many pairs, then the pairs; padded to whole blocks. `blockAt(n)`
 * gives the n-th block of the entry's data, or raises. undefined when malformed; otherwise the map and its size.
 */
export function readSparse10(blockAt: BlockReader): { map: SparseMap; mapBytes: number } | undefined {
  const map: SparseMap = [];
  let wanted = -1;
  let text = '';
  for (let index = 0; ; index++) {
    const block = blockAt(index);
    for (let at = 0; at < BLOCK; at++) {
      const byte = block[at]!;
      if (byte !== 0x0a) {
        if (text.length > 16) return undefined;
        text += String.fromCharCode(byte);
        continue;
      }
      const value = parseDecimal(text);
      if (Number.isNaN(value)) return undefined;
      text = '';
      if (wanted < 0) wanted = value * 2;
      else map.push(value);
      if (map.length === wanted) return { map, mapBytes: (index + 1) * BLOCK };
    }
  }
}

/**
 * Map -> extents, with the stored runs one after the other from `offset`. Returns what is wrong with the map, in words,
 * when it breaks the rule above. Runs of no length say nothing and are dropped.
 */
export function sparseExtents(
  map: SparseMap,
  sizeBytes: number,
  offset: number,
  storedBytes: number,
): TarExtent[] | string {
  const extents: TarExtent[] = [];
  let end = 0;
  let stored = 0;
  for (let index = 0; index < map.length; index += 2) {
    const logical = map[index]!;
    const length = map[index + 1]!;
    if (logical < 0 || length < 0) return 'has a negative number';
    if (logical < end) return 'is out of order or overlaps';
    end = logical + length;
    if (end > sizeBytes) return `goes beyond the ${sizeBytes} bytes of the file`;
    if (length > 0) extents.push({ logical, length, offset: offset + stored });
    stored += length;
  }
  if (stored !== storedBytes) return `covers ${stored} bytes where ${storedBytes} are stored`;
  return extents;
}
