/**
 * The process that fetches what a lazy mount shows: what the server asks for first, the rest when nobody asks. When all of a layer is
 * here it is verified and goes into the store, and with the last one the image does, as after a pull; what the mount showed is
 * then held against it. Started, replaced and ended by the supervisor of the mount.
 */
import { closeSync, existsSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LaminaError } from '../../errors.js';
import { indexLayer } from '../../layer/index-layer.js';
import { deviceOf, MountTable } from '../../mount/table.js';
import { umount } from '../../mount/umount.js';
import { parseReference } from '../../oci/reference.js';
import { RegistryClient } from '../../registry/client.js';
import { isCut } from '../../registry/http.js';
import { inParts, openSparseFile } from '../../registry/lazy/parts.js';
import { Presence } from '../../registry/lazy/presence.js';
import { fetchRange } from '../../registry/lazy/range.js';
import { SparseBlob } from '../../registry/lazy/sparse-blob.js';
import { pullImage } from '../../registry/pull.js';
import { Repository } from '../../registry/repository.js';
import { Cache } from '../../store/cache.js';
import { takeLock } from '../../store/flock.js';
import type { HeldLock } from '../../store/flock.js';
import { ImageStore } from '../../store/image-store.js';
import { firstDifference } from './compare.js';
import { Gate } from './gate.js';
import type { FetchJob, FetchLayer, LazyProgress } from './job.js';
import { loadLazyLayer } from './load.js';
import { listen } from './question.js';
import type { Question } from './question.js';
import { LazySource } from './source.js';

/** A network that is away is asked again after so long; who waits for bytes has his own patience. */
const RETRY_MS = 250;
const BACKGROUND_RETRY_MS = 5000;
const SAVE_MS = 1000;
/** A line that is dead is noticed so soon. */
const TIMING = { connectMs: 5000, idleMs: 8000 };

export class Fetcher {
  readonly #gate = new Gate();
  readonly #client: RegistryClient;
  readonly #repository: Repository;
  readonly #sources = new Map<number, LazySource>();
  readonly #loading = new Map<number, Promise<LazySource>>();
  readonly #locks: HeldLock[] = [];
  readonly #fds: number[] = [];
  #server: Server | undefined;
  #saved = '';
  #isComplete = false;
  #isEnded = false;

  constructor(private readonly job: FetchJob) {
    const { tlsVerify, domain, path: repositoryPath } = job;
    this.#client = new RegistryClient({ timing: TIMING, ...(tlsVerify === undefined ? {} : { tlsVerify }) });
    this.#repository = new Repository(this.#client, { domain, path: repositoryPath });
  }

  /** Resolves when nothing is left to be fetched. Raises EDIGEST, EBADLAYER and the like when the image is not what it was said to be. */
  async run(): Promise<void> {
    this.#server = await listen(this.job.socket, (question, isWanted) => this.#answer(question, isWanted));
    const saving = setInterval(() => this.save(), SAVE_MS);
    try {
      for (const { source } of this.job.layers) await this.#source(source);
      await this.#pull();
      for (const layer of this.job.layers) await this.#finish(layer);
      this.#isComplete = true;
      this.save();
      await noteVerified(this.job);
      raiseReadahead(this.job.mountpoint);
    } finally {
      clearInterval(saving);
    }
  }

