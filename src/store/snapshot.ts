/**
 * What the store holds at one moment, as its index said then. Reading needs no lock: the index is replaced as a whole, and whoever
 * removes a blob takes it out of the index first.
 */
import { LaminaError } from '../errors.js';
import { parseConfig } from '../oci/config.js';
import { quoted } from '../oci/json.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference, formatReference, tryParseReference, withDefaultTag } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { BlobStore } from './blobs.js';
import type { IndexEntry } from './store-index.js';
import { resolveManifest, StoredImage } from './stored-image.js';
import type { ResolvedManifest } from './stored-image.js';
import { readSummaries } from './summaries.js';
import type { ImageSummary } from './summaries.js';

/** An entry whose manifest or config cannot be read. */
export interface DamagedEntry {
  entry: IndexEntry;
  error: LaminaError;
}

/** What a name on the command line led to. */
export interface FoundImage {
  image: StoredImage;
  /** The name that matched; undefined when it was found by its ID. */
  name: Reference | undefined;
}

export class Snapshot {
  readonly #readable = new Map<string, string>();
  #read: { images: StoredImage[]; damaged: DamagedEntry[] } | undefined;
  #summaries: ReadonlyMap<string, ImageSummary> | undefined;

  constructor(
    readonly entries: readonly IndexEntry[],
    private readonly blobs: BlobStore,
    private readonly root: string,
  ) {}

  /** The same store with another index; what has been read of it is not read again. */
  withEntries(entries: readonly IndexEntry[]): Snapshot {
    const other = new Snapshot(entries, this.blobs, this.root);
    other.#summaries = this.#summaries;
    return other;
  }

  /** @internal */
  get summaries(): ReadonlyMap<string, ImageSummary> {
    return (this.#summaries ??= readSummaries(this.root));
  }

  /** Images whose manifests can be read, in the order of the index. */
  get images(): readonly StoredImage[] {
    return this.#all().images;
  }

  get damaged(): readonly DamagedEntry[] {
    return this.#all().damaged;
  }

  /** By config digest. */
  byId(imageId: string): StoredImage | undefined {
    return this.images.find((image) => image.imageId === imageId);
  }

  /** The entry that has this name; it must have a tag or a digest. */
  named(name: Reference): IndexEntry | undefined {
    const wanted = formatReference(name);
    return this.entries.find((entry) => entry.name !== undefined && formatReference(entry.name) === wanted);
  }

  /**
   * As docker looks names up: `name[:tag]`, `name@digest`, a whole ID, or as much of an ID as is unambiguous. Raises ENOIMAGE, and what
   * reading the manifest raises.
   */
  get(text: string): FoundImage {
    const found = this.find(text);
    if (found !== undefined) return found;
    throw noSuchImage(text);
  }

  /** As `get`; undefined when there is none. */
  find(text: string): FoundImage | undefined {
    const id = /^(?:sha256:)?([0-9a-f]{64})$/.exec(text)?.[1];
    if (id !== undefined) return this.#found(this.byId(`sha256:${id}`));
    const reference = tryParseReference(text);
    const named = reference === undefined ? undefined : this.#byName(reference);
    if (named !== undefined) return named;
    const prefix = /^(?:sha256:)?([0-9a-f]+)$/.exec(text)?.[1];
    if (prefix === undefined) return undefined;
    const beginning = this.images.filter(({ imageId }) => imageId.startsWith(`sha256:${prefix}`));
    if (beginning.length > 1)
      throw new LaminaError('ENOIMAGE', `multiple IDs found with provided prefix: ${quoted(text)}`, {
        hint: 'Give more of the ID.',
      });
    return this.#found(beginning[0]);
  }

  /** The manifest of an entry, for a platform where its name stands for several. */
  manifestOf(entry: IndexEntry, platform?: Platform): ResolvedManifest {
    return resolveManifest(this.blobs, entry.descriptor, platform);
  }

  #byName(reference: Reference): FoundImage | undefined {
    const { tag, digest } = reference;
    // With both, the digest says which content is meant.
    const name = withDefaultTag(digest === undefined ? reference : { ...reference, tag: undefined });
    let entry = this.named(name);
    if (entry === undefined && digest !== undefined)
      // A name that has been loaded, not pulled, has no digest of its own: the manifest's counts.
      entry = this.entries.find(
        (other) =>
          other.descriptor.digest === digest &&
          other.name?.domain === name.domain &&
          other.name.path === name.path &&
          (tag === undefined || other.name.tag === tag),
      );
    if (entry === undefined) return undefined;
    const image = this.images.find(({ entries }) => entries.includes(entry));
    if (image !== undefined) return { image, name };
    throw this.damaged.find((damaged) => damaged.entry === entry)!.error;
  }

  /** The image's ID, once its manifest and config have been read. */
  #readableId(entry: IndexEntry): string {
    const known = this.#readable.get(entry.descriptor.digest);
    if (known !== undefined) return known;
    const imageId = this.manifestOf(entry).manifest.config.digest;
    parseConfig(this.blobs.document(imageId), `config ${imageId}`);
    this.#readable.set(entry.descriptor.digest, imageId);
    return imageId;
  }

  #found(image: StoredImage | undefined): FoundImage | undefined {
    return image === undefined ? undefined : { image, name: undefined };
  }

  #all(): { images: StoredImage[]; damaged: DamagedEntry[] } {
    if (this.#read !== undefined) return this.#read;
    const damaged: DamagedEntry[] = [];
    const { summaries } = this;
    const byId = new Map<string, IndexEntry[]>();
    for (const entry of this.entries) {
      try {
        const imageId = summaries.get(entry.descriptor.digest)?.imageId ?? this.#readableId(entry);
        const existing = byId.get(imageId);
        if (existing === undefined) byId.set(imageId, [entry]);
        else existing.push(entry);
      } catch (error) {
        if (!(error instanceof LaminaError)) throw error;
        // Things that are no images may lie in a layout as well; they are kept and not shown.
        if (error.code !== 'EMEDIATYPE') damaged.push({ entry, error });
      }
    }
    const images = [...byId].map(
      ([imageId, entries]) =>
        new StoredImage(
          imageId,
          entries,
          summaries.get(entries[0]!.descriptor.digest),
          this.blobs,
          this.root,
        ),
    );
    this.#read = { images, damaged };
    return this.#read;
  }
}

/** In docker's words; a name is shown with the tag that was looked for. */
export function noSuchImage(text: string): LaminaError {
  const reference = tryParseReference(text);
  const shown = reference === undefined ? text : familiarReference(withDefaultTag(reference));
  return new LaminaError('ENOIMAGE', `No such image: ${shown}`, {
    hint: 'List the images of the store with: lamina images. An archive is named by its path.',
  });
}
