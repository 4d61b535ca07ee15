/**
 * The store: an OCI image layout (image-spec image-layout.md) with what Lamina derives from it beside it. Readers take no lock. Changes
 * are made under one lock, which dies with its process: blobs get their names, then index.json is replaced; on removal the
 * index is replaced first, then what nothing needs any more goes. Killed between the two, a store holds blobs that
 * nothing mentions, which the next removal takes away.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import { formatReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { BlobStore } from './blobs.js';
import { Cache, defaultRoot } from './cache.js';
import { collectGarbage } from './collect.js';
import type { Collected } from './collect.js';
import { createFileSync, replaceFileSync, syncDirectory } from './files.js';
import { takeLock } from './flock.js';
import { layerDirectory } from './layer-facts.js';
import { neededBy } from './needed.js';
import { Snapshot } from './snapshot.js';
import { Staging } from './staging.js';
import type { StagingProgress } from './staging.js';
import { formatStoreIndex, makeEntry, parseStoreIndex, renamedEntry } from './store-index.js';
import type { IndexEntry, NewEntry } from './store-index.js';
import { writeSummaries } from './summaries.js';

const LAYOUT = '{"imageLayoutVersion":"1.0.0"}';
const INDEX = 'index.json';
const MARKER = 'oci-layout';
const LOCK = 'store.lock';

export class ImageStore {
  readonly blobs: BlobStore;

  constructor(readonly root = defaultRoot()) {
    this.blobs = new BlobStore(root);
  }

  /** What it holds now; a store that is not there yet holds nothing. Raises EBADIMAGE, EACCES. */
  snapshot(): Snapshot {
    const file = path.join(this.root, INDEX);
    let bytes: Buffer | undefined;
    try {
      bytes = readFileSync(file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw fromSystemError(error, 'cannot read', file);
    }
    return new Snapshot(parseStoreIndex(bytes, file), this.blobs, this.root);
  }

  /** A change that is never made: to work out what one would do. */
  draft(): Draft {
    return new Draft(this.snapshot(), this);
  }

  /** Room for content on its way in; `dispose` it. Raises as the system does. */
  async stage(): Promise<Staging> {
    await this.#ensureLayout();
    return new Staging(path.join(this.root, 'tmp'), this.blobs, (diffIds) => this.#forget(diffIds));
  }

  /** What was derived from layers that no image has: an archive outside that has them derives it again. */
  #forget(diffIds: readonly string[]): void {
    try {
      const needed = neededBy(this, this.snapshot().entries).diffIds;
      for (const diffId of diffIds)
        if (!needed.has(diffId)) rmSync(layerDirectory(this.root, diffId), { recursive: true, force: true });
    } catch {
      // It stays until somebody prunes: what went wrong before is what is to be told.
    }
  }

  /**
   * Changes what the index says, alone: `change` sees the store as it is then. What was staged gets its names first. Raises what
   * `change` raises, and what the system says; the index is then as it was.
   */
  async update<T>(
    change: (draft: Draft) => T | Promise<T>,
    staging?: Staging,
    progress?: StagingProgress,
  ): Promise<T> {
    await this.#ensureLayout();
    await staging?.sync();
    for (;;) {
      const lock = await takeLock(path.join(this.root, LOCK));
      let missing: string[];
      try {
        missing = staging?.missing() ?? [];
        if (missing.length === 0) return await this.#change(change, staging);
      } finally {
        lock.release();
      }
      // Somebody removed the image that it belonged to since it was seen.
      await staging!.restage(missing, progress);
    }
  }

  async #change<T>(change: (draft: Draft) => T | Promise<T>, staging: Staging | undefined): Promise<T> {
    const draft = new Draft(this.snapshot(), this);
    const result = await change(draft);
    try {
      staging?.publish();
      if (draft.isChanged)
        replaceFileSync(
          path.join(this.root, INDEX),
          formatStoreIndex(draft.entries),
          path.join(this.root, 'tmp'),
        );
    } catch (error) {
      // Blobs that have their names already, without the index that was to mention them.
      if (staging !== undefined) await collectGarbage(this, draft.before.entries, {}).catch(() => {});
      throw fromSystemError(error, 'cannot write the store', this.root);
    }
    await draft.finish();
    if (draft.isChanged) {
      const after = draft.before.withEntries(draft.entries);
      writeSummaries(this.root, after.images, after.summaries);
    }
    return result;
  }

  async #ensureLayout(): Promise<void> {
    await Cache.open(this.root);
    try {
      mkdirSync(path.join(this.root, 'blobs', 'sha256'), { recursive: true });
      try {
        readFileSync(path.join(this.root, MARKER));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        const temporaries = path.join(this.root, 'tmp');
        // So that the first image outlives a power cut: the directories that lead to it.
        syncDirectory(this.blobs.directory);
        try {
          syncDirectory(path.dirname(this.root));
        } catch (error) {
          // One that may be passed through but not read.
          if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
        }
        // A layout has an index from the start: one that is missing later was lost.
        createFileSync(path.join(this.root, INDEX), formatStoreIndex([]), temporaries);
        replaceFileSync(path.join(this.root, MARKER), Buffer.from(LAYOUT), temporaries);
      }
    } catch (error) {
      throw fromSystemError(error, 'cannot write the store', this.root);
    }
  }
}

