/** `system df`: what the store takes on the disk. Bytes that several images share are counted once (moby daemon/disk_usage.go). */
import path from 'node:path';
import { ContainerStore } from '../container/store.js';
import type { ContainerRecord } from '../store/container-record.js';
import { LaminaError } from '../errors.js';
import { diskBytes } from '../store/collect.js';
import { derivedFiles } from '../store/derived.js';
import type { ImageStore } from '../store/image-store.js';
import type { StoredImage } from '../store/stored-image.js';
import { imageUses } from './usage.js';

export interface UsedImage {
  image: StoredImage;
  /** Blobs and what was derived from its layers. */
  sizeBytes: number;
  /** Of those, what another image has as well. */
  sharedBytes: number;
  /** How many use it. */
  containers: number;
}

export interface UsedContainer {
  record: ContainerRecord;
  isMounted: boolean;
  sizeBytes: number;
}

export interface DiskUsage {
  images: UsedImage[];
  /** Of all images together. */
  imageBytes: number;
  /** Of images that nothing uses, as far as no used one has it too. */
  reclaimableImageBytes: number;
  containers: UsedContainer[];
  derived: { count: number; neededCount: number; sizeBytes: number; reclaimableBytes: number };
}

/** Raises as the system does. */
export async function diskUsage(store: ImageStore): Promise<DiskUsage> {
  const snapshot = store.snapshot();
  const uses = await imageUses(store.root);
  const owners = new Map<string, number>();
  const used = new Set<string>();
  const files = new Map<string, number>();
  const disks: { image: StoredImage; disk: ReadonlyMap<string, number>; containers: number }[] = [];
  for (const image of snapshot.images) {
    const users = uses.filter(({ imageId }) => imageId === image.imageId);
    let disk: ReadonlyMap<string, number>;
    try {
      disk = image.disk();
    } catch (error) {
      // Damaged, which a check tells of.
      if (!(error instanceof LaminaError)) throw error;
      continue;
    }
    for (const [file, sizeBytes] of disk) {
      files.set(file, sizeBytes);
      owners.set(file, (owners.get(file) ?? 0) + 1);
      if (users.length > 0) used.add(file);
    }
    disks.push({ image, disk, containers: users.filter(({ kind }) => kind !== 'mount').length });
  }
  const sum = (of: ReadonlyMap<string, number>, isCounted: (file: string) => boolean): number =>
    [...of].reduce((total, [file, sizeBytes]) => total + (isCounted(file) ? sizeBytes : 0), 0);
  return {
    images: disks.map(({ image, disk, containers }) => ({
      image,
      containers,
      sizeBytes: sum(disk, () => true),
      sharedBytes: sum(disk, (file) => owners.get(file)! > 1),
    })),
    imageBytes: sum(files, () => true),
    reclaimableImageBytes: sum(files, (file) => !used.has(file)),
    containers: await usedContainers(store.root),
    derived: derivedUsage(store, new Set(files.keys())),
  };
}

async function usedContainers(root: string): Promise<UsedContainer[]> {
  const store = new ContainerStore(root);
  const found: UsedContainer[] = [];
  for (const record of await store.list())
    found.push({
      record,
      isMounted: await store.isMounted(record),
      sizeBytes: diskBytes(store.upperOf(record)),
    });
  return found;
}

/** Merged TOCs, archives, and layers of none of the images; the inflated layers of images are counted there. */
function derivedUsage(store: ImageStore, counted: ReadonlySet<string>): DiskUsage['derived'] {
  try {
    const { needed, unneeded } = derivedFiles(store, store.snapshot().entries);
    const own = needed.map(({ name, sizeBytes }) => {
      const data = path.join(store.root, name, 'data');
      return sizeBytes - (counted.has(data) ? diskBytes(data) : 0);
    });
    const reclaimableBytes = unneeded.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    return {
      count: needed.length + unneeded.length,
      neededCount: needed.length,
      sizeBytes: own.reduce((total, sizeBytes) => total + sizeBytes, reclaimableBytes),
      reclaimableBytes,
    };
  } catch (error) {
    if (error instanceof LaminaError) return { count: 0, neededCount: 0, sizeBytes: 0, reclaimableBytes: 0 };
    throw error;
  }
}
