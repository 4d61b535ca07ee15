/**
 * Content on its way into the store. It is written and verified under temporary names, without a lock and for as long as it takes; `publish`
 * gives it its names, under the store's lock and together with the index that mentions it. So nobody who removes what no
 * image needs can meet a blob whose image is still to come, and a process that is killed leaves only temporary files.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, read, renameSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { fromSystemError, LaminaError } from '../errors.js';
import { hashBytes } from '../oci/digest.js';
import type { ByteSource } from '../tar/source.js';
import type { BlobStore } from './blobs.js';
import { syncDirectory, temporaryName } from './files.js';

const readFd = promisify(read);
const CHUNK_BYTES = 1 << 20;

export interface StagedBlob {
  digest: string;
  sizeBytes: number;
}

interface Assumed {
  source: ByteSource;
  sizeBytes: number;
}

/** Called with the number of bytes written since the last call. */
export type StagingProgress = (bytes: number) => void;

export class Staging {
  readonly #directory: string;
  /** By digest, what is to be published. */
  readonly #staged = new Map<string, string>();
  /** By digest, what was in the store already and was therefore not copied. */
  readonly #assumed = new Map<string, Assumed>();
  /** By digest, how to get what was in the store already. */
  readonly #relied = new Map<string, () => Promise<void>>();
  readonly #syncing: Promise<void>[] = [];
  #count = 0;

  /** Layers from which something was derived for the first time. */
  readonly #derived = new Set<string>();
  #isPublished = false;

