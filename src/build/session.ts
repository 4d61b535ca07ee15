/** What all stages of one build share: images that are open, the cache, and the time. */
import { closeSync, rmSync } from 'node:fs';
import type { LayerBlob } from '../archive/image.js';
import { sweepPrivateMounts } from '../container/private-mount.js';
import { LaminaError } from '../errors.js';
import { openArchived } from '../image/open.js';
import type { OpenedImage } from '../image/open.js';
import { ImageView } from '../merge/view.js';
import { orphanedBundles, removeOrphan } from '../runtime/sweep.js';
import { Cache } from '../store/cache.js';
import { TarWriter } from '../tar/write.js';
import { openStoredManifest } from '../store/open-stored.js';
import type { Snapshot } from '../store/snapshot.js';
import { archivedState, commitState, layerBlob } from './commit.js';
import type { BuildContext } from './context.js';
import { writeLayerFile } from './layer-file.js';
import type { LayerFile } from './layer-file.js';
import type { BuildOptions } from './options.js';
import { diffIdsOf, imageState, scratchState } from './state.js';
import type { BuildState, Json } from './state.js';

/** What an earlier build made of the same. */
export interface Hit {
  /** The layer on top of what it was made from; undefined where the step changed nothing. */
  layer: LayerBlob | undefined;
  json: Json;
  imageId: string;
}

export class Session {
  readonly #closers: (() => void)[] = [];
  readonly #opened = new Map<string, Promise<OpenedImage>>();
  readonly #bases = new Map<string, Promise<BuildState>>();
  readonly #snapshot: Snapshot;
  #nothing: Promise<OpenedImage> | undefined;
  #commits: Promise<void> = Promise.resolve();

  private constructor(
    readonly options: BuildOptions,
    readonly context: BuildContext,
    readonly cache: Cache,
  ) {
    this.#snapshot = options.store.snapshot();
  }

  static async open(options: BuildOptions, context: BuildContext): Promise<Session> {
    // What killed builds left; containers are looked after by their own commands.
    for (const orphan of orphanedBundles()) if (orphan.container === undefined) await removeOrphan(orphan);
    await sweepPrivateMounts();
    return new Session(options, context, await Cache.open(options.store.root));
  }

  /** Seconds since the epoch: of what is made now. */
  get nowSec(): number {
    return this.options.epochSec ?? Math.floor(Date.now() / 1000);
  }

  get created(): string {
    const { epochSec } = this.options;
    return new Date(epochSec === undefined ? Date.now() : epochSec * 1000).toISOString();
  }

  /** The state that FROM an image begins with. Asked twice, it is opened once. Raises what `openImage` raises. */
  base(name: string, platform: string | undefined): Promise<BuildState> {
    if (name === 'scratch') return Promise.resolve(scratchState(this.options.platform));
    const key = `${name}\n${platform ?? ''}`;
    let found = this.#bases.get(key);
    if (found === undefined) {
      found = this.options.openImage(name, platform).then((opened) => {
        this.#closers.push(() => opened.close());
        return imageState(opened, opened.located.transport === 'store');
      });
      this.#bases.set(key, found);
    }
    return found;
  }

  /** A state as an image that can be read and mounted. */
  opened(state: BuildState): Promise<OpenedImage> {
    const key = diffIdsOf(state).join();
    let opened = this.#opened.get(key);
    if (opened === undefined) {
      const archived = archivedState(state);
      const located = {
        transport: 'store' as const,
        path: this.cache.root,
        reference: archived.imageId,
      };
      opened = openArchived({ name: 'build', located, archived }, this.cache).then((image) => {
        this.#closers.push(() => image.close());
        return image;
      });
      this.#opened.set(key, opened);
    }
    return opened;
  }

  /** An image that can be mounted and has nothing in it: of one layer, which is an empty tar. */
  nothing(): Promise<OpenedImage> {
    return (this.#nothing ??= (async () => {
      const file = await writeLayerFile(this.cache.root, (sink) => new TarWriter(sink).finish());
      try {
        return await this.opened({
          ...scratchState(this.options.platform),
          layers: [this.layer(file)],
        });
      } finally {
        rmSync(file.file, { force: true });
      }
    })());
  }

  async view(state: BuildState): Promise<ImageView> {
    const opened = await this.opened(state);
    return new ImageView(await opened.toc(), opened.sources);
  }

  /** What a step of this key made of `state`; undefined when none did, or it is gone. */
  find(key: string, state: BuildState): Hit | undefined {
    if (this.options.noCache) return undefined;
    const entry = this.#snapshot.entries.findLast(({ buildKey }) => buildKey === key);
    if (entry === undefined) return undefined;
    try {
      const { archived, close } = openStoredManifest(this.options.store, entry.descriptor.digest);
      const below = state.layers.length;
      const isOver =
        archived.layers.length - below <= 1 &&
        state.layers.every(({ diffId }, index) => archived.layers[index]?.diffId === diffId);
      if (!isOver) {
        close();
        return undefined;
      }
      this.#closers.push(close);
      const json = JSON.parse(archived.configBytes.toString('utf8')) as Json;
      return { layer: archived.layers[below], json, imageId: archived.imageId };
    } catch (error) {
      // Removed, or damaged, since the build began: it is made anew.
      if (error instanceof LaminaError) return undefined;
      throw error;
    }
  }

  /** The image that an earlier build made of the same; undefined when there is none. */
  findImage(key: string, diffIds: readonly string[]): string | undefined {
    if (this.options.noCache) return undefined;
    const entry = this.#snapshot.entries.findLast(({ buildKey }) => buildKey === key);
    if (entry === undefined) return undefined;
    try {
      const { manifest } = this.#snapshot.manifestOf(entry);
      return manifest.layers.length === diffIds.length ? manifest.config.digest : undefined;
    } catch (error) {
      if (error instanceof LaminaError) return undefined;
      throw error;
    }
  }

  /** A layer that was just written, as part of a state; closed with the session. */
  layer(file: LayerFile): LayerBlob {
    const layer = layerBlob(file);
    this.#closers.push(() => closeSync(layer.blob.fd));
    return layer;
  }

  /**
   * Brings a state into the store while the build goes on: waiting for the disk need not keep the next step. Returns it as the image that it
   * is going to be; `settled` tells whether it came to that.
   */
  commit(state: BuildState, key: string, layerFile: LayerFile | undefined): BuildState {
    const { imageId } = archivedState(state);
    const drop = (error: unknown): never => {
      if (layerFile !== undefined) rmSync(layerFile.file, { force: true });
      throw error;
    };
    // In the order of the steps, so that each finds its parent there.
    this.#commits = this.#commits
      .then(() => commitState(this.options.store, state, { key, layerFile }), drop)
      .then(() => {});
    this.#commits.catch(() => {});
    return { ...state, parent: imageId, isStored: true };
  }

  /** All that was committed is in the store. Raises ENOSPC and what the store raises. */
  settled(): Promise<void> {
    return this.#commits;
  }

  /** For views of sources, which are read until the layer is written. */
  onClose(close: () => void): void {
    this.#closers.push(close);
  }

  close(): void {
    for (const close of this.#closers.splice(0).reverse()) close();
  }
}
