/**
 * `prune`: what nothing uses. Each kind is worked out first, which is what a dry run and the question to the user are about, and then done
 * under the store's lock, where it is worked out again: nothing goes that was not in the plan, and nothing that is used by then.
 */
import { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import { filterImages } from '../image/list.js';
import { diskBytes } from '../store/collect.js';
import type { Collected } from '../store/collect.js';
import type { ContainerRecord } from '../store/container-record.js';
import { derivedFiles, olderThan, removeDerived } from '../store/derived.js';
import type { DerivedFile } from '../store/derived.js';
import type { Draft, ImageStore } from '../store/image-store.js';
import type { IndexEntry } from '../store/store-index.js';
import type { StoredImage } from '../store/stored-image.js';
import { Removal } from './removal.js';
import type { RemovalRecord } from './removal.js';
import { imageUses } from './usage.js';

export interface PruneFilter {
  /** Milliseconds since the epoch: made at that time or before. */
  untilMs?: number;
  labels?: readonly string[];
  withoutLabels?: readonly string[];
}

export interface ImagePrune {
  /** Images that go, or lose their names because others were made from them. */
  imageIds: string[];
  records: RemovalRecord[];
  /** Blobs that no image had. */
  orphans: string[];
  reclaimedBytes: number;
  /** Why no blob went, or would go. */
  refused: LaminaError | undefined;
}

export interface ImagePruneOptions extends PruneFilter {
  /** Also images that have a name, where no container and no mount uses them. */
  isAll?: boolean;
}

/** What `pruneImages` would do now; nothing is changed. */
export async function planImagePrune(store: ImageStore, options: ImagePruneOptions): Promise<ImagePrune> {
  return (await planWithout(store, options, [])).plan;
}

/** As if these containers were gone. */
async function planWithout(
  store: ImageStore,
  options: ImagePruneOptions,
  goneContainers: readonly string[],
): Promise<{ plan: ImagePrune; entries: readonly IndexEntry[]; derived: readonly string[] }> {
  const draft = store.draft();
  const pruned = await prune(store, draft, options, undefined, goneContainers);
  const collected = await draft.wouldCollect(goneContainers);
  return { plan: withCollected(pruned, collected), entries: draft.entries, derived: collected.derived };
}

export interface SystemPrune {
  containers: ContainerPrune;
  images: ImagePrune;
  derived: DerivedFile[];
}

/** Containers first, then images, some of which they used, then what is derived from neither. Nothing is changed. */
export async function planSystemPrune(store: ImageStore, options: ImagePruneOptions): Promise<SystemPrune> {
  const containers = await stoppedContainers(store.root, options);
  const images = await planWithout(store, options, containers.removed);
  const alsoGone = new Set(images.derived);
  const derived = unneededDerived(store, options, images.entries, containers.removed);
  return { containers, images: images.plan, derived: derived.filter(({ name }) => !alsoGone.has(name)) };
}

/** Does what was planned, as far as it is still unused. */
export async function pruneSystem(
  store: ImageStore,
  options: ImagePruneOptions,
  plan: SystemPrune,
): Promise<SystemPrune> {
  const containers = await removeContainers(store.root, plan.containers);
  const images = await pruneImages(store, options, plan.images.imageIds);
  return { containers, images, derived: await pruneDerived(store, plan.derived) };
}

/** @param only IDs of images; no other goes */
export async function pruneImages(
  store: ImageStore,
  options: ImagePruneOptions,
  only?: readonly string[],
): Promise<ImagePrune> {
  let collected: Collected | undefined;
  const done = await store.update(async (draft) => {
    draft.collectAfterwards((said) => (collected = said));
    return prune(store, draft, options, only, []);
  });
  return withCollected(done, collected!);
}

type Pruned = Pick<ImagePrune, 'imageIds' | 'records'> & { digests: Set<string> };

async function prune(
  store: ImageStore,
  draft: Draft,
  options: ImagePruneOptions,
  only: readonly string[] | undefined,
  goneContainers: readonly string[],
): Promise<Pruned> {
  const snapshot = draft.before;
  const uses = (await imageUses(store.root)).filter(({ by }) => !goneContainers.includes(by));
  const removal = new Removal(snapshot, uses);
  const { untilMs, ...rest } = options;
  const parents = new Set(snapshot.images.map(({ parent }) => parent));
  // docker: made after that time is kept, where `images` wants what was made before.
  const filter = { ...rest, ...(untilMs === undefined ? {} : { untilMs: untilMs + 1 }) };
  const fits = filterImages(snapshot, filter, parents);
  const isWanted = (image: StoredImage): boolean => {
    const hasName = image.tags.length > 0 || image.entries.some(({ otherName }) => otherName !== undefined);
    const isIntermediate = image.isDangling && parents.has(image.imageId);
    return fits(image) && !isIntermediate && (options.isAll === true || !hasName);
  };
  const pruned: Pruned = { imageIds: [], records: [], digests: new Set() };
  const order = [...snapshot.images].sort(
    (a, b) => b.createdMs - a.createdMs || (a.imageId < b.imageId ? -1 : 1),
  );
  for (const image of order) {
    if (!isWanted(image) || only?.includes(image.imageId) === false) continue;
    pruned.records.push(...removal.prune(image));
  }
  pruned.imageIds = removal.changedIds;
  for (const image of removal.deletedImages)
    for (const { digest } of [image.descriptor, image.manifest.config, ...image.manifest.layers])
      pruned.digests.add(digest);
  for (const { entries } of removal.deletedImages)
    for (const { descriptor } of entries) pruned.digests.add(descriptor.digest);
  removal.apply(draft);
  return pruned;
}

function withCollected({ imageIds, records, digests }: Pruned, collected: Collected): ImagePrune {
  const { blobs, reclaimedBytes, refused } = collected;
  const orphans = blobs.filter((digest) => !digests.has(digest)).sort();
  return { imageIds, records, orphans, reclaimedBytes, refused };
}

export interface ContainerPrune {
  /** IDs. */
  removed: string[];
  reclaimedBytes: number;
}

/** What `pruneContainers` would do now; nothing is changed. */
export async function planContainerPrune(images: ImageStore, filter: PruneFilter): Promise<ContainerPrune> {
  const plan = await stoppedContainers(images.root, filter);
  if (plan.removed.length > 0)
    plan.reclaimedBytes += (await images.draft().wouldCollect(plan.removed)).reclaimedBytes;
  return plan;
}

/** Containers that are not mounted and fit the filter, newest first. */
async function stoppedContainers(root: string, filter: PruneFilter): Promise<ContainerPrune> {
  const store = new ContainerStore(root);
  const plan: ContainerPrune = { removed: [], reclaimedBytes: 0 };
  for (const record of await store.list()) {
    if (!fitsContainer(record, filter) || (await store.isMounted(record))) continue;
    plan.removed.push(record.id);
    plan.reclaimedBytes += diskBytes(store.upperOf(record));
  }
  return plan;
}

/** Removes those of the plan that are not mounted now; blobs that they alone held go too. */
export async function pruneContainers(images: ImageStore, plan: ContainerPrune): Promise<ContainerPrune> {
  const done = await removeContainers(images.root, plan);
  if (done.removed.length > 0) done.reclaimedBytes += (await collectBlobs(images)).reclaimedBytes;
  return done;
}

async function removeContainers(root: string, plan: ContainerPrune): Promise<ContainerPrune> {
  const store = new ContainerStore(root);
  const done: ContainerPrune = { removed: [], reclaimedBytes: 0 };
  for (const record of await store.list()) {
    if (!plan.removed.includes(record.id)) continue;
    const sizeBytes = diskBytes(store.upperOf(record));
    try {
      await store.remove(record);
    } catch (error) {
      // Mounted, or removed, since it was listed.
      if (error instanceof LaminaError && ['EINUSE', 'ENOCONTAINER'].includes(error.code)) continue;
      throw error;
    }
    done.removed.push(record.id);
    done.reclaimedBytes += sizeBytes;
  }
  return done;
}

function fitsContainer({ createdAt, labels }: ContainerRecord, filter: PruneFilter): boolean {
  const has = (text: string): boolean => {
    const [key = '', wanted] = text.split(/=(.*)/s);
    return Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
  };
  return (
    (filter.untilMs === undefined || Date.parse(createdAt) <= filter.untilMs) &&
    (filter.labels ?? []).every(has) &&
    !(filter.withoutLabels ?? []).some(has)
  );
}

/** Removes blobs that nothing needs, as after a container whose image was removed before it. */
export async function collectBlobs(images: ImageStore): Promise<Collected> {
  let collected: Collected | undefined;
  await images.update((draft) => draft.collectAfterwards((said) => (collected = said)));
  return collected!;
}

/** Derived data that no image and no container needs; nothing where labels are asked for, which it has none of. */
function unneededDerived(
  store: ImageStore,
  filter: PruneFilter,
  entries: readonly IndexEntry[],
  goneContainers: readonly string[],
): DerivedFile[] {
  if ((filter.labels ?? []).length > 0 || (filter.withoutLabels ?? []).length > 0) return [];
  try {
    const { unneeded } = derivedFiles(store, entries, goneContainers);
    return filter.untilMs === undefined ? unneeded : olderThan(store.root, unneeded, filter.untilMs);
  } catch (error) {
    // Something cannot be read: nobody knows what it needs.
    if (error instanceof LaminaError) return [];
    throw error;
  }
}

/** Removes those of the plan that are not needed by now. */
async function pruneDerived(store: ImageStore, plan: readonly DerivedFile[]): Promise<DerivedFile[]> {
  const names = new Set(plan.map(({ name }) => name));
  return store.update((draft) => {
    const unneeded = unneededDerived(store, {}, draft.entries, []);
    const done = unneeded.filter(({ name }) => names.has(name));
    removeDerived(store.root, done);
    return done;
  });
}
