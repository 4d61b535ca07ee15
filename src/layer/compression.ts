/**
 * How layers and archives are compressed, told from their first bytes (the media type may lie), and streams that undo it.
 * gzip: RFC 1952, several members one after the other. zstd: RFC 8878, several frames, skippable ones too.
 */
import { pipeline, Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { createGunzip } from 'node:zlib';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

const CHUNK_BYTES = 256 * 1024;
/** As many as tell. */
export const MAGIC_BYTES = 6;

const MAGICS: readonly [Compression, readonly number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** A zstd stream may begin with a skippable frame: magic 184D2A50 to 184D2A5F, little-endian. */
function isZstdSkippable(head: Uint8Array): boolean {
  return (
    head.length >= 4 && (head[0]! & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18
  );
}

/** What `source` is compressed with, by its magic bytes; `none` for all that is not known. */
export function detectCompression(source: ByteSource): Compression {
  const head = Buffer.alloc(MAGIC_BYTES);
  return compressionOf(head.subarray(0, readSource(source, head, 0)));
}

/** By the first bytes, MAGIC_BYTES where there are so many. */
export function compressionOf(head: Uint8Array): Compression {
  if (isZstdSkippable(head)) return 'zstd';
  return (
    MAGICS.find(
      ([, magic]) => head.length >= magic.length && magic.every((byte, index) => head[index] === byte),
    )?.[0] ?? 'none'
  );
}

/**
 * The plain bytes of `source`, as a stream. `onStored` sees every stored chunk as it is read, trailing bytes included.
 * A damaged stream ends in an error of the decoder's own; EMEDIATYPE where this program cannot undo the compression.
 */
export async function inflateStream(
  compression: Compression,
  source: ByteSource,
  onStored: (chunk: Buffer) => void,
): Promise<Readable> {
  switch (compression) {
    case 'none':
      return Readable.from(storedChunks(source, onStored));
    case 'gzip':
      // The stream itself ends in the error that the callback is told of.
      return pipeline(
        Readable.from(storedChunks(source, onStored)),
        createGunzip({ chunkSize: CHUNK_BYTES }),
        () => {},
      );
    case 'zstd':
      return Readable.from(zstdChunks(storedChunks(source, onStored)));
    case 'bzip2':
      return Readable.from((await import('./bzip2.js')).bzip2Chunks(storedChunks(source, onStored)));
    case 'xz':
      return Readable.from(xzChunks(storedChunks(source, onStored)));
  }
}

function* storedChunks(source: ByteSource, onStored: (chunk: Buffer) => void): Generator<Buffer> {
  for (let position = 0; position < source.sizeBytes; position += CHUNK_BYTES) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, source.sizeBytes - position));
    readSource(source, chunk, position);
    onStored(chunk);
    yield chunk;
  }
}

/** Most calls of the decoder in a row that may give nothing: it says nothing of an error, but stands still. */
const MAX_EMPTY_RUN = 64;

/** zstddec is the reference decoder in WebAssembly: 15 times as fast here as one in JavaScript, and nothing has to be built. */
async function* zstdChunks(stored: Iterable<Buffer>): AsyncGenerator<Buffer> {
  const { ZSTDDecoder } = await import('zstddec/stream');
  const decoder = new ZSTDDecoder();
  await decoder.init();
  let emptyRun = 0;
  for (const { buffer, byteOffset, byteLength } of decoder.decodeStreaming(stored)) {
    emptyRun = byteLength === 0 ? emptyRun + 1 : 0;
    if (emptyRun > MAX_EMPTY_RUN) throw Object.assign(new Error('invalid data'), { code: 'Z_DATA_ERROR' });
    if (byteLength > 0) yield Buffer.from(buffer, byteOffset, byteLength);
  }
}

/** Only whole archives come so, from people who compress by hand: docker reads them too. */
async function* xzChunks(stored: Iterable<Buffer>): AsyncGenerator<Buffer> {
  const { XzReadableStream } = await import('xz-decompress');
  const plain = new XzReadableStream(
    ReadableStream.from(stored) as never,
  ) as unknown as ReadableStream<Uint8Array>;
  for await (const { buffer, byteOffset, byteLength } of plain)
    yield Buffer.from(buffer, byteOffset, byteLength);
}
