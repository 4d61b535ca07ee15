/** `load`: images from an archive into the store, every digest verified on the way. All of an archive's images come in, or none. */
import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import path from 'node:path';
import type { ArchivedImage, ImageTransport, LayerBlob, OpenedArchive } from '../archive/image.js';
import { manifestFor } from '../archive/manifest-for.js';
import { LaminaError } from '../errors.js';
import { indexLayer } from '../layer/index-layer.js';
import { factsOf } from '../layer/layer-facts.js';
import { familiarReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { parsePlatform } from '../oci/platform.js';
import { Cache } from '../store/cache.js';
import type { ImageStore } from '../store/image-store.js';
import { layerDirectory, readLayerFacts, writeLayerFacts } from '../store/layer-facts.js';
import type { Staging } from '../store/staging.js';
import type { IndexEntry, NewEntry } from '../store/store-index.js';
import type { ByteSource } from '../tar/source.js';
import { archivedImages } from './archived-images.js';
import { defaultMaxInflated, InflateTotal, openPossiblyCompressed } from './open.js';

export interface LoadOptions {
  /** `os[/arch[/variant]]` of the images to take; the host's is preferred among several when absent. */
  platform?: string;
  /** The form it must have; detected when absent. */
  transport?: Exclude<ImageTransport, 'store'>;
  maxInflatedBytes?: number;
  /** Called while a layer is copied: which (a digest), and how far. */
  onProgress?: (digest: string, doneBytes: number, totalBytes: number) => void;
}

export interface LoadedImage {
  /** Config digest. */
  imageId: string;
  /** Names it has got, as people type them; none for an image without a name. */
  names: string[];
  /** Names that another image had until now. */
  moved: { name: string; imageId: string }[];
}

/**
 * Loads the images of the archive at `file`. Raises ENOENT, ENOTARCHIVE, EPLATFORM, ENOIMAGE (it holds none), EDIGEST, EBADIMAGE, EBLOB,
 * ELIMIT, ENOSPC and what the layers raise; the store is then as it was.
 */
export async function loadArchive(
  store: ImageStore,
  file: string,
  options: LoadOptions = {},
): Promise<LoadedImage[]> {
  const cache = await Cache.open(store.root);
  const maxBytes = options.maxInflatedBytes ?? defaultMaxInflated();
  const closers: (() => void)[] = [];
  try {
    const progress = new InflateTotal((done, total) => options.onProgress?.(file, done, total));
    const archive = await openPossiblyCompressed(file, options.transport, cache, maxBytes, progress, closers);
    closers.push(() => archive.close());
    return await loadImages(store, archive, { ...options, maxInflatedBytes: maxBytes });
  } finally {
    for (const closer of closers.reverse()) closer();
  }
}

/** As `loadArchive`, of an archive that is open and stays so. */
export async function loadImages(
  store: ImageStore,
  archive: OpenedArchive,
  options: LoadOptions = {},
): Promise<LoadedImage[]> {
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const images = archivedImages(archive, platform);
  const staging = await store.stage();
  try {
    const staged: { image: ArchivedImage; names: Reference[]; entry: NewEntry }[] = [];
    for (const { image, names } of images)
      staged.push({ image, names, entry: await stageImage(store, staging, image, options) });
    return await store.update((draft) => {
      const taggedAt = new Date().toISOString();
      return staged.map(({ image, names, entry }) => {
        const moved: LoadedImage['moved'] = [];
        for (const name of names) {
          const old = draft.add({ ...entry, name, taggedAt });
          const imageId = old === undefined ? undefined : imageIdOf(draft.before, old);
          if (imageId !== undefined && imageId !== image.imageId)
            moved.push({ name: familiarReference(name), imageId });
        }
        if (names.length === 0) draft.add(entry);
        return { imageId: image.imageId, names: names.map(familiarReference), moved };
      });
    }, staging);
  } finally {
    staging.dispose();
  }
}

function imageIdOf(
  snapshot: { images: readonly { imageId: string; entries: readonly IndexEntry[] }[] },
  entry: IndexEntry,
): string | undefined {
  const { digest } = entry.descriptor;
  return snapshot.images.find(({ entries }) => entries.some(({ descriptor }) => descriptor.digest === digest))
    ?.imageId;
}

/** Brings what an image consists of into the staging; returns the entry that it is going to have, yet without a name. */
export async function stageImage(
  store: ImageStore,
  staging: Staging,
  image: ArchivedImage,
  options: Pick<LoadOptions, 'onProgress' | 'maxInflatedBytes'> = {},
): Promise<NewEntry> {
  const layers: { digest: string; sizeBytes: number; compression: LayerBlob['compression'] }[] = [];
  for (const layer of image.layers) {
    const shown = layer.digest ?? layer.diffId;
    let doneBytes = 0;
    const { digest, sizeBytes } = await staging.addSource(layer.blob, promisedDigest(layer), (bytes) => {
      doneBytes += bytes;
      options.onProgress?.(shown, doneBytes, layer.blob.sizeBytes);
    });
    await lookInto(store, staging, { ...layer, digest }, options.maxInflatedBytes ?? defaultMaxInflated());
    layers.push({ digest, sizeBytes, compression: layer.compression });
  }
  await staging.addBytes(image.configBytes, image.imageId);
  const manifest = image.manifest ?? manifestFor(image.configBytes, image.imageId, layers);
  const { digest, sizeBytes } = await staging.addBytes(manifest.bytes, image.manifestDigest);
  return { mediaType: manifest.mediaType, digest, sizeBytes, platform: image.platform };
}

/** A plain layer's blob is its tar, so that its diffId is a promise too. Raises EDIGEST when two promises differ. */
function promisedDigest({ digest, diffId, compression, blob }: LayerBlob): string | undefined {
  if (compression !== 'none' || digest === undefined) return compression === 'none' ? diffId : digest;
  if (digest !== diffId && algorithmOf(digest) === algorithmOf(diffId))
    throw new LaminaError(
      'EDIGEST',
      `${blob.name}: its digest is ${digest}, but the config promises ${diffId}`,
      {
        path: blob.name,
        digest: diffId,
      },
    );
  return digest;
}

function algorithmOf(digest: string): string {
  return digest.slice(0, digest.indexOf(':'));
}

/** Verifies what a compressed layer holds, refuses a layer that cannot be mounted, and notes how much is in it. */
async function lookInto(
  store: ImageStore,
  staging: Staging,
  layer: LayerBlob,
  maxBytes: number,
): Promise<void> {
  const { diffId, digest, compression } = layer;
  if (readLayerFacts(store.root, diffId) !== undefined && store.blobs.has(digest!)) return;
  if (!existsSync(layerDirectory(store.root, diffId))) staging.derives(diffId);
  const blob = openFile(staging.fileOf(digest!), layer.blob.name);
  let tar: ByteSource = blob;
  try {
    if (compression !== 'none' || algorithmOf(digest!) !== algorithmOf(diffId))
      tar = await (await Cache.open(store.root)).inflatedLayer({ ...layer, blob }, maxBytes);
    const toc = indexLayer(tar, { diffId, sizeBytes: tar.sizeBytes }, 0);
    writeLayerFacts(store.root, diffId, { ...factsOf(toc), tarBytes: tar.sizeBytes });
  } finally {
    closeSync(blob.fd);
    if (tar !== blob) closeSync(tar.fd);
  }
}

function openFile(file: string, name: string): ByteSource {
  const fd = openSync(file, 'r');
  return { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: name || path.basename(file) };
}
