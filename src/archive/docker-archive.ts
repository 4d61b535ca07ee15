/**
 * Docker archives: what `docker save`, podman, skopeo, kaniko and crane write as docker-archive. `manifest.json` lists images by
 * the paths of their config and layers, and that is all that counts, whatever the paths look like (moby image/spec/v1.2.md, v1.3.md;
 * moby image/tarexport/load.go). Archives of Docker before 1.10 have no manifest.json: docker-v1.ts.
 */
import type { ByteString } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { parseConfig, type ImageConfig } from '../oci/config.js';
import { hashBytes, isDigest, verifyBytes } from '../oci/digest.js';
import { asObject, parseJson } from '../oci/json.js';
import type { Platform } from '../oci/platform.js';
import { choose, type DockerImage } from './choose.js';
import { openV1Images } from './docker-v1.js';
import { DocumentReader, jsonPath, shown, type ArchiveFiles } from './files.js';
import type { ArchivedImage, ArchiveLimits, ImageSummary, OpenedArchive, SelectOptions } from './image.js';
import { checkLayerCount, pairLayers, type StoredLayer } from './layers.js';
import { OCI_INDEX_PATH, OciLayout } from './oci-layout.js';

export const DOCKER_MANIFEST_PATH = 'manifest.json';
export const DOCKER_REPOSITORIES_PATH = 'repositories';

export class DockerArchive implements OpenedArchive {
  readonly form = 'docker-archive';
  readonly #images: readonly DockerImage[];
  readonly #files: ArchiveFiles;
  readonly #limits: ArchiveLimits;

  /** Takes over `files`. Reads the list of images; configs are read when they are needed. Raises EBADIMAGE, ELIMIT. */
  constructor(
    readonly path: string,
    files: ArchiveFiles,
    limits: ArchiveLimits,
  ) {
    this.#files = files;
    this.#limits = limits;
    const documents = new DocumentReader(files, limits);
    const manifest = documents.read(DOCKER_MANIFEST_PATH, `${path}, ${DOCKER_MANIFEST_PATH}`);
    this.#images =
      manifest === undefined
        ? openV1Images(path, documents, limits)
        : openManifest(manifest, path, documents, limits);
  }

  list(): ImageSummary[] {
    return this.#images.map((image) => ({
      references: image.references,
      imageId: image.imageId(),
      manifestDigest: image.manifestDigest,
      platform: image.platform(),
    }));
  }

  select(options: SelectOptions = {}): ArchivedImage {
    const chosen = choose(this.#images, options, this.path);
    const image = chosen.load();
    // Some tools write an entry for each name of an image.
    const same = this.#images.filter((other) => other.identity === chosen.identity);
    return {
      ...image,
      ...this.#inLayout(image),
      references: [...new Set(same.flatMap((other) => other.references))],
    };
  }

  /** Archives of Docker 25 and later are OCI layouts too, which have the manifest that the image is known by elsewhere. */
  #inLayout({ imageId }: ArchivedImage): Partial<ArchivedImage> {
    if (!this.#files.has(OCI_INDEX_PATH)) return {};
    try {
      const layout = new OciLayout('oci-archive', this.path, this.#files, this.#limits);
      const { manifestDigest, manifest, layers } = layout.select({ reference: imageId });
      return { manifestDigest, manifest, layers };
    } catch (error) {
      if (error instanceof LaminaError) return {};
      throw error;
    }
  }

  close(): void {
    this.#files.close();
  }
}

function openManifest(
  bytes: Buffer,
  path: string,
  documents: DocumentReader,
  limits: ArchiveLimits,
): DockerImage[] {
  const what = `${path}, ${DOCKER_MANIFEST_PATH}`;
  const entries = parseJson(bytes, what, limits.maxJsonBytes);
  if (!Array.isArray(entries)) throw new LaminaError('EBADIMAGE', `${what} is not a JSON array`, { path });
  return entries.map((entry: unknown, position) => {
    const where = `${what}, [${position}]`;
    const object = asObject(entry, where);
    return new ManifestImage(
      { path, where, documents, maxLayers: limits.maxLayers },
      position,
      object.strings('RepoTags'),
      jsonPath(object.string('Config'), `${where}, Config`),
      object.strings('Layers').map((layer, index) => jsonPath(layer, `${where}, Layers[${index}]`)),
    );
  });
}

class ManifestImage implements DockerImage {
  readonly otherNames: readonly string[] = [];
  readonly manifestDigest = undefined;
  readonly indexDigests = [];
  #config: { config: ImageConfig; bytes: Buffer; imageId: string } | undefined;

  constructor(
    private readonly context: {
      path: string;
      where: string;
      documents: DocumentReader;
      maxLayers: number;
    },
    readonly position: number,
    readonly references: readonly string[],
    private readonly configPath: ByteString,
    private readonly layerPaths: readonly ByteString[],
  ) {}

  get identity(): string {
    return this.configPath;
  }

  imageId(): string {
    return this.#load().imageId;
  }

  platform(): Platform {
    return this.#load().config.platform;
  }

  load(): ArchivedImage {
    const { config, bytes, imageId } = this.#load();
    const what = `${this.context.path}, image ${imageId}`;
    const { diffIds } = config.rootfs;
    checkLayerCount(this.layerPaths.length, diffIds.length, what, this.context.maxLayers);
    const stored = this.layerPaths.map((path) => this.#layer(path));
    return {
      references: this.references,
      imageId,
      config,
      configBytes: bytes,
      manifestDigest: undefined,
      manifest: undefined,
      platform: config.platform,
      layers: pairLayers(stored, diffIds, what),
    };
  }

  #layer(path: ByteString): StoredLayer {
    const blob = this.context.documents.files.open(path);
    if (blob === undefined) throw this.#absent('layer', path);
    return { digest: blobDigest(path), mediaType: undefined, blob };
  }

  #load(): { config: ImageConfig; bytes: Buffer; imageId: string } {
    if (this.#config !== undefined) return this.#config;
    const { path, documents } = this.context;
    const what = `${path}, ${shown(this.configPath)}`;
    const bytes = documents.read(this.configPath, what);
    if (bytes === undefined) throw this.#absent('config', this.configPath);
    const promised = configDigest(this.configPath);
    if (promised !== undefined) verifyBytes(bytes, promised, what);
    const config = parseConfig(bytes, what, documents.maxBytes);
    this.#config = { config, bytes, imageId: hashBytes('sha256', bytes) };
    return this.#config;
  }

  #absent(kind: string, path: ByteString): LaminaError {
    const digest = kind === 'config' ? configDigest(path) : blobDigest(path);
    return new LaminaError(
      'EBLOB',
      `${this.context.where}: the ${kind} ${shown(path)} is not in the archive`,
      { path: this.context.path, ...(digest === undefined ? {} : { digest }) },
    );
  }
}

/** `blobs/sha256/HEX` promises its digest; other paths of layers are ids or diffIds, by the taste of the tool. */
function blobDigest(path: ByteString): string | undefined {
  const match = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(path);
  const digest = match === null ? '' : `${match[1]}:${match[2]}`;
  return isDigest(digest) ? digest : undefined;
}

/** Also `HEX.json` (docker, podman, skopeo) and `sha256:HEX` (kaniko, crane): every tool names a config so by its digest. */
function configDigest(path: ByteString): string | undefined {
  const hex = /^(?:([0-9a-f]{64})\.json|sha256:([0-9a-f]{64}))$/.exec(path);
  return hex === null ? blobDigest(path) : `sha256:${hex[1] ?? hex[2]}`;
}
