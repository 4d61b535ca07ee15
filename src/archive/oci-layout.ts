/**
 * OCI image layouts, as a directory or a tar. Source: image-spec image-layout.md, image-index.md. Blobs may be missing as long as
 * nobody asks for them (an archive of one platform keeps the index of all), and unknown files do not matter. Every document
 * is verified against the digest that led to it; layers are verified when they are read.
 */
import { LaminaError } from '../errors.js';
import { IMAGE_NAME, REF_NAME } from '../oci/annotations.js';
import { parseConfig, type ImageConfig } from '../oci/config.js';
import type { Descriptor } from '../oci/descriptor.js';
import { verifyBytes } from '../oci/digest.js';
import { parseIndex, type ImageIndex } from '../oci/image-index.js';
import { quoted } from '../oci/json.js';
import { parseManifest, type Manifest } from '../oci/manifest.js';
import { documentKind, layerCompression } from '../oci/media-types.js';
import { platformRank, hostPlatform, type Platform } from '../oci/platform.js';
import type { ByteSource } from '../tar/source.js';
import { choose, type Candidate } from './choose.js';
import { blobPath, DocumentReader, type ArchiveFiles } from './files.js';
import type {
  ArchiveForm,
  ArchivedImage,
  ArchiveLimits,
  ImageSummary,
  OpenedArchive,
  SelectOptions,
} from './image.js';
import { checkLayerCount, pairLayers, type StoredLayer } from './layers.js';

export const OCI_LAYOUT_PATH = 'oci-layout';
export const OCI_INDEX_PATH = 'index.json';

/** Marks BuildKit's attestations, which look like images of the platform unknown/unknown. */
const REFERENCE_TYPE = 'vnd.docker.reference.type';

export class OciLayout implements OpenedArchive {
  readonly #files: ArchiveFiles;
  readonly #documents: DocumentReader;
  readonly #limits: ArchiveLimits;
  readonly #indexes = new Map<string, ImageIndex>();
  readonly #manifests = new Map<string, Manifest>();
  #visited = 0;
  #found: Found | undefined;

  /** Takes over `files`. Nothing is read yet. */
  constructor(
    readonly form: ArchiveForm,
    readonly path: string,
    files: ArchiveFiles,
    limits: ArchiveLimits,
  ) {
    this.#files = files;
    this.#limits = limits;
    this.#documents = new DocumentReader(files, limits);
  }

