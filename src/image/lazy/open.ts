/**
 * An image of a registry, opened so that it can be mounted before its layers are here. Of each layer there is either a table that says
 * what is in it, and where, or it is fetched first.
 */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LaminaError } from '../../errors.js';
import { detectCompression } from '../../layer/compression.js';
import { indexLayer } from '../../layer/index-layer.js';
import type { LayerToc } from '../../layer/tree.js';
import { encodeToc } from '../../merge/encode.js';
import { mergeLayers } from '../../merge/merge.js';
import type { LazyMount, MountImage } from '../../mount/mount.js';
import type { ImageConfig } from '../../oci/config.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { formatPlatform } from '../../oci/platform.js';
import type { Platform } from '../../oci/platform.js';
import { familiarReference, withDefaultTag } from '../../oci/reference.js';
import type { Reference } from '../../oci/reference.js';
import { packageFile } from '../../package-files.js';
import { chooseImage } from '../../registry/choose.js';
import type { RegistryClient } from '../../registry/client.js';
import { downloadBlob } from '../../registry/download.js';
import { isMounted, openSparseFile, partsDirectory, removeMountFiles } from '../../registry/lazy/parts.js';
import { emptyMap } from '../../registry/lazy/presence.js';
import { SparseBlob } from '../../registry/lazy/sparse-blob.js';
import { openPartial, sweepPartials } from '../../registry/partial.js';
import { inParallel } from '../../registry/pool.js';
import { shortId, SILENT } from '../../registry/progress.js';
import type { TransferProgress } from '../../registry/progress.js';
import { heldAs, readConfig } from '../../registry/pull.js';
import { receiveLayer } from '../../registry/receive.js';
import { Repository } from '../../registry/repository.js';
import { Cache } from '../../store/cache.js';
import { temporaryName } from '../../store/files.js';
import { tryLockFile } from '../../store/flock.js';
import { ImageStore } from '../../store/image-store.js';
import { layerDirectory, readLayerFacts } from '../../store/layer-facts.js';
import type { ByteSource } from '../../tar/source.js';
import { findIndexes } from '../../registry/lazy/index-artifact.js';
import type { FoundIndex } from '../../registry/lazy/index-artifact.js';
import { findIndexTable, findTable, hasOwnTable } from './find-table.js';
import type { FoundTable } from './find-table.js';
import type { FetchJob, FetchLayer } from './job.js';
import { loadLazyLayer } from './load.js';

/** A layer that comes in less than the time of two requests is not worth them. */
const SMALL_BYTES = 64 * 1024;
const CONCURRENCY = 6;

export interface LazyOptions {
  platform?: Platform;
  tlsVerify?: boolean;
  maxInflatedBytes: number;
  /** A read that waits for longer is EIO. */
  timeoutMs: number;
  progress?: TransferProgress;
}

export interface OpenedLazy {
  mount: MountImage;
  /** Layers that had to be fetched whole, because nothing says what is in them. */
  wholeLayers: number;
  /** After mounting, or after giving up. */
  close(isMounted: boolean): void;
}

/** A layer as it is mounted: what it shows, and where its bytes are, or will be. */
interface Placed {
  tree: (index: number) => LayerToc;
  source: ByteSource;
  lazy?: Omit<FetchLayer, 'source' | 'alsoAt'> & { mapFd: number };
}

/** undefined when all of the image is in the store. Raises what `pullImage` raises. */
export async function openLazy(
  client: RegistryClient,
  name: Reference,
  options: LazyOptions,
): Promise<OpenedLazy | undefined> {
  const reference = withDefaultTag(name);
  const repository = new Repository(client, reference);
  const chosen = await chooseImage(repository, reference.digest ?? reference.tag!, options.platform);
  const cache = await Cache.open();
  const store = new ImageStore(cache.root);
  if (heldAs(store, chosen) !== undefined) return undefined;
  await sweepPartials(cache.root);
  // Makes what a store needs.
  (await store.stage()).dispose();
  const { config } = await readConfig(repository, store, chosen, reference, options.platform);
  return new LazyOpening(repository, cache, store, chosen.document.digest, options).open(
    reference,
    chosen.top.digest,
    chosen.manifest,
    config,
  );
}

class LazyOpening {
  readonly #closers: (() => void)[] = [];
  readonly #files: string[] = [];
  #wholeLayers = 0;
  #indexes: Promise<Map<string, FoundIndex>> | undefined;

  constructor(
    private readonly repository: Repository,
    private readonly cache: Cache,
    private readonly store: ImageStore,
    /** Of the image for this platform. */
    private readonly manifestDigest: string,
    private readonly options: LazyOptions,
  ) {}

