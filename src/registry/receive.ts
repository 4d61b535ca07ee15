/**
 * One layer, taken in as its bytes pass: written down, hashed and decompressed at once, so that when the last byte is there everything about
 * it is known.
 */
import { fchmodSync, fdatasync, fstatSync, openSync, closeSync, read, rmSync, write } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { fromSystemError, LaminaError } from '../errors.js';
import { compressionOf, MAGIC_BYTES } from '../layer/compression.js';
import type { Compression } from '../layer/compression.js';
import { indexLayer } from '../layer/index-layer.js';
import { factsOf } from '../layer/layer-facts.js';
import type { Cache } from '../store/cache.js';
import { temporaryName } from '../store/files.js';
import { DigestCheck, inflate, writePlain } from '../store/inflate.js';
import { writeLayerFacts } from '../store/layer-facts.js';
import type { ByteSource } from '../tar/source.js';
import type { PartialFile } from './partial.js';

const [readFd, writeFd, syncFd] = [promisify(read), promisify(write), promisify(fdatasync)];
const CHUNK_BYTES = 1 << 20;
const INFLATE_CHUNK_BYTES = 256 * 1024;
/** What waits for the decoder, so that the network need not. */
const QUEUE_BYTES = 1 << 20;

export interface LayerJob {
  digest: string;
  diffId: string;
  sizeBytes: number;
  /** Most bytes that it may have when decompressed. */
  maxBytes: number;
  /** What follows a byte, from the network. */
  fetch: (from: number) => AsyncIterable<Buffer>;
  /** Bytes of the blob that are there, those of an earlier attempt as well. */
  onProgress?: (bytes: number) => void;
  /** All bytes are there; they are being looked at. */
  onWhole?: () => void;
}

/**
 * Leaves the whole blob in `partial`, on the disk, and what is derived from it in the cache. Raises EDIGEST, EBADTAR, ELIMIT and what an invalid
 * layer raises, after which `partial` is removed; and what `fetch` and the system raise, after which it can be gone on with.
 */
export async function receiveLayer(cache: Cache, partial: PartialFile, job: LayerJob): Promise<void> {
  const plain = path.join(cache.root, 'tmp', temporaryName());
  try {
    await takeIn(cache, partial, job, plain);
  } catch (error) {
    if (!isOfTheTransfer(error)) partial.remove();
    throw error;
  } finally {
    rmSync(plain, { force: true });
  }
}

async function takeIn(cache: Cache, partial: PartialFile, job: LayerJob, plain: string): Promise<void> {
  const { digest, diffId, sizeBytes, maxBytes } = job;
  // What was compressed is not larger by more than that (RFC 1951: 5 bytes a block).
  if (sizeBytes > maxBytes + maxBytes / 256 + 4096)
    throw new LaminaError(
      'ELIMIT',
      `layer ${digest} has ${sizeBytes} bytes, more than ${maxBytes} are allowed`,
      {
        digest,
        hint: 'If you trust the image, raise the limit with LAMINA_MAX_INFLATED.',
      },
    );
  const name = `layer ${digest}`;
  const stored = new DigestCheck(digest, name);
  let head = Buffer.alloc(0);
  let compression: Compression | undefined;
  let decoder: Decoder | undefined;
  const begin = async (): Promise<void> => {
    compression = compressionOf(head);
    if (compression !== 'none' && compression !== 'gzip' && compression !== 'zstd')
      throw new LaminaError('EMEDIATYPE', `${name} is compressed with ${compression}`, { digest });
    const stream = decoderFor(compression, isSameAlgorithm(digest, diffId));
    if (stream === undefined) return;
    decoder = new Decoder(stream, writePlain(stream, { compression, diffId, maxBytes, target: plain, name }));
    await decoder.write(head);
  };
  try {
    for await (const chunk of storedAndFetched(partial, job)) {
      stored.update(chunk);
      if (compression !== undefined) {
        await decoder?.write(chunk);
        decoder?.checkLimit();
        continue;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length >= MAGIC_BYTES) await begin();
    }
    job.onWhole?.();
    // Its own digest first: damage that it explains is not the layer's.
    stored.verify();
    if (job.sizeBytes === 0) throw new LaminaError('EBADTAR', `${name} is empty`, { digest });
    if (compression === undefined) await begin();
    await decoder?.end();
  } catch (error) {
    await decoder?.giveUp();
    throw error;
  }
  await syncFd(partial.fd);
  fchmodSync(partial.fd, 0o644);
  await derive(cache, partial, job, compression!, decoder === undefined ? undefined : plain, plain);
}

