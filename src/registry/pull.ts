/**
 * `pull`: images of a registry into the store. Layers come several at once and are verified as they arrive; the store mentions an image
 * only when all of it is there.
 */
import { LaminaError } from '../errors.js';
import { parseConfig } from '../oci/config.js';
import type { ImageConfig } from '../oci/config.js';
import type { Descriptor } from '../oci/descriptor.js';
import { layerCompression } from '../oci/media-types.js';
import { formatPlatform, platformRank } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference, withDefaultTag } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { Cache } from '../store/cache.js';
import type { ImageStore } from '../store/image-store.js';
import { readLayerFacts } from '../store/layer-facts.js';
import type { Staging } from '../store/staging.js';
import type { NewEntry } from '../store/store-index.js';
import { chooseImage } from './choose.js';
import type { ChosenImage } from './choose.js';
import type { RegistryClient } from './client.js';
import { downloadBlob } from './download.js';
import { KnownBlobs } from './known-blobs.js';
import { openPartial, sweepPartials } from './partial.js';
import { inParallel } from './pool.js';
import { shortId, SILENT } from './progress.js';
import type { TransferProgress } from './progress.js';
import { receiveLayer } from './receive.js';
import { Repository } from './repository.js';
import { openLeftParts } from './lazy/parts.js';
import type { BlobInParts } from './lazy/parts.js';

export interface PullOptions {
  /** The image must be for it; without one it is chosen for this host among several. */
  platform?: Platform;
  maxInflatedBytes: number;
  /** The image that the name led to when it was looked up before. */
  digest?: string;
  /** Parts of a layer that somebody else is fetching in this process; by default those that a lazy mount left. */
  openParts?: (layer: Descriptor) => Promise<BlobInParts | undefined>;
  /** Layers at once. */
  concurrency?: number;
  progress?: TransferProgress;
  /** The only name that it gets, with a tag, instead of the one that it is pulled by. */
  as?: Reference;
}

export interface PulledImage {
  /** With its tag or digest. */
  reference: Reference;
  /** What the registry calls it: of its index, where it has one. */
  digest: string;
  /** Of the image's own manifest as the store has it. */
  manifestDigest: string;
  /** Config digest. */
  imageId: string;
  /** Its name led elsewhere, or nowhere, before. */
  isNewer: boolean;
}

/** As docker. */
export const DEFAULT_DOWNLOADS = 3;
/** What a manifest may list (FORMAT.md allows as many layers). */
const MAX_LAYERS = 4096;

/**
 * Raises EAUTH, EREGISTRY (not found), ENETWORK, EPLATFORM, EDIGEST, EBADIMAGE, EMEDIATYPE, ELIMIT, ENOSPC and what an invalid layer
 * raises; the store is then as it was. What has come of layers after a failure of the network is kept for the next pull.
 */
export async function pullImage(
  store: ImageStore,
  client: RegistryClient,
  name: Reference,
  options: PullOptions,
): Promise<PulledImage> {
  const reference = withDefaultTag(name);
  const { progress = SILENT } = options;
  const wanted = options.digest ?? reference.digest ?? reference.tag!;
  const repository = new Repository(client, reference);
  const chosen = await chooseImage(repository, wanted, options.platform);
  progress.message(`${wanted}: Pulling from ${reference.path}`);
  const { config, bytes: configBytes } = await readConfig(
    repository,
    store,
    chosen,
    reference,
    options.platform,
  );
  const cache = await Cache.open(store.root);
  await sweepPartials(store.root);
  const staging = await store.stage();
  const closers: (() => void)[] = [];
  const known = new KnownBlobs(store.root, reference.domain);
  try {
    // An image is what its config says; how it is stored here need not be how it is stored there.
    let entry = heldAs(store, chosen);
    if (entry === undefined) {
      await takeLayers({ store, cache, staging, repository, closers, known }, chosen, config, options);
      await staging.addBytes(configBytes, chosen.manifest.config.digest);
      const { document } = chosen;
      await staging.addBytes(document.bytes, document.digest);
      entry = {
        mediaType: document.mediaType,
        digest: document.digest,
        sizeBytes: document.bytes.length,
        platform: config.platform,
      };
    }
    const { top } = chosen;
    const imageId = chosen.manifest.config.digest;
    const isNewer = await store.update((draft) => {
      const taggedAt = new Date().toISOString();
      const before = draft.before.byId(imageId);
      if (options.as !== undefined) {
        draft.add({ ...entry, name: options.as, taggedAt });
        return true;
      }
      const byDigest = { ...reference, tag: undefined, digest: top.digest };
      draft.add({ ...entry, name: byDigest, taggedAt });
      if (reference.digest !== undefined) return before === undefined;
      const wasNamed = draft.before.named(reference);
      draft.add({ ...entry, name: reference, taggedAt });
      return wasNamed === undefined || before?.entries.includes(wasNamed) !== true;
    }, staging);
    known.save();
    return { reference, digest: top.digest, manifestDigest: entry.digest, imageId, isNewer };
  } finally {
    staging.dispose();
    for (const close of closers) close();
  }
}

/** Every tag of a repository. `each` is told of one after the other. Raises as `pullImage`. */
export async function pullAllTags(
  store: ImageStore,
  client: RegistryClient,
  name: Reference,
  options: PullOptions,
  each: (image: PulledImage) => void,
): Promise<PulledImage[]> {
  const tags = await new Repository(client, name).tags();
  if (tags.length === 0)
    throw new LaminaError('EREGISTRY', `${familiarReference(name)} has no tags`, { hint: '' });
  const pulled: PulledImage[] = [];
  for (const tag of tags) {
    const image = await pullImage(store, client, { ...name, tag, digest: undefined }, options);
    each(image);
    pulled.push(image);
  }
  return pulled;
}