  async open(
    reference: Reference,
    digest: string,
    { layers, config: { digest: imageId } }: { layers: readonly Descriptor[]; config: Descriptor },
    config: ImageConfig,
  ): Promise<OpenedLazy> {
    try {
      const { diffIds } = config.rootfs;
      const placed = new Array<Placed>(layers.length);
      // A layer may stand twice in an image.
      const byDigest = new Map<string, Promise<Placed>>();
      await inParallel(layers, CONCURRENCY, async (layer, index) => {
        const making = byDigest.get(layer.digest) ?? this.#place(layer, diffIds[index]!);
        byDigest.set(layer.digest, making);
        placed[index] = await making;
      });
      const toc = await encodeToc(mergeLayers(placed.map(({ tree }, index) => tree(index))));
      const tocPath = path.join(this.cache.root, 'tmp', temporaryName());
      writeFileSync(tocPath, toc, { mode: 0o600 });
      this.#closers.push(() => rmSync(tocPath, { force: true }));
      const mount: MountImage = {
        name: familiarReference(reference),
        imageId,
        platform: formatPlatform(config.platform),
        tocPath,
        sources: placed.map(({ source }) => source),
        cache: this.cache,
        unverified: [],
        lazy: this.#lazyMount(placed, reference, digest),
      };
      return { mount, wholeLayers: this.#wholeLayers, close: (isMounted) => this.#close(isMounted) };
    } catch (error) {
      this.#close(false);
      throw error;
    }
  }

  #close(isMounted: boolean): void {
    for (const close of this.#closers.splice(0).reverse()) close();
    if (!isMounted) for (const file of this.#files.splice(0)) rmSync(file, { force: true });
  }

  #lazyMount(placed: readonly Placed[], reference: Reference, digest: string): LazyMount {
    const { platform, tlsVerify, maxInflatedBytes, timeoutMs } = this.options;
    const maps: { source: number; fd: number }[] = [];
    const layers: FetchLayer[] = [];
    for (const [source, place] of placed.entries()) {
      if (place.lazy === undefined) continue;
      const { mapFd, ...facts } = place.lazy;
      maps.push({ source, fd: mapFd });
      const same = layers.find(({ digest: other }) => other === facts.digest);
      if (same === undefined) layers.push({ ...facts, source, alsoAt: [] });
      else same.alsoAt.push(source);
    }
    const { domain, path: repositoryPath, tag } = reference;
    const facts = {
      root: this.cache.root,
      domain,
      path: repositoryPath,
      tag,
      digest,
      platform,
      tlsVerify,
      maxInflatedBytes,
    };
    return {
      maps,
      timeoutMs,
      command: [process.execPath, packageFile('dist/image/lazy/fetcher-main.js')],
      job: (mount): FetchJob => ({ ...facts, layers, ...mount }),
      files: this.#files,
    };
  }

  async #place(layer: Descriptor, diffId: string): Promise<Placed> {
    const { digest, sizeBytes } = layer;
    const isHeld =
      this.store.blobs.sizeOf(digest) === sizeBytes && readLayerFacts(this.cache.root, diffId) !== undefined;
    if (isHeld) return this.#held(digest, diffId);
    const found = sizeBytes <= SMALL_BYTES ? undefined : await this.#findTable(layer);
    try {
      if (found !== undefined) return await this.#lazy(layer, diffId, found);
    } catch (error) {
      // A table that is vouched for and cannot be used is as good as none.
      if (
        !(error instanceof LaminaError) ||
        !['EBADLAYER', 'ELIMIT', 'EBADTOC', 'ETOCVERSION'].includes(error.code)
      )
        throw error;
    }
    return this.#whole(layer, diffId);
  }

