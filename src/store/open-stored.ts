/** A stored image in the shape in which every kind of archive yields its images: what reads and mounts them need not know. */
import { closeSync } from 'node:fs';
import type { ArchivedImage } from '../archive/image.js';
import { pairLayers } from '../archive/layers.js';
import type { StoredLayer } from '../archive/layers.js';
import { LaminaError } from '../errors.js';
import { parseConfig } from '../oci/config.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseManifest } from '../oci/manifest.js';
import type { Manifest } from '../oci/manifest.js';
import { formatPlatform, platformRank } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference } from '../oci/reference.js';
import type { ImageStore } from './image-store.js';
import type { StoredImage } from './stored-image.js';

export interface OpenedStored {
  archived: ArchivedImage;
  /** Closes its layers. */
  close(): void;
}

/**
 * By any name that `Snapshot.get` takes. Raises ENOIMAGE, EPLATFORM when it is for another platform than the one asked for, EBLOB and EDIGEST
 * when the store is damaged.
 */
export function openStored(store: ImageStore, name: string, platform?: Platform): OpenedStored {
  try {
    return openFound(store, name, platform);
  } catch (error) {
    // Removed, or loaded anew, between reading the index and opening its blobs: the index of now decides.
    if (!(error instanceof LaminaError) || error.code !== 'EBLOB') throw error;
    return openFound(store, name, platform);
  }
}

function openFound(store: ImageStore, name: string, platform: Platform | undefined): OpenedStored {
  const snapshot = store.snapshot();
  const { image, name: found } = snapshot.get(name);
  const entry = found === undefined ? image.entries[0]! : (snapshot.named(found) ?? image.entries[0]!);
  const { descriptor, manifest } = snapshot.manifestOf(entry, platform);
  return openManifest(store, descriptor, manifest, referencesOf(image), platform);
}

/** By the digest of its manifest, whether the index still mentions it or not. Raises EBLOB, EDIGEST. */
export function openStoredManifest(store: ImageStore, digest: string): OpenedStored {
  const bytes = store.blobs.document(digest);
  const manifest = parseManifest(bytes, `manifest ${digest}`);
  const descriptor: Descriptor = {
    mediaType: manifest.mediaType,
    digest,
    sizeBytes: bytes.length,
    urls: [],
    annotations: new Map(),
    platform: undefined,
    artifactType: undefined,
  };
  return openManifest(store, descriptor, manifest, [], undefined);
}

/** An image of a snapshot. */
export function openStoredImage(store: ImageStore, image: StoredImage): OpenedStored {
  return openManifest(store, image.descriptor, image.manifest, referencesOf(image), undefined);
}

function referencesOf({ entries }: StoredImage): string[] {
  return entries.flatMap(({ name }) => (name === undefined ? [] : [familiarReference(name)]));
}

function openManifest(
  { blobs }: ImageStore,
  descriptor: Descriptor,
  manifest: Manifest,
  references: readonly string[],
  platform: Platform | undefined,
): OpenedStored {
  const imageId = manifest.config.digest;
  const configBytes = blobs.document(imageId);
  const config = parseConfig(configBytes, `config ${imageId}`);
  if (platform !== undefined && platformRank(config.platform, platform) === undefined)
    throw new LaminaError(
      'EPLATFORM',
      `image ${references[0] ?? imageId} is for ${formatPlatform(config.platform)}, not for ${formatPlatform(platform)}`,
    );
  const opened: StoredLayer[] = [];
  const close = (): void => {
    for (const { blob } of opened.splice(0)) closeSync(blob.fd);
  };
  try {
    for (const { digest, mediaType, sizeBytes } of manifest.layers) {
      const blob = blobs.open(digest);
      opened.push({ digest, mediaType, blob });
      if (blob.sizeBytes !== sizeBytes)
        throw new LaminaError('EDIGEST', `${blob.name} has ${blob.sizeBytes} bytes, not ${sizeBytes}`, {
          path: blob.name,
          digest,
          hint: 'The store is damaged; see what else is with: lamina system check.',
        });
    }
    const layers = pairLayers(opened, config.rootfs.diffIds, `image ${imageId}`);
    return {
      archived: {
        references,
        imageId,
        config,
        configBytes,
        manifestDigest: descriptor.digest,
        manifest: {
          mediaType: manifest.mediaType || descriptor.mediaType,
          bytes: blobs.document(descriptor.digest),
        },
        platform: config.platform,
        // They were hashed when they came in.
        layers: layers.map((layer) => ({ ...layer, isVerified: true })),
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