  list(): ImageSummary[] {
    return this.#walk().present.map((leaf) => ({
      references: leaf.references,
      imageId: leaf.imageId(),
      manifestDigest: leaf.manifestDigest,
      platform: leaf.platform(),
    }));
  }

  select(options: SelectOptions = {}): ArchivedImage {
    const { present, missing, foreign } = this.#walk();
    let leaf: Leaf;
    try {
      leaf = choose(present, options, this.path);
    } catch (error) {
      this.#explainMissing(missing, options);
      if (present.length === 0 && foreign.length > 0) throw this.#foreignOnly(foreign);
      throw error;
    }
    return this.#load(leaf);
  }

  /** What index.json itself lists. Raises EBLOB, EBADIMAGE, ELIMIT. */
  entries(): readonly Descriptor[] {
    return this.#topIndex().manifests;
  }

  /** A manifest, an index or a config, verified. Raises EBLOB, EDIGEST, EBADIMAGE, ELIMIT. */
  document(descriptor: Descriptor): Buffer {
    return this.#document(descriptor, 'document');
  }

  /** A document as it lies there; undefined where it does not. */
  bytes(digest: string): Buffer | undefined {
    return this.#documents.read(blobPath(digest), `${this.path}, ${digest}`);
  }

  /** Any blob; undefined where it is not. Valid until `close`. */
  open(digest: string): ByteSource | undefined {
    return this.#files.open(blobPath(digest));
  }

  close(): void {
    this.#files.close();
  }

  #topIndex(): ImageIndex {
    const what = `${this.path}, ${OCI_INDEX_PATH}`;
    const bytes = this.#documents.read(OCI_INDEX_PATH, what);
    if (bytes === undefined) throw new LaminaError('EBLOB', `${what} is missing`, { path: this.path });
    return parseIndex(bytes, what, this.#limits.maxJsonBytes);
  }

  #walk(): Found {
    if (this.#found !== undefined) return this.#found;
    const found: Found = { present: [], missing: [], foreign: [] };
    for (const [position, descriptor] of this.entries().entries())
      this.#visit(descriptor, { position, references: [], otherNames: [], indexDigests: [] }, found);
    this.#found = found;
    return found;
  }

  #visit(descriptor: Descriptor, from: Place, found: Found): void {
    if (++this.#visited > MAX_DESCRIPTORS)
      throw new LaminaError('ELIMIT', `${this.path}: its indexes hold more than ${MAX_DESCRIPTORS} entries`, {
        path: this.path,
      });
    if (isAttestation(descriptor)) return;
    const kind =
      descriptor.mediaType === '' ? this.#guessKind(descriptor) : documentKind(descriptor.mediaType);
    if (kind === undefined || descriptor.artifactType !== undefined) {
      found.foreign.push(descriptor);
      return;
    }
    const place = withNames(from, descriptor);
    const isPresent = this.#files.has(blobPath(descriptor.digest));
    if (kind === 'manifest' || !isPresent)
      (isPresent ? found.present : found.missing).push(new Leaf(descriptor, place, this));
    else this.#visitIndex(descriptor, place, found);
  }

  /** An index cannot hold itself, since its digest would have to be known before it; but a chain of them can be long. */
  #visitIndex(descriptor: Descriptor, place: Place, found: Found): void {
    const { digest } = descriptor;
    if (place.indexDigests.length >= this.#limits.maxIndexDepth)
      throw new LaminaError(
        'ELIMIT',
        `${this.path}: indexes are nested deeper than maxIndexDepth (${this.#limits.maxIndexDepth})`,
        { path: this.path, digest },
      );
    const inside = { ...place, indexDigests: [...place.indexDigests, digest] };
    for (const child of this.#index(descriptor).manifests) this.#visit(child, inside, found);
  }

  /** A descriptor must have a media type, but the document itself tells as well. */
  #guessKind(descriptor: Descriptor): 'index' | 'manifest' {
    const bytes = this.#documents.read(blobPath(descriptor.digest), descriptor.digest);
    return bytes?.includes('"manifests"') ? 'index' : 'manifest';
  }

  #index(descriptor: Descriptor): ImageIndex {
    return this.#once(this.#indexes, descriptor, 'index', parseIndex);
  }

  manifest(descriptor: Descriptor): Manifest {
    return this.#once(this.#manifests, descriptor, 'manifest', parseManifest);
  }

  /** A hostile index may list one large document many thousand times: it is hashed and parsed once. */
  #once<T>(
    known: Map<string, T>,
    descriptor: Descriptor,
    kind: string,
    parse: (bytes: Buffer, what: string, maxBytes: number) => T,
  ): T {
    const existing = known.get(descriptor.digest);
    if (existing !== undefined) return existing;
    const bytes = this.#document(descriptor, kind);
    const parsed = parse(bytes, this.#what(kind, descriptor), this.#limits.maxJsonBytes);
    known.set(descriptor.digest, parsed);
    return parsed;
  }

  config(descriptor: Descriptor): { config: ImageConfig; bytes: Buffer } {
    const bytes = this.#document(descriptor, 'config');
    return { bytes, config: parseConfig(bytes, this.#what('config', descriptor), this.#limits.maxJsonBytes) };
  }

  #load(leaf: Leaf): ArchivedImage {
    const manifest = leaf.manifest();
    const { config, bytes } = leaf.config();
    const what = `${this.path}, manifest ${leaf.manifestDigest}`;
    const { diffIds } = config.rootfs;
    checkLayerCount(manifest.layers.length, diffIds.length, what, this.#limits.maxLayers);
    for (const layer of manifest.layers) layerCompression(layer.mediaType, `layer ${layer.digest}`);
    const stored = manifest.layers.map((layer) => this.#layer(layer));
    const same = this.#walk().present.filter((other) => other.manifestDigest === leaf.manifestDigest);
    return {
      references: [...new Set(same.flatMap((other) => other.references))],
      imageId: manifest.config.digest,
      config,
      configBytes: bytes,
      manifestDigest: leaf.manifestDigest,
      manifest: { mediaType: manifest.mediaType, bytes: this.#document(leaf.descriptor, 'manifest') },
      platform: leaf.platform(),
      layers: pairLayers(stored, diffIds, what),
    };
  }

  #layer(descriptor: Descriptor): StoredLayer {
    const { digest, mediaType, sizeBytes } = descriptor;
    const blob = this.#files.open(blobPath(digest));
    if (blob === undefined) throw this.#absent('layer', descriptor);
    if (blob.sizeBytes !== sizeBytes)
      throw new LaminaError(
        'EDIGEST',
        `${this.#what('layer', descriptor)} has ${blob.sizeBytes} bytes, but its descriptor says ${sizeBytes}`,
        { path: this.path, digest },
      );
    return { digest, mediaType, blob };
  }

  /** Bytes that have the digest and the size that the descriptor promises. */
  #document(descriptor: Descriptor, kind: string): Buffer {
    const what = this.#what(kind, descriptor);
    const bytes = this.#documents.read(blobPath(descriptor.digest), what);
    if (bytes === undefined) throw this.#absent(kind, descriptor);
    verifyBytes(bytes, descriptor.digest, what);
    if (bytes.length !== descriptor.sizeBytes)
      throw new LaminaError(
        'EBADIMAGE',
        `${what} has ${bytes.length} bytes, but its descriptor says ${descriptor.sizeBytes}`,
        { path: this.path, digest: descriptor.digest },
      );
    return bytes;
  }

  #what(kind: string, descriptor: Descriptor): string {
    return `${this.path}, ${kind} ${descriptor.digest}`;
  }

  #absent(kind: string, { digest, urls }: Descriptor): LaminaError {
    const elsewhere = urls.length === 0 ? '' : '; it is to be fetched from elsewhere (urls)';
    return new LaminaError('EBLOB', `${this.path}: the ${kind} ${digest} is not in the archive${elsewhere}`, {
      path: this.path,
      digest,
    });
  }

  /** When what was asked for is listed but its manifest is not there, that is the reason to give. */
  #explainMissing(missing: readonly Leaf[], options: SelectOptions): void {
    const wanted = options.platform ?? hostPlatform();
    const fitting = missing.filter(
      ({ descriptor }) =>
        descriptor.platform === undefined || platformRank(descriptor.platform, wanted) !== undefined,
    );
    if (fitting.length === 0) return;
    let leaf: Leaf;
    try {
      leaf = choose(
        fitting,
        { ...(options.reference === undefined ? {} : { reference: options.reference }) },
        '',
      );
    } catch {
      return;
    }
    throw this.#absent('manifest', leaf.descriptor);
  }

  #foreignOnly([descriptor]: readonly Descriptor[]): LaminaError {
    const { mediaType, artifactType, digest } = descriptor!;
    const type = quoted(artifactType ?? mediaType);
    return new LaminaError('EMEDIATYPE', `${this.path} holds no image, but ${digest} of the type ${type}`, {
      path: this.path,
      digest,
      hint: 'Only OCI images and Docker images of schema 2 can be read.',
    });
  }
}

