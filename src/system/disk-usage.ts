/** `system df`: what takes room in the store. Every file is counted once, whoever shares it. */
import path from 'node:path';
import { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import { namesIn } from '../store/blobs.js';
import { diskBytes } from '../store/collect.js';
import type { ContainerRecord } from '../store/container-record.js';
import { DERIVED_DIRECTORIES, derivedFiles } from '../store/derived.js';
import type { DerivedFile } from '../store/derived.js';
import type { ImageStore } from '../store/image-store.js';
import { neededBy } from '../store/needed.js';
import type { Snapshot } from '../store/snapshot.js';
import type { StoredImage } from '../store/stored-image.js';
import { imageUses } from './usage.js';
import type { ImageUse } from './usage.js';

export interface DiskUsage {
  /** Blobs, also those that nothing leads to. */
  images: Usage<ImageDiskUsage>;
  /** What containers wrote. */
  containers: Usage<ContainerDiskUsage>;
  /** What can be made again. */
  derived: Usage<DerivedDiskUsage>;
}

export interface Usage<Item> {
  items: Item[];
  activeCount: number;
  sizeBytes: number;
  reclaimableBytes: number;
}

export interface ImageDiskUsage {
  image: StoredImage;
  /** In blobs that other images have too, and in its own alone. */
  sharedBytes: number;
  uniqueBytes: number;
  /** How many use it. */
  containerCount: number;
}

export interface ContainerDiskUsage {
  record: ContainerRecord;
  isMounted: boolean;
  sizeBytes: number;
}

export interface DerivedDiskUsage extends DerivedFile {
  isNeeded: boolean;
}

/** Raises as the system does. Images that cannot be read are not listed; their blobs are counted. */
export async function diskUsage(store: ImageStore): Promise<DiskUsage> {
  const snapshot = store.snapshot();
  const uses = await imageUses(store.root);
  return {
    images: imageUsage(store, snapshot, uses),
    containers: await containerUsage(store.root),
    derived: derivedUsage(store, snapshot),
  };
}

function imageUsage(store: ImageStore, snapshot: Snapshot, uses: readonly ImageUse[]): Usage<ImageDiskUsage> {
  const sizes = new Map(store.blobs.list().map((digest) => [digest, store.blobs.sizeOf(digest) ?? 0]));
  const sizeOf = (digests: Iterable<string>): number =>
    [...digests].reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0);
  const blobsOf = new Map<StoredImage, Set<string>>();
  const sharers = new Map<string, number>();
  for (const image of snapshot.images) {
    const digests = blobsOfImage(image);
    if (digests === undefined) continue;
    blobsOf.set(image, digests);
    for (const digest of digests) sharers.set(digest, (sharers.get(digest) ?? 0) + 1);
  }
  const items = [...blobsOf].map(([image, digests]) => ({
    image,
    sharedBytes: sizeOf([...digests].filter((digest) => sharers.get(digest)! > 1)),
    uniqueBytes: sizeOf([...digests].filter((digest) => sharers.get(digest) === 1)),
    containerCount: uses.filter(({ imageId, kind }) => imageId === image.imageId && kind !== 'mount').length,
  }));
  const used = new Set(uses.map(({ imageId }) => imageId));
  return {
    items,
    activeCount: items.filter(({ image }) => used.has(image.imageId)).length,
    sizeBytes: sizeOf(sizes.keys()),
    reclaimableBytes: sizeOf(reclaimable(store, snapshot, used)),
  };
}

/** undefined when it cannot be read. */
function blobsOfImage(image: StoredImage): Set<string> | undefined {
  try {
    const { descriptor, manifest, entries } = image;
    const documents = [...entries.map((entry) => entry.descriptor), descriptor, manifest.config];
    return new Set([...documents, ...manifest.layers].map(({ digest }) => digest));
  } catch (error) {
    if (error instanceof LaminaError) return undefined;
    throw error;
  }
}

/** Blobs that would go with all images that nobody uses. What is no image stays, and so does all when something cannot be read. */
function reclaimable(store: ImageStore, snapshot: Snapshot, used: ReadonlySet<string>): string[] {
  const kept = new Set(used);
  // Parents of what stays, stay.
  for (let size = -1; size !== kept.size;) {
    size = kept.size;
    for (const { imageId, parent } of snapshot.images)
      if (parent !== undefined && kept.has(imageId)) kept.add(parent);
  }
  const free = snapshot.images.filter(({ imageId }) => !kept.has(imageId));
  const gone = new Set(free.flatMap(({ entries }) => entries));
  try {
    const { blobs } = neededBy(
      store,
      snapshot.entries.filter((entry) => !gone.has(entry)),
    );
    return store.blobs.list().filter((digest) => !blobs.has(digest));
  } catch (error) {
    if (error instanceof LaminaError) return [];
    throw error;
  }
}

async function containerUsage(root: string): Promise<Usage<ContainerDiskUsage>> {
  const store = new ContainerStore(root);
  const items: ContainerDiskUsage[] = [];
  for (const record of await store.list()) {
    const isMounted = await store.isMounted(record);
    items.push({ record, isMounted, sizeBytes: diskBytes(store.upperOf(record)) });
  }
  return summed(items, ({ isMounted }) => isMounted);
}

function derivedUsage(store: ImageStore, { entries }: Snapshot): Usage<DerivedDiskUsage> {
  let items: DerivedDiskUsage[];
  try {
    const { needed, unneeded } = derivedFiles(store, entries);
    items = [
      ...needed.map((file) => ({ ...file, isNeeded: true })),
      ...unneeded.map((file) => ({ ...file, isNeeded: false })),
    ];
  } catch (error) {
    if (!(error instanceof LaminaError)) throw error;
    // Nobody knows what is needed.
    items = DERIVED_DIRECTORIES.flatMap((directory) =>
      namesIn(path.join(store.root, directory)).map((name) => ({
        name: `${directory}/${name}`,
        sizeBytes: diskBytes(path.join(store.root, directory, name)),
        isNeeded: true,
      })),
    );
  }
  return summed(items, ({ isNeeded }) => isNeeded);
}

function summed<Item extends { sizeBytes: number }>(
  items: Item[],
  isActive: (item: Item) => boolean,
): Usage<Item> {
  const sum = (some: readonly Item[]): number => some.reduce((all, { sizeBytes }) => all + sizeBytes, 0);
  const active = items.filter(isActive);
  const sizeBytes = sum(items);
  return { items, activeCount: active.length, sizeBytes, reclaimableBytes: sizeBytes - sum(active) };
}
