/**
 * The checkpoint index of a layer (FORMAT.md, Checkpoint index): what a gzip layer that anybody made takes to be decompressed from the middle. A
 * span begins where a deflate block does; with the 32 KiB of plain bytes before it, its window, it can be decompressed alone. A plain layer
 * has an index too, without windows. The TOC of the layer comes along, so that its tree is known before its bytes are.
 */
import { constants, createInflateRaw, deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from 'node:zlib';
import { LaminaError } from '../../errors.js';
import { hashBytes } from '../../oci/digest.js';
import { badLazy, MAX_PIECE_BYTES, WINDOW_BYTES } from './pieces.js';
import type { Piece } from './pieces.js';
import { deflateStream } from './deflate-stream.js';
import { takePart } from './part.js';

export interface Span {
  /** In the tar. */
  plainOffset: number;
  /** In the blob, in bits: deflate blocks begin anywhere. */
  blobBit: number;
  /** In the windows, compressed; of length 0 where it needs none. */
  windowOffset: number;
  windowLength: number;
  /** sha256 of its plain bytes. */
  digest: Buffer;
}

export interface CheckpointIndex {
  compression: 'none' | 'gzip';
  /** Of the blob, and of the tar. */
  blobBytes: number;
  plainBytes: number;
  windowsBytes: number;
  spans: readonly Span[];
  /** A TOC file of the layer alone. */
  toc: Buffer;
}

const MAGIC = Buffer.from('LAMCKPT1', 'latin1');
const HEADER_BYTES = 64;
const SPAN_BYTES = 64;
/** Of an index, decompressed. */
const MAX_INDEX_BYTES = 512 << 20;
const MAX_SPANS = 1 << 20;

export function encodeIndex({
  compression,
  blobBytes,
  plainBytes,
  windowsBytes,
  spans,
  toc,
}: CheckpointIndex): Buffer {
  const file = Buffer.alloc(HEADER_BYTES + spans.length * SPAN_BYTES + toc.length);
  MAGIC.copy(file);
  file.writeUInt32LE(1, 8);
  file.writeUInt32LE(compression === 'gzip' ? 1 : 0, 12);
  file.writeBigUInt64LE(BigInt(blobBytes), 16);
  file.writeBigUInt64LE(BigInt(plainBytes), 24);
  file.writeBigUInt64LE(BigInt(windowsBytes), 32);
  file.writeUInt32LE(spans.length, 40);
  file.writeBigUInt64LE(BigInt(toc.length), 48);
  spans.forEach((span, index) => {
    const at = HEADER_BYTES + index * SPAN_BYTES;
    file.writeBigUInt64LE(BigInt(span.plainOffset), at);
    file.writeBigUInt64LE(BigInt(span.blobBit), at + 8);
    file.writeBigUInt64LE(BigInt(span.windowOffset), at + 16);
    file.writeUInt32LE(span.windowLength, at + 24);
    span.digest.copy(file, at + 32);
  });
  toc.copy(file, file.length - toc.length);
  return gzipSync(file, { level: 9 });
}

/** Checks everything but the TOC. Raises EBADLAYER, ELIMIT. */
export function decodeIndex(bytes: Buffer, name: string): CheckpointIndex {
  let file: Buffer;
  try {
    file = gunzipSync(bytes, { maxOutputLength: MAX_INDEX_BYTES });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new LaminaError('ELIMIT', `${name}: its index is larger than ${MAX_INDEX_BYTES} bytes`);
    throw badLazy(name, 'is not gzipped');
  }
  if (file.length < HEADER_BYTES || !file.subarray(0, 8).equals(MAGIC))
    throw badLazy(name, 'is no checkpoint index');
  if (file.readUInt32LE(8) !== 1)
    throw badLazy(name, `is of version ${file.readUInt32LE(8)}; this Lamina reads version 1`);
  const number = (at: number): number => {
    const value = file.readBigUInt64LE(at);
    if (value >= 2n ** 49n) throw badLazy(name, 'has a number that is too large');
    return Number(value);
  };
  const compression = file.readUInt32LE(12);
  if (compression > 1) throw badLazy(name, 'is of an unknown compression');
  const [blobBytes, plainBytes, windowsBytes] = [number(16), number(24), number(32)];
  const spanCount = file.readUInt32LE(40);
  const tocBytes = number(48);
  if (spanCount > MAX_SPANS)
    throw new LaminaError('ELIMIT', `${name}: its index has more than ${MAX_SPANS} spans`);
  if (file.length !== HEADER_BYTES + spanCount * SPAN_BYTES + tocBytes) throw badLazy(name, 'is cut short');
  const spans = Array.from({ length: spanCount }, (_, index): Span => {
    const at = HEADER_BYTES + index * SPAN_BYTES;
    return {
      plainOffset: number(at),
      blobBit: number(at + 8),
      windowOffset: number(at + 16),
      windowLength: file.readUInt32LE(at + 24),
      digest: file.subarray(at + 32, at + 64),
    };
  });
  const index: CheckpointIndex = {
    compression: compression === 1 ? 'gzip' : 'none',
    ...{ blobBytes, plainBytes, windowsBytes, spans },
    toc: file.subarray(file.length - tocBytes),
  };
  checkSpans(index, name);
  return index;
}

function checkSpans(
  { compression, blobBytes, plainBytes, windowsBytes, spans }: CheckpointIndex,
  name: string,
): void {
  if ((spans[0]?.plainOffset ?? 0) !== 0) throw badLazy(name, 'does not begin at the beginning');
  if (plainBytes > 0 && spans.length === 0) throw badLazy(name, 'has no spans');
  for (const [index, { plainOffset, blobBit, windowOffset, windowLength }] of spans.entries()) {
    const next = spans[index + 1];
    const end = next?.plainOffset ?? plainBytes;
    if (end <= plainOffset || end - plainOffset > MAX_PIECE_BYTES)
      throw badLazy(name, 'has a span of a wrong length');
    const endBit = next?.blobBit ?? blobBytes * 8;
    if (blobBit >= endBit || endBit > blobBytes * 8) throw badLazy(name, 'has a span outside the layer');
    if (windowLength > WINDOW_BYTES * 2 || windowOffset + windowLength > windowsBytes)
      throw badLazy(name, 'has a window outside the windows');
    if (
      compression === 'none' &&
      (blobBit !== plainOffset * 8 || windowLength > 0 || blobBytes !== plainBytes)
    )
      throw badLazy(name, 'is not that of a plain layer');
  }
}

export function piecesOf({ blobBytes, plainBytes, spans }: CheckpointIndex): Piece[] {
  return spans.map(({ plainOffset, blobBit }, index) => {
    const next = spans[index + 1];
    return {
      offset: plainOffset,
      length: (next?.plainOffset ?? plainBytes) - plainOffset,
      blobStart: Math.floor(blobBit / 8),
      // The last block may end in the byte in which the next begins.
      blobEnd: next === undefined ? blobBytes : Math.min(blobBytes, Math.ceil(next.blobBit / 8)),
    };
  });
}

/** @param stored the bytes of its piece. Raises EDIGEST, EBADTAR. */
export async function decodeSpan(
  { compression, plainBytes, spans }: CheckpointIndex,
  place: number,
  stored: Buffer,
  window: Buffer | undefined,
  name: string,
): Promise<Buffer> {
  const { blobBit, plainOffset, digest } = spans[place]!;
  const next = spans[place + 1];
  let plain = stored;
  if (compression === 'gzip') {
    const length = (next?.plainOffset ?? plainBytes) - plainOffset;
    const options = {
      chunkSize: Math.max(constants.Z_MIN_CHUNK, Math.min(length, 1 << 20)),
      ...(window === undefined ? {} : { dictionary: window }),
    };
    const bits = next === undefined ? undefined : next.blobBit - blobBit;
    const what = `${name}, byte ${Math.floor(blobBit / 8)}`;
    plain = await takePart(
      createInflateRaw(options),
      deflateStream(stored, blobBit % 8, bits),
      0,
      length,
      what,
    );
  }
  const found = hashBytes('sha256', plain);
  const promised = `sha256:${digest.toString('hex')}`;
  if (found !== promised)
    throw new LaminaError(
      'EDIGEST',
      `${name}: the span at byte ${plainOffset} has the digest ${found}, promised was ${promised}`,
      { path: name, digest: promised, offset: plainOffset },
    );
  return plain;
}

/** A window as it is kept; undefined where there is nothing before the span. */
export function packWindow(window: Buffer): Buffer {
  return deflateRawSync(window, { level: 9 });
}

/** Raises EBADTAR. */
export function unpackWindow(packed: Buffer, name: string): Buffer {
  try {
    return inflateRawSync(packed, { maxOutputLength: WINDOW_BYTES });
  } catch (error) {
    throw new LaminaError('EBADTAR', `${name}: a window of its index is damaged`, {
      path: name,
      cause: error,
    });
  }
}
