/**
 * Derived data that nothing needs: of images that are gone from archives outside the store, of files that have changed since, of other
 * versions. Whoever uses such a file holds it open, or makes it again.
 */
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ByteSource } from '../tar/source.js';
import { namesIn } from './blobs.js';
import { hashed, identityOf } from './cache.js';
import { diskBytes } from './collect.js';
import { containerNeeds, neededBy } from './needed.js';
import type { StoreFiles } from './needed.js';
import type { IndexEntry } from './store-index.js';

export interface DerivedFile {
  /** Below the store: `chains/<key>`. A directory for a layer. */
  name: string;
  sizeBytes: number;
}

/** Below the store. */
export const DERIVED_DIRECTORIES = ['layers', 'archives', 'chains', 'verified'] as const;

/** All derived data of the store and whether something needs it. Raises as `neededBy`. */
export function derivedFiles(
  store: StoreFiles,
  entries: readonly IndexEntry[],
  goneContainers: readonly string[] = [],
): { needed: DerivedFile[]; unneeded: DerivedFile[] } {
  const needs = neededBy(store, entries, goneContainers);
  const archives = containerNeeds(store.root, goneContainers).flatMap(({ archive }) => archive ?? []);
  const layers = new Set([...needs.diffIds].map((diffId) => diffId.replace(':', '-')));
  const kept = new Set(archives.flatMap((file) => archiveKey(file) ?? []));
  // What was derived from the layers of an archive in place carries a name that cannot be led back to it.
  const isAttributable = archives.length === 0;
  const isNeeded: Record<(typeof DERIVED_DIRECTORIES)[number], (name: string) => boolean> = {
    layers: (name) => layers.has(name),
    archives: (name) => kept.has(name),
    chains: (name) => needs.chains.has(name) || !isAttributable,
    verified: () => !isAttributable,
  };
  const found: { needed: DerivedFile[]; unneeded: DerivedFile[] } = { needed: [], unneeded: [] };
  for (const directory of DERIVED_DIRECTORIES)
    for (const name of namesIn(path.join(store.root, directory)).sort())
      found[isNeeded[directory](name) ? 'needed' : 'unneeded'].push({
        name: `${directory}/${name}`,
        sizeBytes: diskBytes(path.join(store.root, directory, name)),
      });
  return found;
}

/** Of those, what was made or changed before. */
export function olderThan(root: string, files: readonly DerivedFile[], timeMs: number): DerivedFile[] {
  return files.filter(({ name }) => {
    const stats = statSync(path.join(root, name), { throwIfNoEntry: false });
    return stats !== undefined && stats.mtimeMs <= timeMs;
  });
}

/** Raises as the system does. */
export function removeDerived(root: string, files: readonly DerivedFile[]): void {
  for (const { name } of files) rmSync(path.join(root, name), { recursive: true, force: true });
}

/** Under which the plain tar of a compressed archive lies; undefined when the archive is gone. */
function archiveKey(file: string): string | undefined {
  try {
    const fd = openSync(file, 'r');
    try {
      const { size } = statSync(file);
      const source: ByteSource = { fd, offset: 0, sizeBytes: size, name: file };
      return hashed([identityOf(source)]);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