/** The plain tar gets its place, and what is in it is written down. */
async function derive(
  cache: Cache,
  partial: PartialFile,
  { digest, diffId, maxBytes }: LayerJob,
  compression: Compression,
  written: string | undefined,
  target: string,
): Promise<void> {
  const name = `layer ${digest}`;
  const blob: ByteSource = { fd: partial.fd, offset: 0, sizeBytes: fstatSync(partial.fd).size, name };
  const isItself = compression === 'none' && isSameAlgorithm(digest, diffId);
  if (isItself && digest !== diffId)
    throw new LaminaError('EDIGEST', `${name}: its digest is ${digest}, but the config promises ${diffId}`, {
      digest: diffId,
    });
  if (!isItself && written === undefined)
    // What cannot be decompressed as it comes is, from the disk.
    await inflate({ blob, compression, digest: undefined, diffId, maxBytes, target });
  const fd = isItself ? undefined : openSync(target, 'r');
  try {
    const tar = fd === undefined ? blob : { ...blob, fd, sizeBytes: fstatSync(fd).size };
    const toc = indexLayer(tar, { diffId, sizeBytes: tar.sizeBytes }, 0);
    if (fd !== undefined) await cache.placeLayer(diffId, target);
    writeLayerFacts(cache.root, diffId, { ...factsOf(toc), tarBytes: tar.sizeBytes });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** undefined where nothing is to be done, or nothing can be done before all is there. */
function decoderFor(compression: Compression, isSame: boolean): Duplex | undefined {
  const options = { chunkSize: INFLATE_CHUNK_BYTES, highWaterMark: QUEUE_BYTES };
  if (compression === 'gzip') return zlib.createGunzip(options);
  if (compression === 'none' && !isSame) return new PassThrough(options);
  // Node 22.15 and later.
  const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: object) => Duplex };
  return compression === 'zstd' ? createZstdDecompress?.(options) : undefined;
}

/** A stream that is written to with patience, and whose failure waits until somebody asks. */
class Decoder {
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly stream: Duplex,
    private readonly done: Promise<number>,
  ) {
    done.catch((error: unknown) => (this.#failure = { error }));
  }

  /** Resolves when it takes more. */
  async write(chunk: Buffer): Promise<void> {
    const { stream } = this;
    if (this.#failure !== undefined || stream.destroyed || stream.write(chunk)) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        stream.off('drain', go).off('close', go);
        resolve();
      };
      stream.once('drain', go).once('close', go);
    });
  }

  /** Who has sent too much is not listened to any longer. Raises ELIMIT; what else is wrong may be a matter of the blob's digest. */
  checkLimit(): void {
    const error = this.#failure?.error;
    if (error instanceof LaminaError && error.code === 'ELIMIT') throw error;
  }

  async end(): Promise<void> {
    if (!this.stream.destroyed) this.stream.end();
    await this.done;
  }

  async giveUp(): Promise<void> {
    this.stream.destroy();
    await this.done.catch(() => {});
  }
}

async function* storedAndFetched(partial: PartialFile, job: LayerJob): AsyncGenerator<Buffer> {
  let position = 0;
  while (position < partial.sizeBytes) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, partial.sizeBytes - position));
    const { bytesRead } = await readFd(partial.fd, chunk, 0, chunk.length, position);
    if (bytesRead === 0)
      throw new LaminaError('EIO', `${partial.file} ends at byte ${position}`, { path: partial.file });
    position += bytesRead;
    job.onProgress?.(position);
    yield chunk.subarray(0, bytesRead);
  }
  for await (const chunk of job.fetch(position)) {
    // Written while it is hashed and decompressed.
    const writing = writeWhole(partial, chunk, position);
    writing.catch(() => {});
    yield chunk;
    await writing;
    position += chunk.length;
    job.onProgress?.(position);
  }
}

async function writeWhole({ fd, file }: PartialFile, bytes: Buffer, position: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;)
      done += (await writeFd(fd, bytes, done, bytes.length - done, position + done)).bytesWritten;
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

function isSameAlgorithm(digest: string, diffId: string): boolean {
  return digest.slice(0, digest.indexOf(':')) === diffId.slice(0, diffId.indexOf(':'));
}

/** What has nothing to do with the bytes that are there. On a full disk they are in the way of everything else. */
function isOfTheTransfer(error: unknown): boolean {
  return (
    !(error instanceof LaminaError) ||
    ['ENETWORK', 'EREGISTRY', 'EAUTH', 'EIO', 'EACCES', 'EROFS'].includes(error.code)
  );
}
