/**
 * Garbage: blobs that neither the index nor a container leads to, and what was derived from layers that are gone. Only what is certain is
 * removed: when a manifest that is mentioned cannot be read, nobody knows what it needs, and nothing goes.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { isDigest } from '../oci/digest.js';
import { DEFAULT_MAX_JSON_BYTES } from '../oci/json.js';
import { documentKind } from '../oci/media-types.js';
import { BlobStore, namesIn } from './blobs.js';
import { layerDirectory } from './layer-facts.js';
import type { IndexEntry } from './store-index.js';

export interface Collected {
  /** What was removed, or would be. */
  blobs: string[];
  /** Files of their own size on the disk, derived ones as well. */
  reclaimedBytes: number;
  /** Why nothing was removed. */
  refused: LaminaError | undefined;
}

/** What is needed by the entries and by every container, as digests of blobs and diffIds of layers. */
export interface Needed {
  blobs: Set<string>;
  diffIds: Set<string>;
}

interface StoreFiles {
  root: string;
  blobs: BlobStore;
}

/** Under the store's lock. Raises as the system does. */
export async function collectGarbage(
  store: StoreFiles,
  entries: readonly IndexEntry[],
  options: { isDryRun?: boolean },
): Promise<Collected> {
  const collected: Collected = { blobs: [], reclaimedBytes: 0, refused: undefined };
  let needed: Needed;
  try {
    needed = neededBy(store, entries);
  } catch (error) {
    if (!(error instanceof LaminaError)) throw error;
    return { ...collected, refused: error };
  }
  const remove = (file: string): void => {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return;
    collected.reclaimedBytes += stats.isDirectory() ? treeBytes(file) : stats.size;
    if (options.isDryRun !== true) rmSync(file, { recursive: true, force: true });
  };
  for (const digest of store.blobs.list()) {
    if (needed.blobs.has(digest)) continue;
    const diffIds = diffIdsOf(store.blobs, digest);
    collected.blobs.push(digest);
    remove(store.blobs.pathOf(digest));
    for (const diffId of [digest, ...diffIds])
      if (!needed.diffIds.has(diffId)) remove(layerDirectory(store.root, diffId));
  }
  return collected;
}

/** Raises EBLOB, EDIGEST, EBADIMAGE when something that is mentioned cannot be read. */
export function neededBy(store: StoreFiles, entries: readonly IndexEntry[]): Needed {
  const needed: Needed = { blobs: new Set(), diffIds: new Set() };
  for (const { descriptor } of entries) {
    // A nested index may have been put here with some of its images only; what it names itself must be there.
    need(store.blobs, descriptor.digest, descriptor.mediaType, needed);
  }
  for (const digest of heldByContainers(store.root))
    if (store.blobs.has(digest)) need(store.blobs, digest, '', needed);
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
  if (config !== undefined) for (const diffId of diffIdsOf(blobs, config)) needed.diffIds.add(diffId);
}

interface Mentioning {
  manifests?: { digest?: string; mediaType?: string }[] | null;
  config?: { digest?: string } | null;
}

/** The diffIds that a blob lists, when it is a config. */
function diffIdsOf(blobs: BlobStore, digest: string): string[] {
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

/** Manifests that containers stand on, also of images that have been removed by force. Raises EIO for a record that is damaged. */
export function heldByContainers(root: string): string[] {
  const directory = path.join(root, 'containers');
  return namesIn(directory).flatMap((id) => {
    if (!/^[0-9a-f]{64}$/.test(id)) return [];
    const file = path.join(directory, id, 'container.json');
    try {
      const { image } = JSON.parse(readFileSync(file, 'utf8')) as { image?: { manifestDigest?: unknown } };
      const held = image?.manifestDigest;
      return typeof held === 'string' && isDigest(held) ? [held] : [];
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

function treeBytes(directory: string): number {
  return namesIn(directory).reduce((sum, name) => {
    const stats = statSync(path.join(directory, name), { throwIfNoEntry: false });
    return sum + (stats?.size ?? 0);
  }, 0);
}