/** The index as it is going to be. */
export class Draft {
  entries: IndexEntry[];
  isChanged = false;
  readonly #after: ((collected: Collected) => void)[] = [];

  constructor(
    readonly before: Snapshot,
    private readonly store: ImageStore,
  ) {
    this.entries = [...before.entries];
  }

  /**
   * Adds an image, under a name or without one. Who had the name loses it, and stays as an image without a name when it
   * had no other; returns that entry, when it led elsewhere.
   */
  add(entry: NewEntry): IndexEntry | undefined {
    const made = makeEntry(entry);
    const moved = entry.name === undefined ? undefined : this.#free(entry.name, made);
    if (moved === made) return undefined;
    const { digest } = made.descriptor;
    // An image that has a name needs no entry without one, but what one of them says of how it was made is kept.
    const bare = this.entries.find((other) => isBare(other) && other.descriptor.digest === digest);
    if (entry.name === undefined && this.entries.some((other) => other.descriptor.digest === digest))
      return moved;
    if (bare !== undefined) this.entries = this.entries.filter((other) => other !== bare);
    const parent = entry.parent ?? this.#said(digest, 'parent');
    const buildKey = entry.buildKey ?? this.#said(digest, 'buildKey');
    this.entries.push(
      makeEntry({ ...entry, ...(parent ? { parent } : {}), ...(buildKey ? { buildKey } : {}) }),
    );
    this.isChanged = true;
    return moved;
  }

  /** Takes a name away; the image stays, without a name when it was the last. */
  untag(name: Reference): void {
    const wanted = formatReference(name);
    const entry = this.entries.find(
      (other) => other.name !== undefined && formatReference(other.name) === wanted,
    );
    if (entry !== undefined) this.#loseName(entry);
  }

  /** Takes all entries of these manifests out; the next collection removes what only they needed. */
  remove(isRemoved: (entry: IndexEntry) => boolean): void {
    const kept = this.entries.filter((entry) => !isRemoved(entry));
    this.isChanged ||= kept.length !== this.entries.length;
    this.entries = kept;
  }

  /** Once the index is written, blobs and derived files that nothing needs are removed; `done` is told what went. */
  collectAfterwards(done: (collected: Collected) => void = () => {}): void {
    this.#after.push(done);
  }

  /** What a collection would remove if this draft were written, and these containers were gone. */
  async wouldCollect(goneContainers: readonly string[] = []): Promise<Collected> {
    return collectGarbage(this.store, this.entries, { isDryRun: true, goneContainers });
  }

  /** @internal */
  async finish(): Promise<void> {
    if (this.#after.length === 0) return;
    const collected = await collectGarbage(this.store, this.entries, {});
    for (const done of this.#after) done(collected);
  }

  #said(digest: string, what: 'parent' | 'buildKey'): string | undefined {
    return this.before.entries.find(
      (other) => other.descriptor.digest === digest && other[what] !== undefined,
    )?.[what];
  }

  /** The entry that had the name; `made` itself where it has it already. */
  #free(name: Reference, made: IndexEntry): IndexEntry | undefined {
    const wanted = formatReference(name);
    const holder = this.entries.find(
      (other) => other.name !== undefined && formatReference(other.name) === wanted,
    );
    if (holder === undefined) return undefined;
    if (holder.descriptor.digest === made.descriptor.digest) return made;
    this.#loseName(holder);
    return holder;
  }

  #loseName(entry: IndexEntry): void {
    const isLast = this.entries.every(
      (other) => other === entry || other.descriptor.digest !== entry.descriptor.digest,
    );
    this.entries = this.entries.flatMap((other) =>
      other !== entry ? [other] : isLast ? [renamedEntry(entry, undefined)] : [],
    );
    this.isChanged = true;
  }
}

function isBare({ name, otherName }: IndexEntry): boolean {
  return name === undefined && otherName === undefined;
}
