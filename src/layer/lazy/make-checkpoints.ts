/**
 * Makes the checkpoint index of a layer. Where deflate blocks begin, to the bit, node:zlib does not tell; pako, a port of zlib to JavaScript,
 * does (zlib.h, Z_BLOCK; zlib's examples/zran.c), at 150 MB of plain bytes a second here, half as fast as zlib.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import {
  Z_BLOCK,
  Z_BUF_ERROR,
  Z_OK,
  Z_STREAM_END,
  zlibInflate,
  zlibInflateInit2,
  zlibInflateReset,
  ZStream,
} from 'pako';
import { LaminaError } from '../../errors.js';
import { readSource } from '../../tar/source.js';
import type { ByteSource } from '../../tar/source.js';
import { packWindow } from './checkpoints.js';
import type { CheckpointIndex, Span } from './checkpoints.js';
import { WINDOW_BYTES } from './pieces.js';

/** Plain bytes between two checkpoints: what has to be fetched for any byte in between, about 40 ms at 20 Mbit/s. */
export const SPAN_BYTES = 256 * 1024;
/** zlib's window of 32 KiB, in a gzip wrapper. */
const GZIP_WINDOW_BITS = 31;
const INPUT_BYTES = 256 * 1024;
const OUTPUT_BYTES = 256 * 1024;
/** Of `data_type` after Z_BLOCK: at the beginning of a block; in the last block; bits of the last byte that are not used yet. */
const [AT_BLOCK, IN_LAST, UNUSED_BITS] = [128, 64, 7];

export interface MadeCheckpoints extends Omit<CheckpointIndex, 'toc'> {
  windows: Buffer;
}

/** Reads all of `blob`, synchronously: for a worker. Raises EBADTAR, ELIMIT. */
export function makeCheckpoints(
  blob: ByteSource,
  compression: 'none' | 'gzip',
  maxBytes: number,
  spanBytes = SPAN_BYTES,
): MadeCheckpoints {
  return compression === 'none'
    ? plainCheckpoints(blob, spanBytes)
    : new Maker(blob, maxBytes, spanBytes).make();
}

function plainCheckpoints(blob: ByteSource, spanBytes: number): MadeCheckpoints {
  const { sizeBytes } = blob;
  const spans: Span[] = [];
  const chunk = Buffer.allocUnsafe(spanBytes);
  for (let plainOffset = 0; plainOffset < sizeBytes; plainOffset += spanBytes) {
    const length = readSource(blob, chunk, plainOffset);
    const digest = createHash('sha256').update(chunk.subarray(0, length)).digest();
    spans.push({ plainOffset, blobBit: plainOffset * 8, windowOffset: 0, windowLength: 0, digest });
  }
  return {
    compression: 'none',
    blobBytes: sizeBytes,
    plainBytes: sizeBytes,
    windowsBytes: 0,
    spans,
    windows: Buffer.alloc(0),
  };
}

class Maker {
  readonly #stream = new ZStream();
  readonly #input = new Uint8Array(INPUT_BYTES);
  /** The last window before it, and then what comes out. */
  readonly #output = new Uint8Array(WINDOW_BYTES + OUTPUT_BYTES);
  /** Of the blob, what `#input` begins with and what follows it. */
  #inputStart = 0;
  #inputEnd = 0;
  #plainBytes = 0;
  /** Where the member began that is being decompressed: nothing before it is needed. */
  #memberStart = 0;
  readonly #spans: Span[] = [];
  readonly #windows: Buffer[] = [];
  #windowsBytes = 0;
  #hash: Hash | undefined;

  constructor(
    private readonly blob: ByteSource,
    private readonly maxBytes: number,
    private readonly spanBytes: number,
  ) {}

