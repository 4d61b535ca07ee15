/**
 * Garbage: blobs that neither the index nor a container leads to, and what was derived from layers that are gone. Only what is certain is
 * removed: when a manifest that is mentioned cannot be read, nobody knows what it needs, and nothing goes.
 */
import { lstatSync, rmSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { namesIn } from './blobs.js';
import { layerDirectory } from './layer-facts.js';
import { chainKey, diffIdsOf, neededBy } from './needed.js';
import type { Needed, StoreFiles } from './needed.js';
import type { IndexEntry } from './store-index.js';

export interface Collected {
  /** What was removed, or would be. */
  blobs: string[];
  /** Derived data that went with them, below the store: `layers/<diffId>`. */
  derived: string[];
  /** Files of their own size on the disk, derived ones as well. */
  reclaimedBytes: number;
  /** Why nothing was removed. */
  refused: LaminaError | undefined;
}

/** Under the store's lock. Raises as the system does. */
export async function collectGarbage(
  store: StoreFiles,
  entries: readonly IndexEntry[],
  options: { isDryRun?: boolean; goneContainers?: readonly string[] },
): Promise<Collected> {
  const collected: Collected = { blobs: [], derived: [], reclaimedBytes: 0, refused: undefined };
  let needed: Needed;
  try {
    needed = neededBy(store, entries, options.goneContainers);
  } catch (error) {
    if (!(error instanceof LaminaError)) throw error;
    return { ...collected, refused: error };
  }
  const files = new Set<string>();
  for (const digest of store.blobs.list()) {
    if (needed.blobs.has(digest)) continue;
    collected.blobs.push(digest);
    files.add(store.blobs.pathOf(digest));
    const diffIds = diffIdsOf(store.blobs, digest);
    for (const diffId of [digest, ...diffIds])
      if (!needed.diffIds.has(diffId)) files.add(layerDirectory(store.root, diffId));
    const chain = chainKey(diffIds);
    if (diffIds.length > 0 && !needed.chains.has(chain)) files.add(path.join(store.root, 'chains', chain));
  }
  // All is read before anything goes: a config says what was derived from layers of other blobs.
  for (const file of files) {
    collected.reclaimedBytes += diskBytes(file);
    if (!file.startsWith(store.blobs.directory)) collected.derived.push(path.relative(store.root, file));
    if (options.isDryRun !== true) rmSync(file, { recursive: true, force: true });
  }
  return collected;
}

/** Bytes of a file, or of all files in a directory; 0 when it is gone. */
export function diskBytes(file: string): number {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  if (!stats.isDirectory()) return stats.size;
  return namesIn(file).reduce((sum, name) => sum + diskBytes(path.join(file, name)), 0);
}
