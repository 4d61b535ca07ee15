/**
 * Which names and images go when images are removed: docker's rules and words (moby daemon/images/image_delete.go), worked out on a model of
 * the store, so that a dry run shows exactly what is then done.
 */
import { LaminaError } from '../errors.js';
import { chainIds } from '../oci/digest.js';
import { familiarReference, formatReference, tryParseReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { Draft } from '../store/image-store.js';
import type { Snapshot } from '../store/snapshot.js';
import type { StoredImage } from '../store/stored-image.js';
import type { ImageUse } from './usage.js';

/** A line of what docker prints. */
export type RemovalRecord = { untagged: string } | { deleted: string };

export interface RemoveOptions {
  isForced?: boolean;
  /** Whether parents that nothing needs any more go too; true when absent. */
  prunesParents?: boolean;
}

/** An image as the removals so far have left it. */
interface Model {
  image: StoredImage;
  names: Reference[];
}

export class Removal {
  readonly #images = new Map<string, Model>();
  readonly #untagged: Reference[] = [];
  readonly #deleted = new Map<string, StoredImage>();
  readonly #changed = new Set<string>();

  constructor(
    private readonly snapshot: Snapshot,
    private readonly uses: readonly ImageUse[],
  ) {
    for (const image of snapshot.images) {
      const names = image.entries.flatMap(({ name }) => (name === undefined ? [] : [name]));
      this.#images.set(image.imageId, { image, names });
    }
  }

  /** Names and IDs as `rmi` takes them. Raises ENOIMAGE, ECONFLICT; nothing is changed then. */
  remove(text: string, options: RemoveOptions = {}): RemovalRecord[] {
    const found = this.snapshot.get(text);
    const model = this.#images.get(found.image.imageId);
    if (model === undefined) throw noSuch(text);
    const records: RemovalRecord[] = [];
    const { isForced = false, prunesParents = true } = options;
    if (found.name === undefined) {
      if (isSingle(model.names)) {
        this.#check(model, { isForced, ignoresNames: true });
        for (const name of [...model.names]) this.#untag(model, name, records);
      }
      this.#delete(model, records, { isForced, prunesParents, isQuiet: false });
      return records;
    }
    const name = model.names.find((own) => formatReference(own) === formatReference(found.name!));
    // A digest that the name was found by, without being one of its names.
    const tagged = name ?? namesOf(model, tryParseReference(text))[0];
    if (tagged === undefined) throw noSuch(text);
    if (!isForced && isSingle(model.names)) this.#refuseWhileUsed(model, text);
    this.#untag(model, tagged, records);
    if (tagged.digest === undefined) this.#untagDigests(model, tagged, records);
    if (model.names.length === 0) this.#delete(model, records, { isForced, prunesParents, isQuiet: true });
    return records;
  }

  /** Removes an image with all its names, unless it is in use: what `prune` does. What others were made from loses its names alone. */
  prune(image: StoredImage): RemovalRecord[] {
    const model = this.#images.get(image.imageId);
    if (model === undefined || this.isUsed(image)) return [];
    const records: RemovalRecord[] = [];
    for (const name of [...model.names]) this.#untag(model, name, records);
    this.#delete(model, records, { isForced: false, prunesParents: true, isQuiet: true });
    return records;
  }

  /** IDs of images that go or lose a name. */
  get changedIds(): string[] {
    return [...this.#changed];
  }

  /** Images that go, in the order in which that was worked out. */
  get deletedImages(): StoredImage[] {
    return [...this.#deleted.values()];
  }

  /** Whether another image was made from it here. */
  hasChildren({ imageId }: StoredImage): boolean {
    return [...this.#images.values()].some(({ image }) => image.parent === imageId);
  }

  isUsed({ imageId }: StoredImage): boolean {
    return this.uses.some((use) => use.imageId === imageId);
  }

  /** Does to the index what was worked out; blobs that nothing needs go with it. */
  apply(draft: Draft): void {
    for (const name of this.#untagged) draft.untag(name);
    const gone = new Set([...this.#deleted.values()].flatMap(({ entries }) => entries));
    const digests = new Set([...gone].map(({ descriptor }) => descriptor.digest));
    draft.remove((entry) => digests.has(entry.descriptor.digest));
  }

  /** Layers that no image, and no container, has any more, top first, as docker lists them after each image. */
  #freedChains(image: StoredImage): string[] {
    const needed = new Set<string>();
    for (const { image: other } of this.#images.values())
      for (const chainId of chainIds(other.config.rootfs.diffIds)) needed.add(chainId);
    for (const { diffIds } of this.uses) for (const chainId of chainIds(diffIds)) needed.add(chainId);
    return chainIds(image.config.rootfs.diffIds)
      .reverse()
      .filter((chainId) => !needed.has(chainId));
  }

  #delete(
    model: Model,
    records: RemovalRecord[],
    options: { isForced: boolean; prunesParents: boolean; isQuiet: boolean },
  ): void {
    const conflict = this.#conflict(model, { isForced: options.isForced, ignoresNames: false });
    if (conflict !== undefined) {
      const isDangling = model.names.length === 0 && !this.hasChildren(model.image);
      if (options.isQuiet && (!isDangling || conflict.isUse)) return;
      throw conflict.error;
    }
    for (const name of [...model.names]) this.#untag(model, name, records);
    const { image } = model;
    this.#images.delete(image.imageId);
    this.#deleted.set(image.imageId, image);
    this.#changed.add(image.imageId);
    records.push({ deleted: image.imageId });
    for (const chainId of this.#freedChains(image)) records.push({ deleted: chainId });
    const parent = image.parent === undefined ? undefined : this.#images.get(image.parent);
    // A parent goes when it has no name, no other child and no container.
    if (options.prunesParents && parent?.names.length === 0)
      this.#delete(parent, records, { isForced: false, prunesParents: true, isQuiet: true });
  }

  #untag(model: Model, name: Reference, records: RemovalRecord[]): void {
    model.names = model.names.filter((other) => other !== name);
    this.#untagged.push(name);
    this.#changed.add(model.image.imageId);
    records.push({ untagged: familiarReference(name) });
  }

  /** Digests of a repository whose last tag has gone. */
  #untagDigests(model: Model, { domain, path }: Reference, records: RemovalRecord[]): void {
    const same = model.names.filter((name) => name.domain === domain && name.path === path);
    if (same.some(({ digest }) => digest === undefined)) return;
    for (const name of same) this.#untag(model, name, records);
  }

  #check(model: Model, how: { isForced: boolean; ignoresNames: boolean }): void {
    const conflict = this.#conflict(model, how);
    if (conflict !== undefined) throw conflict.error;
  }

  #conflict(
    { image, names }: Model,
    { isForced, ignoresNames }: { isForced: boolean; ignoresNames: boolean },
  ): { error: LaminaError; isUse: boolean } | undefined {
    const conflict = (
      what: string,
      canForce: boolean,
      isUse: boolean,
    ): { error: LaminaError; isUse: boolean } => ({
      error: new LaminaError(
        'ECONFLICT',
        `conflict: unable to delete ${short(image.imageId)} (${canForce ? 'must be forced' : 'cannot be forced'}) - ${what}`,
        { digest: image.imageId },
      ),
      isUse,
    });
    const use = (kind: ImageUse['kind']): ImageUse | undefined =>
      this.uses.find((other) => other.imageId === image.imageId && other.kind === kind);
    if (this.hasChildren(image)) return conflict('image has dependent child images', false, false);
    const running = use('running');
    if (running !== undefined)
      return conflict(`image is being used by running container ${short(running.by)}`, false, true);
    if (isForced) return undefined;
    if (!ignoresNames && names.length > 1)
      return conflict('image is referenced in multiple repositories', true, false);
    const stopped = use('stopped');
    if (stopped !== undefined)
      return conflict(`image is being used by stopped container ${short(stopped.by)}`, true, true);
    const mount = use('mount');
    // docker has no such thing. By force the image goes; the mount keeps its files open.
    return mount === undefined ? undefined : conflict(`image is mounted on ${mount.by}`, true, true);
  }

  /** Untagging it would leave an image without a name under a container. */
  #refuseWhileUsed({ image }: Model, text: string): void {
    const use = this.uses.find(({ imageId }) => imageId === image.imageId);
    if (use === undefined) return;
    const user = use.kind === 'mount' ? `mount ${use.by}` : `container ${short(use.by)}`;
    throw new LaminaError(
      'ECONFLICT',
      `conflict: unable to remove repository reference "${text}" (must force) - ${user} is using its referenced image ${short(image.imageId)}`,
      { digest: image.imageId },
    );
  }
}

/** At most one tag, and all digests of the same repository. */
function isSingle(names: readonly Reference[]): boolean {
  if (names.length <= 1) return true;
  const tags = names.filter(({ digest }) => digest === undefined);
  if (tags.length > 1) return false;
  const [{ domain, path }] = [tags[0] ?? names[0]!];
  return names.every((name) => name.domain === domain && name.path === path);
}

function namesOf({ names }: Model, wanted: Reference | undefined): Reference[] {
  return names.filter(({ domain, path }) => domain === wanted?.domain && path === wanted.path);
}

function short(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

function noSuch(text: string): LaminaError {
  return new LaminaError('ENOIMAGE', `No such image: ${text}`);
}
