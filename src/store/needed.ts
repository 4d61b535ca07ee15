/** What images and containers need of the store: blobs, and what is derived from their layers. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { isDigest } from '../oci/digest.js';
import { DEFAULT_MAX_JSON_BYTES } from '../oci/json.js';
import { documentKind } from '../oci/media-types.js';
import { BlobStore, namesIn } from './blobs.js';
import { hashed } from './cache.js';
import type { IndexEntry } from './store-index.js';

/** What is needed by the entries and by every container. */
export interface Needed {
  /** Digests. */
  blobs: Set<string>;
  diffIds: Set<string>;
  /** Keys of merged TOCs. */
  chains: Set<string>;
}

export interface StoreFiles {
  root: string;
  blobs: BlobStore;
}

/** What a container stands on. */
export interface ContainerNeeds {
  /** In the store. */
  manifestDigest: string | undefined;
  /** File of the archive that it was made from, outside the store. */
  archive: string | undefined;
  diffIds: string[];
}

/**
 * Raises EBLOB, EDIGEST, EBADIMAGE when something that is mentioned cannot be read, EIO for the record of a container.
 * @param goneContainers IDs of containers that do not count
 */
export function neededBy(
  store: StoreFiles,
  entries: readonly IndexEntry[],
  goneContainers: readonly string[] = [],
): Needed {
  const needed: Needed = { blobs: new Set(), diffIds: new Set(), chains: new Set() };
  for (const { descriptor } of entries) {
    // A nested index may have been put here with some of its images only; what it names itself must be there.
    need(store.blobs, descriptor.digest, descriptor.mediaType, needed);
  }
  for (const { manifestDigest, diffIds } of containerNeeds(store.root, goneContainers)) {
    needLayers(diffIds, needed);
    if (manifestDigest !== undefined && store.blobs.has(manifestDigest))
      need(store.blobs, manifestDigest, '', needed);
  }
  return needed;
}

/** Follows every digest that a document mentions, as far as documents go: annotations of other tools may lead somewhere too. */
function need(blobs: BlobStore, digest: string, mediaType: string, needed: Needed): void {
  if (needed.blobs.has(digest)) return;
  needed.blobs.add(digest);
  const size = blobs.sizeOf(digest);
  const isDocument =
    documentKind(mediaType) !== undefined || (mediaType === '' && size! < DEFAULT_MAX_JSON_BYTES);
  if (!isDocument) return;
  const text = blobs.document(digest).toString('utf8');
  const document = JSON.parse(text) as Mentioning;
  for (const child of document.manifests ?? [])
    if (isDigest(child.digest ?? '') && blobs.has(child.digest!))
      need(blobs, child.digest!, child.mediaType ?? '', needed);
  for (const [mentioned] of text.matchAll(/sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})/g))
    needed.blobs.add(mentioned);
  const config = document.config?.digest;
  if (config !== undefined) needLayers(diffIdsOf(blobs, config), needed);
}

interface Mentioning {
  manifests?: { digest?: string; mediaType?: string }[] | null;
  config?: { digest?: string } | null;
}

function needLayers(diffIds: readonly string[], needed: Needed): void {
  for (const diffId of diffIds) needed.diffIds.add(diffId);
  if (diffIds.length > 0) needed.chains.add(chainKey(diffIds));
}

/** The name of the merged TOC of an image whose layers are known to be what their diffIds promise. Bottom to top. */
export function chainKey(diffIds: readonly string[]): string {
  return hashed(diffIds);
}

/** The diffIds that a blob lists, when it is a config. */
export function diffIdsOf(blobs: BlobStore, digest: string): string[] {
  if ((blobs.sizeOf(digest) ?? Infinity) > DEFAULT_MAX_JSON_BYTES) return [];
  const bytes = readFileSync(blobs.pathOf(digest));
  if (bytes[0] !== 0x7b) return [];
  try {
    const { rootfs } = JSON.parse(bytes.toString('utf8')) as {
      rootfs?: { diff_ids?: string[] | null } | null;
    };
    return (rootfs?.diff_ids ?? []).filter(isDigest);
  } catch {
    return [];
  }
}

/**
 * Of every container but those of the IDs that are `gone`, also of images that have been removed by force. Raises EIO for a record
 * that is damaged.
 */
export function containerNeeds(root: string, gone: readonly string[] = []): ContainerNeeds[] {
  const directory = path.join(root, 'containers');
  return namesIn(directory).flatMap((id) => {
    if (!/^[0-9a-f]{64}$/.test(id) || gone.includes(id)) return [];
    const file = path.join(directory, id, 'container.json');
    try {
      const { image } = JSON.parse(readFileSync(file, 'utf8')) as { image?: Record<string, unknown> };
      const { manifestDigest, path: archive, transport, diffIds } = image ?? {};
      const isStored = transport === 'store' || typeof manifestDigest === 'string';
      return [
        {
          manifestDigest:
            typeof manifestDigest === 'string' && isDigest(manifestDigest) ? manifestDigest : undefined,
          archive: !isStored && typeof archive === 'string' ? archive : undefined,
          diffIds: Array.isArray(diffIds)
            ? diffIds.filter((diffId): diffId is string => typeof diffId === 'string' && isDigest(diffId))
            : [],
        },
      ];
    } catch (cause) {
      if (!existsSync(file)) return [];
      throw new LaminaError('EIO', `${file} is damaged: nobody knows what it needs`, {
        path: file,
        cause,
        hint: 'Remove the container by its whole ID with: lamina rm -f.',
      });
    }
  });
}