  /** Writes down what is here. */
  save(): void {
    const sources = [...this.#sources.values()];
    const progress: LazyProgress = {
      fetchedBytes: sumOf(sources, ({ blob, windows }) => blob.fetchedBytes + (windows?.fetchedBytes ?? 0)),
      haveBytes: sumOf(sources, ({ blob }) => blob.have.totalBytes),
      totalBytes: sumOf(sources, ({ blob }) => blob.sizeBytes),
      isComplete: this.#isComplete,
    };
    const text = JSON.stringify(progress);
    if (text === this.#saved) return;
    this.#saved = text;
    try {
      writeFileSync(`${this.job.progressFile}.new`, `${text}\n`, { mode: 0o600 });
      renameSync(`${this.job.progressFile}.new`, this.job.progressFile);
      if (!this.#isComplete)
        for (const { blob, windows } of sources) [blob, windows].forEach((parts) => parts?.save());
    } catch (error) {
      say(`cannot write down what is here: ${(error as Error).message}`);
    }
  }

  /** Lets go of everything. What is here stays for the next. */
  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#server?.close();
    rmSync(this.job.socket, { force: true });
    this.save();
    for (const { directory } of this.#isComplete ? this.job.layers : [])
      rmSync(directory, { recursive: true, force: true });
    await this.#client.close();
    for (const fd of this.#fds.splice(0)) closeSync(fd);
    for (const lock of this.#locks.splice(0)) lock.release();
  }

  async #answer({ source, offset, length }: Question, isWanted: () => boolean): Promise<number> {
    return this.#gate.pass(async () => {
      for (;;) {
        try {
          const lazy = await this.#source(source);
          if (offset + length > lazy.layer.sizeBytes) return constants.errno.EINVAL;
          const asked = lazy.ensure(offset, length);
          lazy.ahead(offset, length);
          await asked;
          return 0;
        } catch (error) {
          if (!isCut(error) && !isAway(error)) {
            say((error as Error).message);
            return constants.errno.EIO;
          }
          await sleep(RETRY_MS);
          if (!isWanted()) return constants.errno.EIO;
        }
      }
    });
  }

  #source(place: number): Promise<LazySource> {
    const existing = this.#loading.get(place);
    if (existing !== undefined) return existing;
    const layer = this.job.layers.find(({ source, alsoAt }) => source === place || alsoAt.includes(place));
    if (layer === undefined) throw new LaminaError('EINVAL', `layer ${place} is not one to be fetched`);
    if (layer.source !== place) return this.#source(layer.source);
    const loading = this.#load(layer);
    this.#loading.set(place, loading);
    loading.catch(() => this.#loading.delete(place));
    return loading;
  }

  async #load(facts: FetchLayer): Promise<LazySource> {
    const { directory, digest, sizeBytes, urls, table } = facts;
    this.#locks.push(await takeLock(path.join(directory, 'lock')));
    const layer = await loadLazyLayer(facts, this.job.maxInflatedBytes);
    const { blobs } = new ImageStore(this.job.root);
    const parts = (name: string, of: string, bytes: number): SparseBlob => {
      const file = path.join(directory, name);
      // It is in the store when a fetcher before this one, or a pull, has got all of it.
      const isHeld = blobs.sizeOf(of) === bytes;
      const stateFile = path.join(directory, name === 'blob' ? 'have' : `${name}-have`);
      if (!isHeld && !existsSync(file)) rmSync(stateFile, { force: true });
      const fd = isHeld ? openSync(blobs.pathOf(of), 'r') : openSparseFile(file, bytes);
      this.#fds.push(fd);
      const blob = new SparseBlob(fd, bytes, stateFile, (start, end) =>
        fetchRange(this.#repository, of, urls, start, end),
      );
      if (isHeld) blob.have.add(0, bytes);
      return blob;
    };
    const [dataFd, mapFd] = [openSync(facts.dataFile, 'r+'), openSync(facts.mapFile, 'r+')];
    this.#fds.push(dataFd, mapFd);
    const windows =
      table.kind === 'index' && table.windowsDigest !== undefined
        ? parts(`windows-${table.windowsDigest.replace(':', '-')}`, table.windowsDigest, table.windowsBytes)
        : undefined;
    const source = new LazySource(
      layer,
      parts('blob', digest, sizeBytes),
      windows,
      await Presence.open(dataFd, mapFd, layer),
    );
    this.#sources.set(facts.source, source);
    return source;
  }

  /** The rest of every layer, and then the image, into the store. Waits for a network that is away. */
  async #pull(): Promise<void> {
    const { root, domain, path: repositoryPath, tag, digest, platform, maxInflatedBytes } = this.job;
    const name = parseReference(`${domain}/${repositoryPath}${tag === undefined ? `@${digest}` : `:${tag}`}`);
    for (;;) {
      try {
        await this.#gate.untilIdle();
        await pullImage(new ImageStore(root), this.#client, name, {
          digest,
          maxInflatedBytes,
          ...(platform === undefined ? {} : { platform }),
          concurrency: 2,
          openParts: async (layer) => this.#parts(layer.digest),
        });
        return;
      } catch (error) {
        if (error instanceof LaminaError && isWrong(error)) throw error;
        say(`cannot complete the image now: ${(error as Error).message}`);
        await sleep(BACKGROUND_RETRY_MS);
      }
    }
  }

