/**
 * Undoes the compression of a blob into a file, once, checking digests as the bytes pass: of the blob as it was stored
 * (trailing bytes included) and of what comes out. The file appears under its name only when all of it is right.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fromSystemError, LaminaError } from '../errors.js';
import { inflateStream } from '../layer/compression.js';
import type { Compression } from '../layer/compression.js';
import type { ByteSource } from '../tar/source.js';

export interface InflateJob {
  blob: ByteSource;
  compression: Compression;
  /** Digest of the blob as stored, and of the plain bytes; undefined where nobody promised one. */
  digest: string | undefined;
  diffId: string | undefined;
  /** Most plain bytes to accept; more raises ELIMIT. */
  maxBytes: number;
  /** File to write; it must not exist. Left behind on failure: the caller removes it. */
  target: string;
}

/** Called with the number of stored bytes read since the last call. */
export type InflateProgress = (storedBytes: number) => void;

const CHUNK_BYTES = 256 * 1024;

/** Returns the number of plain bytes written. Raises EDIGEST, ELIMIT, EBADTAR (damaged compression), EMEDIATYPE, ENOSPC. */
export async function inflate(job: InflateJob, progress: InflateProgress = () => {}): Promise<number> {
  const stored = new CheckedPassage(job.digest, (_total, chunkBytes) => progress(chunkBytes));
  const plain = new CheckedPassage(job.diffId, (total) => {
    if (total > job.maxBytes) {
      throw new LaminaError(
        'ELIMIT',
        `${job.blob.name} is larger than ${job.maxBytes} bytes when decompressed`,
        {
          path: job.blob.name,
          hint: 'If you trust the image, raise the limit with --max-inflated or LAMINA_MAX_INFLATED.',
        },
      );
    }
  });
  const { blob } = job;
  if (blob.sizeBytes === 0) throw new LaminaError('EBADTAR', `${blob.name} is empty`, { path: blob.name });
  try {
    await pipeline(
      createReadStream('', {
        fd: blob.fd,
        start: blob.offset,
        end: blob.offset + blob.sizeBytes - 1,
        autoClose: false,
        highWaterMark: CHUNK_BYTES,
      }),
      stored,
      await inflateStream(job.compression, blob.name),
      plain,
      createWriteStream(job.target, {
        flags: 'wx',
        mode: 0o600,
        highWaterMark: 4 * CHUNK_BYTES,
        flush: true,
      }),
    );
  } catch (error) {
    // zlib's codes begin with Z_; fzstd's errors carry a number.
    const code = (error as NodeJS.ErrnoException).code as unknown;
    if (error instanceof LaminaError) throw error;
    if (typeof code === 'number' || (typeof code === 'string' && code.startsWith('Z_'))) {
      throw new LaminaError(
        'EBADTAR',
        `${blob.name}: its ${job.compression} data is damaged: ${(error as Error).message}`,
        {
          path: blob.name,
          cause: error,
        },
      );
    }
    throw fromSystemError(error, 'cannot decompress', blob.name);
  }
  stored.check(blob.name);
  plain.check(`${blob.name}, decompressed`);
  return plain.total;
}

/** Passes bytes on, counts them, and hashes them where a digest is promised. */
class CheckedPassage extends Transform {
  total = 0;
  readonly #hash;
  readonly #digest;

  constructor(
    digest: string | undefined,
    private readonly onChunk: (totalBytes: number, chunkBytes: number) => void,
  ) {
    super();
    this.#digest = digest;
    this.#hash = digest === undefined ? undefined : createHash(digest.slice(0, digest.indexOf(':')));
  }

  override _transform(
    chunk: Buffer,
    _encoding: string,
    done: (error?: Error | null, chunk?: Buffer) => void,
  ): void {
    this.total += chunk.length;
    try {
      this.onChunk(this.total, chunk.length);
    } catch (error) {
      return done(error as Error);
    }
    this.#hash?.update(chunk);
    done(null, chunk);
  }

  check(name: string): void {
    if (this.#hash === undefined || this.#digest === undefined) return;
    const found = `${this.#digest.slice(0, this.#digest.indexOf(':'))}:${this.#hash.digest('hex')}`;
    if (found !== this.#digest) {
      throw new LaminaError('EDIGEST', `${name}: its digest is ${found}, promised was ${this.#digest}`, {
        path: name,
        digest: this.#digest,
      });
    }
  }
}
