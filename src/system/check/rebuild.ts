/** An index that is lost or garbled, made again: every manifest whose blobs are there is an image, without a name where no container knows it. */
import { renameSync } from 'node:fs';
import path from 'node:path';
import { ContainerStore } from '../../container/store.js';
import { LaminaError } from '../../errors.js';
import { parseConfig } from '../../oci/config.js';
import { parseManifest } from '../../oci/manifest.js';
import type { Manifest } from '../../oci/manifest.js';
import { OCI_MANIFEST } from '../../oci/media-types.js';
import type { Platform } from '../../oci/platform.js';
import { tryParseReference, withDefaultTag } from '../../oci/reference.js';
import type { BlobStore } from '../../store/blobs.js';
import { namesIn } from '../../store/blobs.js';
import type { ImageStore } from '../../store/image-store.js';
import type { NewEntry } from '../../store/store-index.js';
import type { Finding } from './finding.js';

/** What is wrong with the index as a whole; undefined when it can be read, or there was never one. */
export function checkIndex(store: ImageStore): Finding | undefined {
  const finding = (what: string): Finding => ({
    ...{ kind: 'damage', subject: 'index.json', what },
    repair: 'it is made again from the blobs; names are lost, but those that containers know',
  });
  try {
    store.snapshot();
  } catch (error) {
    if (error instanceof LaminaError && error.code !== 'EACCES') return finding(error.message);
    throw error;
  }
  const isThere = namesIn(store.root).includes('index.json');
  return isThere || store.blobs.list().length === 0 ? undefined : finding('it is gone, and there are blobs');
}

/** Under no lock of the caller's. What was there is kept beside it. */
export async function rebuildIndex(store: ImageStore): Promise<number> {
  if (namesIn(store.root).includes('index.json'))
    renameSync(
      path.join(store.root, 'index.json'),
      path.join(store.root, `index.json.damaged-${new Date().toISOString().replaceAll(':', '')}`),
    );
  const records = await new ContainerStore(store.root).list();
  return store.update((draft) => {
    for (const digest of store.blobs.list()) {
      const entry = entryOf(store.blobs, digest);
      if (entry === undefined) continue;
      draft.add(entry);
      for (const { image } of records) {
        const name = image.manifestDigest === digest ? tryParseReference(image.name) : undefined;
        // An image may have been named by its ID.
        const isName = name !== undefined && !/^[0-9a-f]+$/.test(image.name) && name.digest === undefined;
        if (isName && draft.entries.every((other) => other.name?.path !== name.path))
          draft.add({ ...entry, name: withDefaultTag(name) });
      }
    }
    return draft.entries.length;
  });
}

/** undefined: no manifest, or one that lacks something. */
function entryOf(blobs: BlobStore, digest: string): NewEntry | undefined {
  const sizeBytes = blobs.sizeOf(digest) ?? 0;
  if (sizeBytes > MAX_MANIFEST_BYTES) return undefined;
  let manifest: Manifest;
  let platform: Platform;
  try {
    manifest = parseManifest(blobs.document(digest), `manifest ${digest}`);
    const { config, layers } = manifest;
    if (layers.some((layer) => blobs.sizeOf(layer.digest) !== layer.sizeBytes)) return undefined;
    platform = parseConfig(blobs.document(config.digest), `config ${config.digest}`).platform;
  } catch (error) {
    if (error instanceof LaminaError) return undefined;
    throw error;
  }
  return { mediaType: manifest.mediaType || OCI_MANIFEST, digest, sizeBytes, platform };
}

const MAX_MANIFEST_BYTES = 4 << 20;