  make(): MadeCheckpoints {
    const stream = this.#stream;
    zlibInflateInit2(stream, GZIP_WINDOW_BITS);
    stream.input = this.#input;
    stream.output = this.#output as Uint8Array<ArrayBuffer>;
    stream.next_out = WINDOW_BYTES;
    stream.avail_out = OUTPUT_BYTES;
    stream.next_in = stream.avail_in = 0;
    let isMember = false;
    for (;;) {
      if (stream.avail_in === 0 && !this.#refill()) {
        if (isMember) throw this.#bad('it ends early');
        break;
      }
      // What follows the last member and is none is padding (gzip(1) ignores it).
      if (!isMember && this.#input[stream.next_in] !== 0x1f && this.#spans.length > 0) break;
      isMember = true;
      const before = stream.next_out;
      const result = zlibInflate(stream, Z_BLOCK);
      this.#took(before);
      if (result === Z_STREAM_END) {
        zlibInflateReset(stream);
        isMember = false;
        this.#memberStart = this.#plainBytes;
      } else if (result !== Z_OK && result !== Z_BUF_ERROR) throw this.#bad(stream.msg || `code ${result}`);
      else if ((stream.data_type & AT_BLOCK) !== 0 && (stream.data_type & IN_LAST) === 0) this.#atBlock();
      if (stream.avail_out === 0) this.#slide();
    }
    this.#endSpan();
    const blobBytes = this.blob.sizeBytes;
    return {
      compression: 'gzip',
      ...{ blobBytes, plainBytes: this.#plainBytes, windowsBytes: this.#windowsBytes, spans: this.#spans },
      windows: Buffer.concat(this.#windows),
    };
  }

  #refill(): boolean {
    const length = Math.min(INPUT_BYTES, this.blob.sizeBytes - this.#inputEnd);
    if (length === 0) return false;
    readSource(this.blob, this.#input.subarray(0, length), this.#inputEnd);
    this.#inputStart = this.#inputEnd;
    this.#inputEnd += length;
    this.#stream.next_in = 0;
    this.#stream.avail_in = length;
    return true;
  }

  #took(before: number): void {
    const bytes = this.#output.subarray(before, this.#stream.next_out);
    if (bytes.length === 0) return;
    this.#plainBytes += bytes.length;
    if (this.#plainBytes > this.maxBytes)
      throw new LaminaError(
        'ELIMIT',
        `${this.blob.name} is larger than ${this.maxBytes} bytes when decompressed`,
      );
    this.#hash!.update(bytes);
  }

  /** A block begins. */
  #atBlock(): void {
    const last = this.#spans.at(-1);
    const isNewMember = this.#memberStart === this.#plainBytes;
    if (last !== undefined && last.plainOffset === this.#plainBytes) {
      // Nothing came since: an empty block, or an empty member, whose successor is as good a beginning.
      if (isNewMember) this.#spans.pop();
      else return;
    } else if (last !== undefined && !isNewMember && this.#plainBytes - last.plainOffset < this.spanBytes)
      return;
    else this.#endSpan();
    const stream = this.#stream;
    const window = this.#window();
    this.#spans.push({
      plainOffset: this.#plainBytes,
      blobBit: (this.#inputStart + stream.next_in) * 8 - (stream.data_type & UNUSED_BITS),
      windowOffset: this.#windowsBytes,
      windowLength: window.length,
      digest: Buffer.alloc(0),
    });
    this.#windows.push(window);
    this.#windowsBytes += window.length;
    this.#hash = createHash('sha256');
  }

  #window(): Buffer {
    const length = Math.min(WINDOW_BYTES, this.#plainBytes - this.#memberStart);
    const end = this.#stream.next_out;
    return length === 0 ? Buffer.alloc(0) : packWindow(Buffer.from(this.#output.subarray(end - length, end)));
  }

  #endSpan(): void {
    const last = this.#spans.at(-1);
    if (last !== undefined && this.#hash !== undefined && last.digest.length === 0)
      last.digest = this.#hash.digest();
    // A stream of nothing.
    if (this.#plainBytes === last?.plainOffset) this.#spans.pop();
  }

  #slide(): void {
    this.#output.copyWithin(0, OUTPUT_BYTES);
    this.#stream.next_out = WINDOW_BYTES;
    this.#stream.avail_out = OUTPUT_BYTES;
  }

  #bad(what: string): LaminaError {
    return new LaminaError('EBADTAR', `${this.blob.name}: its gzip data is damaged: ${what}`, {
      path: this.blob.name,
    });
  }
}