  /**
   * @param temporaries a directory on the store's filesystem
   * @param forget is told of layers from which something was derived, when they do not come in after all
   */
  constructor(
    temporaries: string,
    private readonly blobs: BlobStore,
    private readonly forget: (diffIds: readonly string[]) => void = () => {},
  ) {
    this.#directory = path.join(temporaries, temporaryName());
    try {
      mkdirSync(this.#directory, { mode: 0o700 });
    } catch (error) {
      throw fromSystemError(error, 'cannot write the store', temporaries);
    }
  }

  /** A document, under the digest that it is known by, which `bytes` have; by default its sha256 digest. */
  async addBytes(bytes: Buffer, digest = hashBytes('sha256', bytes)): Promise<StagedBlob> {
    const blob = { digest, sizeBytes: bytes.length };
    // Also when the store has it: it is small, and so it cannot go missing meanwhile.
    if (this.#staged.has(digest)) return blob;
    const file = this.#next();
    try {
      const handle = await open(file, 'wx', 0o644);
      await handle.writeFile(bytes);
      this.#finish(handle);
    } catch (error) {
      throw fromSystemError(error, 'cannot write', file);
    }
    this.#staged.set(digest, file);
    return blob;
  }

  /**
   * Copies and verifies a blob; one that the store has already is not copied. The source must stay open until `publish`.
   * Raises EDIGEST when the bytes are not what `digest` promises, and what the system says.
   */
  async addSource(
    source: ByteSource,
    digest: string | undefined,
    progress: StagingProgress = () => {},
  ): Promise<StagedBlob> {
    const { sizeBytes } = source;
    if (digest !== undefined) {
      if (this.#staged.has(digest)) return { digest, sizeBytes };
      if (this.blobs.sizeOf(digest) === sizeBytes) {
        this.#assumed.set(digest, { source, sizeBytes });
        return { digest, sizeBytes };
      }
    }
    const found = await this.#copy(source, digest, progress);
    return { digest: found, sizeBytes };
  }

  /**
   * A file that is whole, verified, on the disk and on the store's filesystem: `publish` moves it, `dispose` leaves it where it is. When
   * it goes before that, publishing fails and nothing is mentioned.
   */
  adopt(digest: string, file: string): void {
    if (!this.#staged.has(digest)) this.#staged.set(digest, file);
  }

  /**
   * A blob that the store has and that is relied on; `fetch` brings it again when it is gone by the time it is to be mentioned, and stages
   * it.
   */
  rely(digest: string, fetch: () => Promise<void>): void {
    this.#relied.set(digest, fetch);
  }

  /** The file of a blob that was staged, or that the store has. */
  fileOf(digest: string): string {
    return this.#staged.get(digest) ?? this.blobs.pathOf(digest);
  }

  /** Waits until all that was staged is on the disk. */
  async sync(): Promise<void> {
    const results = await Promise.allSettled(this.#syncing.splice(0));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw fromSystemError(failed.reason, 'cannot write', this.#directory);
  }

  /** What was in the store when it was added, and is not now: removed meanwhile. Asked under the store's lock. */
  missing(): string[] {
    return [...this.#assumed.keys(), ...this.#relied.keys()].filter((digest) => !this.blobs.has(digest));
  }

  /** Copies what `missing` named after all. */
  async restage(digests: readonly string[], progress: StagingProgress = () => {}): Promise<void> {
    for (const digest of digests) {
      const fetch = this.#relied.get(digest);
      this.#relied.delete(digest);
      if (fetch !== undefined) await fetch();
      const assumed = this.#assumed.get(digest);
      if (assumed === undefined) continue;
      this.#assumed.delete(digest);
      await this.#copy(assumed.source, digest, progress);
    }
    await this.sync();
  }

  /** Gives everything its name. Under the store's lock, after `sync`. */
  publish(): void {
    const directories = new Set<string>();
    for (const [digest, file] of this.#staged) {
      const target = this.blobs.pathOf(digest);
      const directory = path.dirname(target);
      if (!directories.has(directory)) mkdirSync(directory, { recursive: true });
      directories.add(directory);
      renameSync(file, target);
    }
    this.#staged.clear();
    for (const directory of directories) syncDirectory(directory);
    this.#isPublished = true;
  }

  /** Something is derived from this layer, before which there was nothing. */
  derives(diffId: string): void {
    this.#derived.add(diffId);
  }

  /** Removes what was not published. */
  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
    if (!this.#isPublished && this.#derived.size > 0) this.forget([...this.#derived]);
    this.#derived.clear();
  }

  #next(): string {
    return path.join(this.#directory, String(this.#count++));
  }

  /** Closes it once it is on the disk; the next blob need not wait for that. */
  #finish(handle: FileHandle): void {
    const synced = handle.datasync().finally(() => handle.close());
    // `sync` tells of its failure; until somebody waits there it must not end the program.
    synced.catch(() => {});
    this.#syncing.push(synced);
  }

  async #copy(source: ByteSource, promised: string | undefined, progress: StagingProgress): Promise<string> {
    const algorithm = promised?.slice(0, promised.indexOf(':')) ?? 'sha256';
    const hash = createHash(algorithm);
    const file = this.#next();
    const handle = await open(file, 'wx', 0o644).catch((error: unknown) => {
      throw fromSystemError(error, 'cannot write', file);
    });
    try {
      // One chunk is written while the next is read and hashed.
      let writing: Promise<void> = Promise.resolve();
      for (let position = 0; position < source.sizeBytes;) {
        const length = Math.min(CHUNK_BYTES, source.sizeBytes - position);
        const chunk = Buffer.allocUnsafeSlow(length);
        const { bytesRead } = await readFd(source.fd, chunk, 0, length, source.offset + position);
        if (bytesRead === 0)
          throw new LaminaError('EIO', `${source.name} ends at byte ${position}`, { path: source.name });
        const bytes = chunk.subarray(0, bytesRead);
        hash.update(bytes);
        await writing;
        writing = writeWhole(handle, bytes);
        // It is awaited in the next round; until then nobody else may be told of its failure.
        writing.catch(() => {});
        position += bytesRead;
        progress(bytesRead);
      }
      await writing;
    } catch (error) {
      await handle.close();
      throw fromSystemError(error, 'cannot copy', source.name);
    }
    this.#finish(handle);
    const digest = `${algorithm}:${hash.digest('hex')}`;
    if (promised !== undefined && digest !== promised)
      throw new LaminaError('EDIGEST', `${source.name}: its digest is ${digest}, promised was ${promised}`, {
        path: source.name,
        digest: promised,
      });
    this.#staged.set(digest, file);
    return digest;
  }
}

async function writeWhole(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten;
}
