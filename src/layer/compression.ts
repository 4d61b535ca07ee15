/**
 * How layers and archives are compressed, told from their first bytes (the media type may lie), and streams that undo it.
 * gzip: RFC 1952, several members one after the other. zstd: RFC 8878, several frames, skippable ones too.
 */
import { Transform } from 'node:stream';
import type { TransformCallback } from 'node:stream';
import zlib from 'node:zlib';
import { LaminaError } from '../errors.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

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
  const head = Buffer.alloc(6);
  const length = readSource(source, head, 0);
  if (isZstdSkippable(head.subarray(0, length))) return 'zstd';
  return (
    MAGICS.find(
      ([, magic]) => length >= magic.length && magic.every((byte, index) => head[index] === byte),
    )?.[0] ?? 'none'
  );
}

/** A stream from compressed to plain bytes. Raises EMEDIATYPE where this program cannot undo the compression. */
export async function inflateStream(compression: Compression, name: string): Promise<Transform> {
  switch (compression) {
    case 'gzip':
      return zlib.createGunzip({ chunkSize: 256 * 1024 });
    case 'zstd':
      return zstdStream();
    default:
      throw new LaminaError('EMEDIATYPE', `${name} is compressed with ${compression}, which cannot be read`, {
        path: name,
        hint: `Decompress it first, for example with: ${compression} -dk FILE`,
      });
  }
}

/** Node's own decoder from 22.15 on; before that fzstd, in JavaScript. */
async function zstdStream(): Promise<Transform> {
  const native = (zlib as { createZstdDecompress?: () => Transform }).createZstdDecompress;
  if (native !== undefined) return native();
  const { Decompress } = await import('fzstd');
  let out: Transform;
  const decoder = new Decompress((chunk) => {
    // fzstd reuses nothing that it hands out, so the chunk can be passed on without a copy.
    out.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  });
  const step = (work: () => void, done: TransformCallback): void => {
    try {
      work();
      done();
    } catch (error) {
      done(error as Error);
    }
  };
  out = new Transform({
    transform: (chunk: Buffer, _encoding, done) => step(() => decoder.push(chunk), done),
    flush: (done) => step(() => decoder.push(new Uint8Array(0), true), done),
  });
  return out;
}