  /** Of a registry that knows no ranges nothing can be read in parts. */
  async #findTable(layer: Descriptor): Promise<FoundTable | undefined> {
    const finding = hasOwnTable(layer)
      ? findTable(this.repository, layer)
      : this.#findIndexes().then((indexes) => findIndexTable(this.repository, layer, indexes));
    return finding.catch((error: unknown) => {
      if (error instanceof LaminaError && error.code === 'EREGISTRY') return undefined;
      throw error;
    });
  }

  /** Asked for once, and only when a layer has no table of its own. */
  #findIndexes(): Promise<Map<string, FoundIndex>> {
    return (this.#indexes ??= findIndexes(this.repository, this.manifestDigest));
  }

  async #held(digest: string, diffId: string): Promise<Placed> {
    const blob = this.store.blobs.open(digest);
    this.#closers.push(() => closeSync(blob.fd));
    const compression = detectCompression(blob);
    if (compression !== 'gzip' && compression !== 'zstd') return placedPlain(blob, diffId);
    const source = await this.cache.inflatedLayer(
      { blob, diffId, digest, mediaType: undefined, compression },
      this.options.maxInflatedBytes,
    );
    this.#closers.push(() => closeSync(source.fd));
    return placedPlain(source, diffId);
  }

  /** Fetches all of it first. What it leaves is what the fetcher's pull goes on from. */
  async #whole({ digest, sizeBytes, urls }: Descriptor, diffId: string): Promise<Placed> {
    const { progress = SILENT, maxInflatedBytes } = this.options;
    const id = shortId(digest);
    this.#wholeLayers += sizeBytes > SMALL_BYTES ? 1 : 0;
    const partial = await openPartial(this.cache.root, digest, sizeBytes);
    this.#closers.push(() => partial.release());
    await receiveLayer(this.cache, partial, {
      ...{ digest, diffId, sizeBytes },
      maxBytes: maxInflatedBytes,
      fetch: (from) => downloadBlob(this.repository, { digest, sizeBytes, urls }, from),
      onProgress: (current) => progress.update(id, { action: 'Downloading', current, total: sizeBytes }),
    });
    progress.done(id, 'Download complete');
    const data = path.join(layerDirectory(this.cache.root, diffId), 'data');
    const file = existsSync(data) ? data : partial.file;
    const fd = openSync(file, 'r');
    this.#closers.push(() => closeSync(fd));
    return placedPlain(
      { fd, offset: 0, sizeBytes: existsSync(data) ? sizeOf(fd) : sizeBytes, name: file },
      diffId,
    );
  }

  async #lazy(layer: Descriptor, diffId: string, found: FoundTable): Promise<Placed> {
    const { digest, sizeBytes, urls } = layer;
    const directory = await this.#directory(digest);
    const facts = { digest, diffId, sizeBytes, urls, table: found.facts, directory };
    const lazy = await loadLazyLayer(facts, this.options.maxInflatedBytes, found.bytes);
    writeFileSync(path.join(directory, 'table'), found.bytes, { mode: 0o600 });
    await this.#keepPart(facts, found);
    const token = randomBytes(6).toString('hex');
    const [dataFile, mapFile] = [`data-${token}`, `map-${token}`].map((name) =>
      path.join(directory, name),
    ) as [string, string];
    this.#files.push(dataFile, mapFile);
    const dataFd = openSparseFile(dataFile, lazy.sizeBytes);
    this.#closers.push(() => closeSync(dataFd));
    writeFileSync(mapFile, emptyMap(lazy.sizeBytes), { mode: 0o600 });
    const mapFd = openSync(mapFile, 'r');
    this.#closers.push(() => closeSync(mapFd));
    return {
      tree: lazy.tree,
      source: { fd: dataFd, offset: 0, sizeBytes: lazy.sizeBytes, name: `layer ${digest}` },
      lazy: { ...facts, dataFile, mapFile, mapFd },
    };
  }

  /** The layer's directory, locked until the fetcher takes it over; another one when somebody else is at work there. */
  async #directory(digest: string): Promise<string> {
    const usual = partsDirectory(this.cache.root, digest);
    if (isMounted(usual)) await untilLocked(usual);
    for (const directory of [usual, `${usual}-${randomBytes(6).toString('hex')}`]) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const lock = await tryLockFile(path.join(directory, 'lock'));
      if (lock === undefined) continue;
      this.#closers.push(() => lock.release());
      removeMountFiles(directory);
      return directory;
    }
    throw new LaminaError('EBUSY', `layer ${digest} is being worked on`, { digest });
  }

  /** What was read of the blob to find the table need not come again. */
  async #keepPart(
    { directory, sizeBytes }: { directory: string; sizeBytes: number },
    { part }: FoundTable,
  ): Promise<void> {
    const file = path.join(directory, 'blob');
    const stateFile = path.join(directory, 'have');
    if (!existsSync(file)) rmSync(stateFile, { force: true });
    const fd = openSparseFile(file, sizeBytes);
    try {
      const blob = new SparseBlob(fd, sizeBytes, stateFile, () => {
        throw new Error('nothing is fetched here');
      });
      if (part !== undefined) await blob.put(part.offset, part.bytes);
      blob.save();
    } finally {
      closeSync(fd);
    }
  }
}

function placedPlain(source: ByteSource, diffId: string): Placed {
  return { source, tree: (index) => indexLayer(source, { diffId, sizeBytes: source.sizeBytes }, index) };
}

function sizeOf(fd: number): number {
  return fstatSync(fd).size;
}

/** A fetcher that has just been started takes its lock within this time; if none does, the mount is gone. */
const HANDOVER_MS = 3000;

async function untilLocked(directory: string): Promise<void> {
  for (const end = Date.now() + HANDOVER_MS; Date.now() < end && isMounted(directory);) {
    const lock = await tryLockFile(path.join(directory, 'lock'));
    if (lock === undefined) return;
    lock.release();
    await sleep(100);
  }
}
