/** `copy` into the store, which keeps images verified and looked into. */
import { checkLayerCount, pairLayers } from '../../archive/layers.js';
import { DEFAULT_ARCHIVE_LIMITS } from '../../archive/image.js';
import type { ArchivedImage } from '../../archive/image.js';
import { LaminaError } from '../../errors.js';
import { parseConfig } from '../../oci/config.js';
import { parseIndex } from '../../oci/image-index.js';
import { parseManifest } from '../../oci/manifest.js';
import { documentKind, layerCompression } from '../../oci/media-types.js';
import type { Platform } from '../../oci/platform.js';
import type { Reference } from '../../oci/reference.js';
import type { TransferProgress } from '../../registry/progress.js';
import { shortId } from '../../registry/progress.js';
import type { ImageStore } from '../../store/image-store.js';
import { stageImage } from '../load.js';
import { chooseOne } from './copy-tree.js';
import { readSmall } from './source.js';
import type { CopyDocument } from './document.js';
import type { CopySource } from './source.js';

export interface ToStoreOptions {
  isAll: boolean;
  platform: Platform | undefined;
  maxInflatedBytes: number;
  progress: TransferProgress;
}

/** What lies on the disk, under a name with a tag. Raises as `load` does; the store is then as it was. */
export async function copyIntoStore(
  store: ImageStore,
  source: CopySource,
  name: Reference,
  options: ToStoreOptions,
): Promise<CopyDocument> {
  const top = await source.top();
  if (options.isAll) requireOneImage(source, top);
  const document = await chooseOne(source, top, options.platform);
  const image = await readImage(source, document);
  const staging = await store.stage();
  try {
    const { progress, maxInflatedBytes } = options;
    const entry = await stageImage(store, staging, image, {
      maxInflatedBytes,
      onProgress: (digest, current, total) =>
        progress.update(shortId(digest), { action: 'Copying', current, total }),
    });
    await store.update(
      (draft) => void draft.add({ ...entry, name, taggedAt: new Date().toISOString() }),
      staging,
    );
    for (const { digest } of image.layers) progress.done(shortId(digest!), 'Copied');
    return document;
  } finally {
    staging.dispose();
  }
}

/** Raises EUSAGE for an index of several images. */
export function requireOneImage(source: CopySource, top: CopyDocument): void {
  if (documentKind(top.mediaType) !== 'index') return;
  const { manifests } = parseIndex(top.bytes, `index ${top.digest}`);
  if (manifests.length < 2) return;
  throw new LaminaError('EUSAGE', `${source.shown} has several images, a name of the store leads to one`, {
    hint: 'Leave out --all, choose one with --platform, or copy to oci:DIR.',
  });
}

async function readImage(source: CopySource, document: CopyDocument): Promise<ArchivedImage> {
  const what = `${source.shown}, manifest ${document.digest}`;
  const { mediaType, bytes, digest } = document;
  const manifest = parseManifest(bytes, what);
  const configBytes = await readSmall(source, manifest.config);
  const config = parseConfig(configBytes, `${source.shown}, config ${manifest.config.digest}`);
  const { diffIds } = config.rootfs;
  checkLayerCount(manifest.layers.length, diffIds.length, what, DEFAULT_ARCHIVE_LIMITS.maxLayers);
  for (const layer of manifest.layers) layerCompression(layer.mediaType, `layer ${layer.digest}`);
  const stored = manifest.layers.map((layer) => ({
    digest: layer.digest,
    mediaType: layer.mediaType,
    blob: source.open!(layer),
  }));
  return {
    ...{ references: [], imageId: manifest.config.digest, config, configBytes, manifestDigest: digest },
    manifest: { mediaType, bytes },
    platform: config.platform,
    layers: pairLayers(stored, diffIds, what),
  };
}