/** The entry of an image with the same config that the store has in whole. */
export function heldAs(store: ImageStore, { manifest, document }: ChosenImage): NewEntry | undefined {
  const image = store.snapshot().byId(manifest.config.digest);
  if (image === undefined) return undefined;
  const entries = [...image.entries].sort(
    (a, b) =>
      Number(b.descriptor.digest === document.digest) - Number(a.descriptor.digest === document.digest),
  );
  const [entry] = entries;
  try {
    if (!image.manifest.layers.every(({ digest, sizeBytes }) => store.blobs.sizeOf(digest) === sizeBytes))
      return undefined;
    const { mediaType, digest, sizeBytes, platform } = entry!.descriptor;
    return { mediaType, digest, sizeBytes, platform: platform ?? image.config.platform };
  } catch (error) {
    // A damaged image is mended by pulling it again.
    if (error instanceof LaminaError) return undefined;
    throw error;
  }
}

export async function readConfig(
  repository: Repository,
  store: ImageStore,
  { manifest, document, top }: ChosenImage,
  reference: Reference,
  platform: Platform | undefined,
): Promise<{ config: ImageConfig; bytes: Buffer }> {
  const { digest, sizeBytes } = manifest.config;
  const isHere = store.blobs.sizeOf(digest) === sizeBytes;
  const bytes = isHere ? store.blobs.document(digest) : await repository.document(digest, sizeBytes);
  const config = parseConfig(bytes, `config ${digest}`);
  const { layers } = manifest;
  const { diffIds } = config.rootfs;
  if (layers.length !== diffIds.length)
    throw new LaminaError(
      'EBADIMAGE',
      `manifest ${document.digest} has ${layers.length} layers, but its config lists ${diffIds.length} diffIds`,
    );
  if (layers.length > MAX_LAYERS)
    throw new LaminaError('ELIMIT', `manifest ${document.digest} has more than ${MAX_LAYERS} layers`);
  for (const layer of layers) layerCompression(layer.mediaType, `layer ${layer.digest}`);
  if (platform !== undefined && top === document && platformRank(config.platform, platform) === undefined)
    throw new LaminaError(
      'EPLATFORM',
      `image with reference ${familiarReference(reference)} was found but its platform (${formatPlatform(config.platform)}) ` +
        `does not match the specified platform (${formatPlatform(platform)})`,
    );
  return { config, bytes };
}

interface Transfer {
  store: ImageStore;
  cache: Cache;
  staging: Staging;
  repository: Repository;
  known: KnownBlobs;
  /** Called when nothing more is done with what was staged. */
  closers: (() => void)[];
}

async function takeLayers(
  transfer: Transfer,
  { manifest }: ChosenImage,
  { rootfs: { diffIds } }: ImageConfig,
  options: PullOptions,
): Promise<void> {
  const { progress = SILENT, concurrency = DEFAULT_DOWNLOADS } = options;
  const { store, staging, known, repository } = transfer;
  const missing: { layer: Descriptor; diffId: string }[] = [];
  const seen = new Set<string>();
  for (const [index, layer] of manifest.layers.entries()) {
    known.add(layer.digest, repository.name.path);
    if (seen.has(layer.digest)) continue;
    seen.add(layer.digest);
    const diffId = diffIds[index]!;
    const isHeld =
      store.blobs.sizeOf(layer.digest) === layer.sizeBytes &&
      readLayerFacts(store.root, diffId) !== undefined;
    if (isHeld) {
      // Somebody may remove it meanwhile.
      staging.rely(layer.digest, () => takeLayer(transfer, layer, diffId, options));
      progress.done(shortId(layer.digest), 'Already exists');
    } else {
      missing.push({ layer, diffId });
      progress.update(shortId(layer.digest), { action: 'Pulling fs layer' });
    }
  }
  for (const { layer } of missing.slice(concurrency))
    progress.update(shortId(layer.digest), { action: 'Waiting' });
  await inParallel(missing, concurrency, ({ layer, diffId }) => takeLayer(transfer, layer, diffId, options));
}

async function takeLayer(
  { store, cache, staging, repository, closers }: Transfer,
  layer: Descriptor,
  diffId: string,
  {
    progress = SILENT,
    maxInflatedBytes,
    openParts = (wanted) => openLeftParts(store.root, wanted),
  }: PullOptions,
): Promise<void> {
  const { digest, sizeBytes, urls } = layer;
  const id = shortId(digest);
  const parts = await openParts(layer);
  const partial = parts?.partial ?? (await openPartial(store.root, digest, sizeBytes));
  const download = (from: number, end?: number): AsyncIterable<Buffer> =>
    downloadBlob(
      repository,
      { digest, sizeBytes, urls },
      from,
      (seconds) =>
        progress.update(id, { action: `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}` }),
      end,
    );
  let isKept = false;
  try {
    await receiveLayer(cache, partial, {
      ...{ digest, diffId, sizeBytes },
      maxBytes: maxInflatedBytes,
      fetch: (from) => parts?.rest(from, download) ?? download(from),
      onProgress: (current) => progress.update(id, { action: 'Downloading', current, total: sizeBytes }),
      onWhole: () => progress.update(id, { action: 'Verifying Checksum' }),
    });
    progress.update(id, { action: 'Download complete' });
    staging.adopt(digest, partial.file);
    closers.push(() => partial.release());
    isKept = true;
    progress.done(id, 'Pull complete');
  } finally {
    if (!isKept) partial.release();
  }
}