  #parts(digest: string): ReturnType<typeof inParts> | undefined {
    const layer = this.job.layers.find((one) => one.digest === digest);
    const source = layer === undefined ? undefined : this.#sources.get(layer.source);
    if (layer === undefined || source === undefined) return undefined;
    return inParts(source.blob, path.join(layer.directory, 'blob'), {
      release: () => {},
      isBusy: () => this.#gate.isBusy,
      untilIdle: () => this.#gate.untilIdle(),
    });
  }

  /** Makes what is missing of the lazy source of a layer that is in the store, and compares it with the layer. Raises EBADLAYER. */
  async #finish({ source, diffId, digest }: FetchLayer): Promise<void> {
    const lazy = await this.#source(source);
    const pause = (): Promise<void> => this.#gate.untilIdle();
    await lazy.fill(pause);
    const cache = await Cache.open(this.job.root);
    const store = new ImageStore(this.job.root);
    const blob = store.blobs.open(digest);
    try {
      const isPlain = digest === diffId;
      const real = isPlain
        ? blob
        : await cache.inflatedLayer(
            {
              blob,
              diffId,
              digest,
              mediaType: undefined,
              compression: lazy.layer.kind === 'zstd:chunked' ? 'zstd' : 'gzip',
            },
            this.job.maxInflatedBytes,
          );
      try {
        const facts = { diffId, sizeBytes: real.sizeBytes };
        const found = await firstDifference(
          { root: lazy.layer.tree(0).root, fd: this.#dataFd(source), offset: 0 },
          { root: indexLayer(real, facts).root, fd: real.fd, offset: real.offset },
          lazy.layer.kind !== 'estargz',
          pause,
        );
        if (found !== undefined)
          throw new LaminaError(
            'EBADLAYER',
            `layer ${digest} is not what its table of contents says: ${found}`,
            {
              digest,
              hint: 'Do not trust what the mount showed; mount the image without --lazy.',
            },
          );
      } finally {
        if (!isPlain) closeSync(real.fd);
      }
    } finally {
      closeSync(blob.fd);
    }
    lazy.presence.markComplete();
  }

  #dataFd(source: number): number {
    return this.#sources.get(source)!.presence.dataFd;
  }
}

function sumOf<T>(items: readonly T[], number: (item: T) => number): number {
  return items.reduce((sum, item) => sum + number(item), 0);
}

/** Into the log of the mount. */
function say(text: string): void {
  process.stderr.write(`lamina fetcher: ${text}\n`);
}

/** The network, or what is behind it, is away. */
function isAway(error: unknown): boolean {
  return error instanceof LaminaError && error.code === 'ENETWORK';
}

/** No waiting makes it right. */
function isWrong({ code }: LaminaError): boolean {
  return [
    'EDIGEST',
    'EBADLAYER',
    'EBADTAR',
    'EBADPATH',
    'EWHITEOUT',
    'ELIMIT',
    'EBADIMAGE',
    'EMEDIATYPE',
  ].includes(code);
}

/** The fetcher's whole life; `fetcher-main.ts` calls it. Exit status 0: everything is here, or the mount has ended. */
export async function runFetcher(job: FetchJob): Promise<void> {
  const fetcher = new Fetcher(job);
  const stop = (): void => void fetcher.end().finally(() => process.exit(0));
  process.on('SIGTERM', stop).on('SIGINT', stop);
  // Held open by the mount's supervisor and servers.
  process.stdin.on('end', stop).on('error', stop).resume();
  try {
    await fetcher.run();
  } catch (error) {
    const isImage = error instanceof LaminaError && isWrong(error);
    say(
      error instanceof LaminaError
        ? `[${error.code}] ${error.message}`
        : String((error as Error).stack ?? error),
    );
    if (!isImage) process.exit(1);
    await takeDown(job, error);
  }
  await fetcher.end();
  process.exit(0);
}

async function noteVerified({ mountpoint, token }: FetchJob): Promise<void> {
  const table = new MountTable();
  const record = await table.read(mountpoint);
  if (record?.token === token) await table.write({ ...record, verify: 'verified' });
}

/** What is read ahead comes from the disk from now on: as much as on other mounts (native/session.cc). Only root may, and it is no harm if not. */
function raiseReadahead(mountpoint: string): void {
  try {
    const device = deviceOf(mountpoint);
    if (device !== undefined) writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, '1024');
  } catch {
    // As it was.
  }
}

/** Nobody may go on reading what turned out to be wrong. */
async function takeDown({ mountpoint, token }: FetchJob, error: LaminaError): Promise<void> {
  const table = new MountTable();
  const record = await table.read(mountpoint);
  if (record?.token !== token) return;
  await table.writeFailed({ ...record, verify: 'failed', error: `[${error.code}] ${error.message}` });
  await umount(mountpoint, { force: true }).catch((failure: Error) => say(failure.message));
}
