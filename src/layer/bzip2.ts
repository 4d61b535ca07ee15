/**
 * bzip2, block by block, by the decoder of unbzip2-stream. Its own stream decodes all that it has been given at once, into memory: some hundred bytes
 * of bzip2 may be a gigabyte. Here each block's bytes are taken before the next is decoded.
 */
import type { BitReader } from 'unbzip2-stream/lib/bit_iterator.js';

const PIECE_BYTES = 256 * 1024;

/** Several streams one after the other are one. A damaged stream ends in an error of the decoder's own. */
export async function* bzip2Chunks(stored: Iterable<Buffer>): AsyncGenerator<Buffer> {
  const [{ default: bzip2 }, { default: bitIterator }] = await Promise.all([
    import('unbzip2-stream/lib/bzip2.js'),
    import('unbzip2-stream/lib/bit_iterator.js'),
  ]);
  const input = new Input(stored);
  const bits = bitIterator(() => input.next());
  const output = new Output();
  let block: Int32Array | undefined;
  let checksum = 0;
  while (input.isLeft(bits)) {
    if (block === undefined) {
      block = new Int32Array(100_000 * bzip2.header(bits));
      checksum = 0;
      continue;
    }
    const next = bzip2.decompress(bits, output.put, block, block.length, checksum);
    yield* output.take();
    if (next === null) block = undefined;
    else checksum = next;
  }
  if (block !== undefined) throw new Error(CUT);
}

const CUT = 'it ends too early';

/** What the decoder reads, one chunk ahead. */
class Input {
  readonly #chunks: Iterator<Buffer>;
  #ahead: Buffer | undefined;
  #givenBytes = 0;

  constructor(stored: Iterable<Buffer>) {
    this.#chunks = stored[Symbol.iterator]();
  }

  next(): Buffer {
    const chunk = this.#peek();
    if (chunk === undefined) throw new Error(CUT);
    this.#ahead = undefined;
    this.#givenBytes += chunk.length;
    return chunk;
  }

  isLeft({ bytesRead }: BitReader): boolean {
    return bytesRead < this.#givenBytes || this.#peek() !== undefined;
  }

  #peek(): Buffer | undefined {
    this.#ahead ??= (this.#chunks.next() as IteratorResult<Buffer, undefined>).value;
    return this.#ahead;
  }
}

/** What the decoder gives, byte by byte. */
class Output {
  #pieces: Buffer[] = [];
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #filled = 0;

  readonly put = (byte: number): void => {
    if (this.#filled === PIECE_BYTES) this.#next();
    this.#piece[this.#filled++] = byte;
  };

  take(): Buffer[] {
    this.#next();
    return this.#pieces.splice(0);
  }

  #next(): void {
    if (this.#filled > 0) this.#pieces.push(this.#piece.subarray(0, this.#filled));
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#filled = 0;
  }
}
