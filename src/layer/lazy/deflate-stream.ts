/**
 * A piece of a deflate stream (RFC 1951) made a stream of its own, for a decoder that knows nothing of where blocks begin. The piece keeps its
 * place within bytes, because stored blocks are aligned to them: what stands before it in its first byte is filled up with empty blocks, and
 * where it ends an empty last block follows.
 */

/** From bit 0 on, the first in the lowest: 0, 01 (fixed codes), end of block. */
const EMPTY_FIXED = bitsOf('0 10 0000000');
const LAST_FIXED = bitsOf('1 10 0000000');
/**
 * Empty, with codes of its own, and of an odd length, which fixed blocks cannot be: 0, 10 (dynamic codes), 257 literals, 1 distance, 18 code
 * lengths, of which 18 and 0 have two bits and 1 has one; 138 and 118 zeros, the end of block's 1, no distance; end of block.
 */
const EMPTY_DYNAMIC = bitsOf(
  `0 01 00000 00000 0111 000 000 010 010 ${'000 '.repeat(13)}100  11 1111111 11 1101011 0 10  0`,
);

/** A prefix that ends after so many bits of a byte. */
const PREFIXES = Array.from({ length: 8 }, (_, skip) => {
  const bits = skip % 2 === 0 ? [] : [...EMPTY_DYNAMIC];
  while (bits.length % 8 !== skip) bits.push(...EMPTY_FIXED);
  return bits;
});

function bitsOf(text: string): readonly number[] {
  return [...text.replaceAll(' ', '')].map(Number);
}

/** @param bits how many of `bytes`, from bit `skip` on, belong to the piece; undefined: they end with a last block of their own */
export function deflateStream(bytes: Buffer, skip: number, bits: number | undefined): Buffer {
  const prefix = PREFIXES[skip]!;
  const before = Math.floor(prefix.length / 8);
  const used = bits === undefined ? bytes.length : Math.ceil((skip + bits) / 8);
  const stream = Buffer.alloc(before + used + 2);
  bytes.copy(stream, before, 0, used);
  stream[before]! &= 0xff << skip;
  put(stream, 0, prefix);
  if (bits === undefined) return stream.subarray(0, before + used);
  const end = before * 8 + skip + bits;
  if (end % 8 !== 0) stream[Math.floor(end / 8)]! &= (1 << (end % 8)) - 1;
  put(stream, end, LAST_FIXED);
  return stream;
}

function put(stream: Buffer, from: number, bits: readonly number[]): void {
  for (const [index, bit] of bits.entries()) {
    const at = from + index;
    stream[at >> 3]! |= bit << (at & 7);
  }
}
