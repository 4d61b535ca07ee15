/**
 * Undoes the compression of a blob into a file, once, checking digests as the bytes pass: of the blob as it was stored
 * (trailing bytes included) and of what comes out. The file appears under its name only when all of it is right.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import type { Readable } from 'node:stream';
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

const WRITE_BUFFER_BYTES = 1 << 20;

/** Returns the number of plain bytes written. Raises EDIGEST, ELIMIT, EBADTAR (damaged compression), EMEDIATYPE, ENOSPC. */
export async function inflate(job: InflateJob, progress: InflateProgress = () => {}): Promise<number> {
  const { blob, compression } = job;
  if (blob.sizeBytes === 0) throw new LaminaError('EBADTAR', `${blob.name} is empty`, { path: blob.name });
  const stored = new DigestCheck(job.digest, blob.name);
  let inflated: Readable;
  try {
    inflated = await inflateStream(compression, blob, (chunk) => {
      stored.update(chunk);
      progress(chunk.length);
    });
  } catch (error) {
    throw inflateError(error, { name: blob.name, compression });
  }
  return writePlain(inflated, { ...job, name: blob.name }, () => stored.verify());
}

export interface PlainJob extends Pick<InflateJob, 'compression' | 'diffId' | 'maxBytes' | 'target'> {
  /** Of the blob, for messages. */
  name: string;
}

/** The second half of `inflate`, for bytes that come from elsewhere. `check` is called before the plain bytes are judged. */
export async function writePlain(
  inflated: Readable,
  job: PlainJob,
  check: () => void = () => {},
): Promise<number> {
  const { name, maxBytes } = job;
  const plain = new DigestCheck(job.diffId, `${name}, decompressed`);
  let plainBytes = 0;
  const checkPlain = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      plainBytes += chunk.length;
      plain.update(chunk);
      done(plainBytes > maxBytes ? tooLarge(name, maxBytes) : null, chunk);
    },
  });
  try {
    const file = createWriteStream(job.target, {
      flags: 'wx',
      mode: 0o600,
      highWaterMark: WRITE_BUFFER_BYTES,
      flush: true,
    });
    await pipeline(inflated, checkPlain, file);
  } catch (error) {
    throw inflateError(error, job);
  }
  check();
  plain.verify();
  return plainBytes;
}

function tooLarge(name: string, maxBytes: number): LaminaError {
  return new LaminaError('ELIMIT', `${name} is larger than ${maxBytes} bytes when decompressed`, {
    path: name,
    hint: 'If you trust the image, raise the limit with --max-inflated or LAMINA_MAX_INFLATED.',
  });
}

/** What a decoder found wrong with the data is not a fault of the system. */
function inflateError(
  error: unknown,
  { name, compression }: Pick<PlainJob, 'name' | 'compression'>,
): LaminaError {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof LaminaError || syscall !== undefined || (code ?? '').startsWith('ERR_')) {
    return fromSystemError(error, 'cannot decompress', name);
  }
  return new LaminaError('EBADTAR', `${name}: its ${compression} data is damaged: ${message}`, {
    path: name,
    cause: error,
  });
}

/** Hashes where a digest is promised. */
export class DigestCheck {
  readonly #hash;

  constructor(
    private readonly promised: string | undefined,
    private readonly name: string,
  ) {
    this.#hash = promised === undefined ? undefined : createHash(promised.slice(0, promised.indexOf(':')));
  }

  update(chunk: Buffer): void {
    this.#hash?.update(chunk);
  }

  /** Raises EDIGEST. */
  verify(): void {
    if (this.#hash === undefined || this.promised === undefined) return;
    const found = `${this.promised.slice(0, this.promised.indexOf(':'))}:${this.#hash.digest('hex')}`;
    if (found === this.promised) return;
    throw new LaminaError('EDIGEST', `${this.name}: its digest is ${found}, promised was ${this.promised}`, {
      path: this.name,
      digest: this.promised,
    });
  }
}
