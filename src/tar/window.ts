/**
 * The piece of a source that is in memory while its headers are read. It decides by itself how much to read at a time:
 * where headers lie close together one large read serves many; where files are large it reads little and jumps.
 * The rule it guards: positions are multiples of 512, so that a block can be summed as 32-bit words.
 */
import { readSource, type ByteSource } from './source.js';

/** Read ahead this much among small files: fits the second-level cache and amortises a system call over many headers. */
const AHEAD_BYTES = 256 * 1024;
/** Read this much where the next header is far: a header, often with an extended header before it. */
const JUMP_BYTES = 4 * 1024;
/** Copying this many bytes costs about as much as one system call; measured, not critical. */
const FAR_BYTES = 16 * 1024;

export class Window {
  /** Valid from the index that `at` returned, for the length that was asked for, until the next call. */
  buffer: Buffer = Buffer.allocUnsafeSlow(AHEAD_BYTES);
  /** The same memory as `buffer`. */
  words: Int32Array = wordsOf(this.buffer);
  readonly #source: ByteSource;
  #start = 0;
  #length = 0;
  #lastHeader = 0;
  #stride = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** As `at` for one block, and remembers how far apart headers are. */
  header(position: number): number {
    const gap = position - this.#lastHeader;
    this.#lastHeader = position;
    this.#stride += (Math.min(gap, 8 * FAR_BYTES) - this.#stride) / 8;
    return this.at(position, 512);
  }

  /**
   * Brings `length` bytes from `position` into `buffer` and returns the index of the first. The caller has checked
   * that they lie inside the source and has bounded `length`. Raises EIO.
   */
  at(position: number, length: number): number {
    const index = position - this.#start;
    if (index >= 0 && index + length <= this.#length) return index;
    let wanted = Math.max(length, this.#stride > FAR_BYTES ? JUMP_BYTES : AHEAD_BYTES);
    if (wanted > this.buffer.length) {
      wanted = Math.ceil(wanted / 512) * 512;
      this.buffer = Buffer.allocUnsafeSlow(wanted);
      this.words = wordsOf(this.buffer);
    }
    this.#length = 0;
    this.#start = position;
    const target = wanted === this.buffer.length ? this.buffer : this.buffer.subarray(0, wanted);
    this.#length = readSource(this.#source, target, position);
    return 0;
  }
}

function wordsOf(buffer: Buffer): Int32Array {
  return new Int32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
}