/** An index of 4 MiB holds about 20,000 descriptors; nested ones could multiply them. */
const MAX_DESCRIPTORS = 262144;

/** All that index.json leads to. */
interface Found {
  present: Leaf[];
  /** Listed, but the manifest or nested index is not in the archive. */
  missing: Leaf[];
  /** Things that are no images. */
  foreign: Descriptor[];
}

/** Where in the tree of indexes a descriptor stands. */
interface Place {
  position: number;
  references: readonly string[];
  otherNames: readonly string[];
  indexDigests: readonly string[];
}

/** A manifest that is listed. What it says is read when it is asked for. */
class Leaf implements Candidate {
  readonly references: readonly string[];
  readonly otherNames: readonly string[];
  readonly position: number;
  readonly indexDigests: readonly string[];
  readonly manifestDigest: string;
  #manifest: Manifest | undefined;
  #config: { config: ImageConfig; bytes: Buffer } | undefined;

  constructor(
    readonly descriptor: Descriptor,
    place: Place,
    private readonly layout: OciLayout,
  ) {
    this.references = place.references;
    this.otherNames = place.otherNames;
    this.position = place.position;
    this.indexDigests = place.indexDigests;
    this.manifestDigest = descriptor.digest;
  }

  manifest(): Manifest {
    return (this.#manifest ??= this.layout.manifest(this.descriptor));
  }

  config(): { config: ImageConfig; bytes: Buffer } {
    return (this.#config ??= this.layout.config(this.manifest().config));
  }

  imageId(): string {
    return this.manifest().config.digest;
  }

  /** The index says it without a look at the config, where it says it at all. */
  platform(): Platform {
    const { platform } = this.descriptor;
    return platform?.os && platform.architecture ? platform : this.config().config.platform;
  }
}

function withNames(place: Place, { annotations }: Descriptor): Place {
  const refName = annotations.get(REF_NAME);
  const imageName = annotations.get(IMAGE_NAME);
  const references = imageName ?? refName;
  return {
    ...place,
    references: references === undefined ? place.references : [...new Set([...place.references, references])],
    // Docker writes the tag alone as ref.name next to the full name.
    otherNames:
      imageName === undefined || refName === undefined ? place.otherNames : [...place.otherNames, refName],
  };
}

function isAttestation({ annotations, platform }: Descriptor): boolean {
  return (
    annotations.has(REFERENCE_TYPE) || (platform?.os === 'unknown' && platform.architecture === 'unknown')
  );
}
