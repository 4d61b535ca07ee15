/** The parts of unbzip2-stream that its stream is made of. Both raise errors of their own for what is damaged. */
declare module 'unbzip2-stream/lib/bit_iterator.js' {
  /** Gives that many bits; with null it goes to the next whole byte. */
  export interface BitReader {
    (count: number | null): number;
    readonly bytesRead: number;
  }
  export default function bitIterator(nextBuffer: () => Uint8Array): BitReader;
}

declare module 'unbzip2-stream/lib/bzip2.js' {
  import type { BitReader } from 'unbzip2-stream/lib/bit_iterator.js';
  const bzip2: {
    /** Block size in units of 100,000 bytes. */
    header(bits: BitReader): number;
    /** Decodes a block; `block` is room to work in. Returns the checksum so far, null at the end of a stream. */
    decompress(
      bits: BitReader,
      put: (byte: number) => void,
      block: Int32Array,
      blockBytes: number,
      checksum: number,
    ): number | null;
  };
  export default bzip2;
}
