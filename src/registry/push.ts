/**
 * `push`: an image of the store into a repository. Blobs go as they are stored, but for plain tars, which are compressed; what the registry
 * has already, there or in another repository, is not sent.
 */
import { fstatSync, openSync, closeSync, rmSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import type { ArchivedImage, LayerBlob } from '../archive/image.js';
import { hashBytes } from '../oci/digest.js';
import { parseManifest } from '../oci/manifest.js';
import { DOCKER_LAYER, OCI_LAYER } from '../oci/media-types.js';
import { familiarReference, formatReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { Cache, DEFAULT_MAX_INFLATED_BYTES } from '../store/cache.js';
import { temporaryName } from '../store/files.js';
import type { ImageStore } from '../store/image-store.js';
import { openStored } from '../store/open-stored.js';
import type { ByteSource } from '../tar/source.js';
import type { RegistryClient } from './client.js';
import { gzipLayer, knownGzip } from './gzip-layer.js';
import { KnownBlobs } from './known-blobs.js';
import { pushIndexes } from './lazy/index-artifact.js';
import type { LayerIndex } from './lazy/index-artifact.js';
import { ensureIndex, readIndexFiles } from './lazy/index-files.js';
import { inParallel } from './pool.js';
import { shortId, SILENT } from './progress.js';
import type { TransferProgress } from './progress.js';
import { updateReferrers } from './referrers.js';
import { sourceChunks } from './source-chunks.js';
import { UploadTarget } from './upload.js';
import type { BlobSource } from './upload.js';

export interface PushOptions {
  progress?: TransferProgress;
  /** Layers at once. */
  concurrency?: number;
  /** Also push a checkpoint index of each gzip layer, by which others can mount the image before its layers are there. */
  lazyIndex?: boolean;
}

export interface PushedImage {
  digest: string;
  /** Of the manifest. */
  sizeBytes: number;
  /** Of the artifact with the indexes, where one was asked for and there is a layer to index. */
  lazyIndex?: { digest: string; layers: number };
}

/** As docker. */
export const DEFAULT_UPLOADS = 5;

/** Tags of a repository that the store has, in the order of their names. Raises ENOIMAGE in docker's words when there are none. */
export function tagsToPush(store: ImageStore, name: Reference): Reference[] {
  const tags = store
    .snapshot()
    .entries.flatMap(({ name: other }) =>
      other?.domain === name.domain &&
      other.path === name.path &&
      other.tag !== undefined &&
      other.digest === undefined
        ? [other]
        : [],
    )
    .sort((a, b) => (a.tag! < b.tag! ? -1 : 1));
  if (tags.length > 0) return tags;
  throw new LaminaError(
    'ENOIMAGE',
    `An image does not exist locally with the tag: ${familiarReference({ ...name, tag: undefined, digest: undefined })}`,
    { hint: 'Name it first with: lamina tag IMAGE NAME.' },
  );
}

/** `name` has a tag. Raises ENOIMAGE, EAUTH, EREGISTRY, ENETWORK, EDIGEST, EBLOB, ENOSPC. */
export async function pushImage(
  store: ImageStore,
  client: RegistryClient,
  name: Reference,
  options: PushOptions = {},
): Promise<PushedImage> {
  const { progress = SILENT } = options;
  const entry = store.snapshot().named(name);
  if (entry === undefined)
    throw new LaminaError(
      'ENOIMAGE',
      tagsToPush(store, name).length > 0 ? `tag does not exist: ${familiarReference(name)}` : '',
    );
  const { archived, close } = openStored(store, formatReference(name));
  const target = new UploadTarget(client, name);
  const known = new KnownBlobs(store.root, name.domain);
  try {
    const { layers } = archived;
    // From the top, as docker lists them.
    for (const { diffId } of [...layers].reverse()) progress.update(shortId(diffId), { action: 'Preparing' });
    const { manifest } = archived;
    const described = parseManifest(manifest!.bytes, `manifest ${archived.manifestDigest}`).layers;
    const pushed = new Map<string, { digest: string; sizeBytes: number }>();
    await Cache.open(store.root);
    const distinct = [
      ...new Map(
        layers.map((layer, index) => [layer.diffId, { layer, urls: described[index]!.urls }]),
      ).values(),
    ];
    await inParallel(
      [...distinct].reverse(),
      options.concurrency ?? DEFAULT_UPLOADS,
      async ({ layer, urls }) => {
        // A foreign layer stays where its manifest says.
        if (urls.length > 0) return progress.done(shortId(layer.diffId), 'Skipped foreign layer');
        pushed.set(layer.diffId, await pushLayer({ root: store.root, target, known, progress }, layer));
      },
    );
    const document = manifestToPush(
      archived,
      layers.map(({ diffId }) => pushed.get(diffId)),
    );
    await pushBytes(target, archived.imageId, archived.configBytes);
    await target
      .putManifest(name.tag!, document.mediaType, document.bytes, document.digest)
      .then((response) => updateReferrers(target, document, response));
    const lazyIndex =
      options.lazyIndex === true
        ? await pushLazyIndex({ root: store.root, target, known, progress }, document, distinct, pushed)
        : undefined;
    known.save();
    await store.update((draft) => {
      const { mediaType, digest, sizeBytes, platform } = entry.descriptor;
      if (draft.before.entries.every((other) => other.descriptor.digest !== digest)) return;
      draft.add({
        ...{ mediaType, digest, sizeBytes, platform: platform ?? archived.platform },
        name: { ...name, tag: undefined, digest: document.digest },
        taggedAt: new Date().toISOString(),
      });
    });
    return {
      digest: document.digest,
      sizeBytes: document.bytes.length,
      ...(lazyIndex === undefined ? {} : { lazyIndex }),
    };
  } finally {
    close();
  }
}

/** Below this an index saves nothing. */
const MIN_INDEXED_BYTES = 64 * 1024;

/** Makes what indexes are missing, and pushes all as one artifact that refers to the image. */
async function pushLazyIndex(
  { root, target, progress }: LayerTarget,
  { mediaType, digest, bytes }: { mediaType: string; digest: string; bytes: Buffer },
  layers: readonly { layer: LayerBlob }[],
  pushed: ReadonlyMap<string, { digest: string; sizeBytes: number }>,
): Promise<{ digest: string; layers: number } | undefined> {
  const cache = await Cache.open(root);
  const indexes: LayerIndex[] = [];
  for (const { layer } of layers) {
    const blob = pushed.get(layer.diffId);
    if (blob === undefined || blob.sizeBytes < MIN_INDEXED_BYTES || layer.compression === 'zstd') continue;
    progress.update(shortId(layer.diffId), { action: 'Indexing' });
    const temporary = path.join(root, 'tmp', temporaryName());
    let tar: ByteSource | undefined;
    try {
      const isAsStored = blob.digest === layer.digest;
      if (!isAsStored && (await gzipLayer(root, layer.diffId, layer.blob, temporary)).digest !== blob.digest)
        continue;
      tar =
        layer.compression === 'none'
          ? undefined
          : await cache.inflatedLayer(layer, DEFAULT_MAX_INFLATED_BYTES);
      const files = await ensureIndex(root, {
        ...{ diffId: layer.diffId, digest: blob.digest, tar: tar ?? layer.blob },
        file: isAsStored ? layer.blob.name : temporary,
        compression: layer.compression === 'none' && isAsStored ? 'none' : 'gzip',
      });
      indexes.push({ layerDigest: blob.digest, ...readIndexFiles(files) });
    } finally {
      if (tar !== undefined) closeSync(tar.fd);
      rmSync(temporary, { force: true });
    }
    progress.done(shortId(layer.diffId), 'Indexed');
  }
  if (indexes.length === 0) return undefined;
  const artifact = await pushIndexes(target, { mediaType, digest, sizeBytes: bytes.length }, indexes);
  return { digest: artifact.digest, layers: indexes.length };
}

interface LayerTarget {
  root: string;
  target: UploadTarget;
  known: KnownBlobs;
  progress: TransferProgress;
}

async function pushLayer(
  { root, target, known, progress }: LayerTarget,
  layer: LayerBlob,
): Promise<{ digest: string; sizeBytes: number }> {
  const id = shortId(layer.diffId);
  const isPlain = layer.compression === 'none';
  let blob = isPlain
    ? knownGzip(root, layer.diffId)
    : { digest: layer.digest!, sizeBytes: layer.blob.sizeBytes };
  const isThere = async (): Promise<boolean> => {
    if (blob === undefined) return false;
    const { digest } = blob;
    if (await target.hasBlob(digest)) {
      progress.done(id, 'Layer already exists');
      return true;
    }
    for (const from of known.repositoriesWith(digest, target.name)) {
      if (!(await target.mountBlob(digest, from))) continue;
      progress.done(id, `Mounted from ${from}`);
      return true;
    }
    return false;
  };
  if (await isThere()) {
    known.add(blob!.digest, target.name.path);
    return blob!;
  }
  const temporary = path.join(root, 'tmp', temporaryName());
  let file: ByteSource | undefined;
  try {
    if (isPlain) {
      progress.update(id, { action: 'Compressing' });
      const before = blob;
      blob = await gzipLayer(root, layer.diffId, layer.blob, temporary);
      const fd = openSync(temporary, 'r');
      file = { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: `layer ${layer.diffId}` };
      if (before?.digest !== blob.digest && (await isThere())) return blob;
    }
    await target.putBlob(
      sourceOf(file ?? layer.blob, blob!.digest),
      (current) => progress.update(id, { action: 'Pushing', current, total: blob!.sizeBytes }),
      (seconds) =>
        progress.update(id, { action: `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}` }),
    );
    progress.done(id, 'Pushed');
    known.add(blob!.digest, target.name.path);
    return blob!;
  } finally {
    if (file !== undefined) closeSync(file.fd);
    rmSync(temporary, { force: true });
  }
}

/** As it is stored, where every layer went as it is stored; else with what they became. */
function manifestToPush(
  { manifest, manifestDigest }: ArchivedImage,
  layers: readonly ({ digest: string; sizeBytes: number } | undefined)[],
): { mediaType: string; bytes: Buffer; digest: string } {
  const { mediaType, bytes } = manifest!;
  const json = JSON.parse(bytes.toString('utf8')) as {
    layers: { mediaType: string; digest: string; size: number }[];
  };
  let isChanged = false;
  for (const [index, layer] of json.layers.entries()) {
    const sent = layers[index];
    if (sent === undefined || sent.digest === layer.digest) continue;
    isChanged = true;
    layer.digest = sent.digest;
    layer.size = sent.sizeBytes;
    layer.mediaType = layer.mediaType.startsWith(DOCKER_LAYER) ? `${DOCKER_LAYER}.gzip` : `${OCI_LAYER}+gzip`;
  }
  if (!isChanged) return { mediaType, bytes, digest: manifestDigest! };
  const changed = Buffer.from(JSON.stringify(json));
  return { mediaType, bytes: changed, digest: hashBytes('sha256', changed) };
}

/** A document, unless it is there. */
export async function pushBytes(target: UploadTarget, digest: string, bytes: Buffer): Promise<void> {
  if (await target.hasBlob(digest)) return;
  await target.putBlob({
    digest,
    sizeBytes: bytes.length,
    async *read(from) {
      yield bytes.subarray(from);
    },
  });
}

export function sourceOf(source: ByteSource, digest: string): BlobSource {
  return { digest, sizeBytes: source.sizeBytes, read: (from) => sourceChunks(source, from) };
}
