/** An image of the store as a snapshot of the index shows it. What it says about itself is read when it is asked for. */
import { LaminaError } from '../errors.js';
import { parseConfig } from '../oci/config.js';
import type { ImageConfig } from '../oci/config.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseIndex } from '../oci/image-index.js';
import { parseManifest } from '../oci/manifest.js';
import type { Manifest } from '../oci/manifest.js';
import { documentKind } from '../oci/media-types.js';
import { hostPlatform, platformRank } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { BlobStore } from './blobs.js';
import { readLayerFacts } from './layer-facts.js';
import type { IndexEntry } from './store-index.js';
import type { ImageSummary } from './summaries.js';

/** All entries of the index that lead to one image, in the order in which they were named. */
export class StoredImage {
  #resolved: ResolvedManifest | undefined;
  #config: { config: ImageConfig; bytes: Buffer } | undefined;

  constructor(
    /** Config digest. */
    readonly imageId: string,
    readonly entries: readonly IndexEntry[],
    private readonly known: ImageSummary | undefined,
    private readonly blobs: BlobStore,
    private readonly root: string,
  ) {}

  /** Of the first entry; other entries may lead to other manifests with the same config. Raises EBLOB, EDIGEST, EBADIMAGE. */
  get descriptor(): Descriptor {
    return this.#resolve().descriptor;
  }

  /** As `descriptor`. */
  get manifest(): Manifest {
    return this.#resolve().manifest;
  }

  /** Of all entries that lead to a manifest by themselves. */
  get manifestDigests(): string[] {
    const direct = this.entries.filter(({ descriptor }) => documentKind(descriptor.mediaType) === 'manifest');
    return [...new Set(direct.map(({ descriptor }) => descriptor.digest))];
  }

  /** Its tagged names, as people type them. */
  get tags(): string[] {
    return this.names(({ tag, digest }) => tag !== undefined && digest === undefined);
  }

  /** `name@sha256:...`, as people type them. */
  get digestNames(): string[] {
    return this.names(({ digest }) => digest !== undefined);
  }

  /** No name of any kind keeps it. */
  get isDangling(): boolean {
    return this.entries.every(({ name, otherName }) => name === undefined && otherName === undefined);
  }

  /** Config digest of the image that it was made from here, by commit or build. */
  get parent(): string | undefined {
    return this.entries.find(({ parent }) => parent !== undefined)?.parent;
  }

  /** ISO 8601; undefined when it never had a name. */
  get taggedAt(): string | undefined {
    return this.entries
      .flatMap(({ taggedAt }) => taggedAt ?? [])
      .sort()
      .at(-1);
  }

  /** Raises EBLOB, EDIGEST, EBADIMAGE. */
  get config(): ImageConfig {
    return this.#load().config;
  }

  get configBytes(): Buffer {
    return this.#load().bytes;
  }

  /** Milliseconds since the epoch; what never was is from year one, as in docker. */
  get createdMs(): number {
    if (this.known !== undefined) return this.known.createdMs;
    const ms = Date.parse(this.config.created ?? '');
    return Number.isNaN(ms) ? ZERO_TIME_MS : ms;
  }

  /** Content of all layers, as docker counts it: what their files hold, each layer by itself. */
  get sizeBytes(): number {
    return this.known?.sizeBytes ?? this.layerSizes().reduce((sum, size) => sum + size, 0);
  }

  get labels(): ReadonlyMap<string, string> {
    return this.known === undefined ? this.config.config.labels : new Map(Object.entries(this.known.labels));
  }

  /** @internal */
  summary(): ImageSummary {
    if (this.known?.sizeBytes !== undefined) return this.known;
    const { createdMs, imageId } = this;
    const isKnown = this.config.rootfs.diffIds.every(
      (diffId) => readLayerFacts(this.root, diffId) !== undefined,
    );
    return {
      ...{ imageId, createdMs, labels: Object.fromEntries(this.config.config.labels) },
      ...(isKnown ? { sizeBytes: this.sizeBytes } : {}),
    };
  }

  /** Content of each layer, bottom to top; what the blob takes where the layer has not been looked into. */
  layerSizes(): number[] {
    const { diffIds } = this.config.rootfs;
    return this.manifest.layers.map(
      (layer, index) => readLayerFacts(this.root, diffIds[index] ?? '')?.contentBytes ?? layer.sizeBytes,
    );
  }

  private names(isWanted: (name: Reference) => boolean): string[] {
    const names = this.entries.flatMap(({ name }) => (name !== undefined && isWanted(name) ? [name] : []));
    return [...new Set(names.map(familiarReference))];
  }

  #resolve(): ResolvedManifest {
    return (this.#resolved ??= resolveManifest(this.blobs, this.entries[0]!.descriptor, undefined));
  }

  #load(): { config: ImageConfig; bytes: Buffer } {
    if (this.#config !== undefined) return this.#config;
    const bytes = this.blobs.document(this.imageId);
    this.#config = { bytes, config: parseConfig(bytes, `config ${this.imageId}`) };
    return this.#config;
  }
}

const ZERO_TIME_MS = Date.parse('0001-01-01T00:00:00Z');

export interface ResolvedManifest {
  descriptor: Descriptor;
  manifest: Manifest;
}

/**
 * The manifest that an entry leads to, through indexes of several platforms when another tool put one there: the one for
 * `wanted`, else for this host, else the first that is there. Raises EBLOB, EDIGEST, EBADIMAGE, EMEDIATYPE.
 */
export function resolveManifest(
  blobs: BlobStore,
  entry: Descriptor,
  wanted: Platform | undefined,
): ResolvedManifest {
  let descriptor = entry;
  for (let depth = 0; documentKind(descriptor.mediaType) === 'index'; depth++) {
    const { manifests } = parseIndex(blobs.document(descriptor.digest), `index ${descriptor.digest}`);
    const present = manifests.filter(
      ({ digest, platform }) => blobs.has(digest) && platform?.os !== 'unknown',
    );
    const best =
      bestFor(wanted ?? hostPlatform(), present) ?? (wanted === undefined ? present[0] : undefined);
    if (best === undefined || depth > MAX_DEPTH)
      throw new LaminaError('EBLOB', `no image of the index ${descriptor.digest} is in the store`, {
        digest: descriptor.digest,
      });
    descriptor = best;
  }
  const bytes = blobs.document(descriptor.digest);
  return { descriptor, manifest: parseManifest(bytes, `manifest ${descriptor.digest}`) };
}

const MAX_DEPTH = 8;

function bestFor(wanted: Platform, descriptors: readonly Descriptor[]): Descriptor | undefined {
  let best: { descriptor: Descriptor; rank: number } | undefined;
  for (const descriptor of descriptors) {
    const rank = descriptor.platform === undefined ? undefined : platformRank(descriptor.platform, wanted);
    if (rank !== undefined && (best === undefined || rank < best.rank)) best = { descriptor, rank };
  }
  return best?.descriptor;
}
