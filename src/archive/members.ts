/**
 * What an archive of images consists of: image-spec image-layout.md, and for docker's form the manifest.json and repositories beside it
 * (moby image/tarexport/save.go; since Docker 25 its archives are OCI layouts as well). The same images always give the same bytes.
 */
import { createHash } from 'node:crypto';
import { LaminaError } from '../errors.js';
import { IMAGE_NAME, REF_NAME } from '../oci/annotations.js';
import { hashBytes } from '../oci/digest.js';
import { OCI_INDEX } from '../oci/media-types.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference, formatReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import { TarWriter } from '../tar/write.js';
import { blobPath } from './files.js';
import { manifestFor } from './manifest-for.js';
import type { Chunks } from './whole-files.js';

export const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}';

const CHUNK_BYTES = 1 << 20;

export interface LayerToWrite {
  /** The blob as it is stored; copied byte by byte. */
  blob: ByteSource;
  compression: 'none' | 'gzip' | 'zstd';
  /** Of the blob, where it is known; else it is computed. */
  digest: string | undefined;
  diffId: string;
}

export interface ImageToWrite {
  config: Buffer;
  /** Bottom to top. */
  layers: readonly LayerToWrite[];
  platform: Pick<Platform, 'os' | 'architecture'> & { variant?: string | undefined };
  /** As it is known elsewhere; made when absent. */
  manifest?: { mediaType: string; bytes: Buffer; digest: string } | undefined;
  /** Each with a tag. */
  names?: readonly Reference[];
  /** A name of an OCI layout, which may be any text; instead of `names`. */
  refName?: string;
  /** Config digest of the image that it was made from. */
  parent?: string | undefined;
}

export interface WrittenDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string; variant?: string };
  annotations?: Record<string, string>;
}

export interface BlobToWrite {
  digest: string;
  sizeBytes: number;
  /** Verified as it is read: its last chunk comes only when all is what the digest promises. */
  content: () => Chunks;
}

/** An image with everything computed that an archive says of it. */
export interface DescribedImage {
  imageId: string;
  manifest: { digest: string };
  /** Layers, then config, then manifest. */
  blobs: BlobToWrite[];
  /** One for each name, or one without. */
  descriptors: WrittenDescriptor[];
  /** What docker's manifest.json says. */
  docker: { Config: string; RepoTags: string[] | null; Layers: string[]; Parent?: string };
  names: readonly Reference[];
}

/** Reads layers whose digest nobody has computed yet. Raises EIO. */
export function describeImage(image: ImageToWrite): DescribedImage {
  const layers = image.layers.map((layer) => ({ ...layer, digest: layer.digest ?? digestOf(layer) }));
  const imageId = hashBytes('sha256', image.config);
  const manifest = image.manifest ?? madeManifest(image.config, imageId, layers);
  const documents = [
    { digest: imageId, bytes: image.config },
    { digest: manifest.digest, bytes: manifest.bytes },
  ];
  const { os, architecture, variant } = image.platform;
  const descriptor: WrittenDescriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    platform: { architecture, os, ...(variant === undefined ? {} : { variant }) },
  };
  const names = image.names ?? [];
  const annotations = [
    ...names.map((name) => ({ [IMAGE_NAME]: formatReference(name), [REF_NAME]: name.tag ?? 'latest' })),
    ...(image.refName === undefined ? [] : [{ [REF_NAME]: image.refName }]),
  ];
  return {
    imageId,
    manifest,
    blobs: [
      ...layers.map((layer) => ({
        digest: layer.digest,
        sizeBytes: layer.blob.sizeBytes,
        content: () => verified(layer),
      })),
      ...documents.map(({ digest, bytes }) => ({ digest, sizeBytes: bytes.length, content: () => [bytes] })),
    ],
    descriptors:
      annotations.length === 0
        ? [descriptor]
        : annotations.map((own) => ({ ...descriptor, annotations: own })),
    docker: {
      Config: blobPath(imageId),
      RepoTags: names.length === 0 ? null : names.map(familiarReference),
      Layers: layers.map(({ digest }) => blobPath(digest)),
      ...(image.parent === undefined ? {} : { Parent: image.parent }),
    },
    names,
  };
}

/** Paths of the files of an archive, and what is in them. */
export type ArchiveMembers = Map<string, { sizeBytes: number; content: () => Chunks }>;

export function archiveMembers(
  images: readonly DescribedImage[],
  form: 'docker-archive' | 'oci-archive',
): ArchiveMembers {
  const members: ArchiveMembers = new Map();
  for (const { blobs } of images)
    for (const { digest, sizeBytes, content } of blobs) members.set(blobPath(digest), { sizeBytes, content });
  const document = (name: string, value: unknown): void => {
    const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    members.set(name, { sizeBytes: bytes.length, content: () => [bytes] });
  };
  const manifests = images.flatMap(({ descriptors }) => descriptors);
  document('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
  if (form === 'docker-archive') {
    document(
      'manifest.json',
      images.map(({ docker }) => docker),
    );
    const repositories = repositoriesOf(images);
    if (Object.keys(repositories).length > 0) document('repositories', repositories);
  }
  document('oci-layout', OCI_LAYOUT);
  return members;
}

/** As a tar with every time the epoch's. Raises EDIGEST when a blob is not what it promises, and what `sink` raises. */
export async function writeMembers(
  members: ArchiveMembers,
  sink: (chunk: Buffer) => Promise<void>,
): Promise<void> {
  const writer = new TarWriter(sink);
  const directories = new Set([...members.keys()].flatMap(parents));
  for (const name of [...directories, ...members.keys()].sort()) {
    const member = members.get(name);
    const type = member === undefined ? ('dir' as const) : ('file' as const);
    const header = { name, type, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 };
    await writer.entry(
      { ...header, mode: member === undefined ? 0o755 : 0o644, sizeBytes: member?.sizeBytes ?? 0 },
      member === undefined ? undefined : asynchronous(member.content()),
    );
  }
  await writer.finish();
}

/** For readers from before manifest.json: the top layer of each name. */
function repositoriesOf(images: readonly DescribedImage[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { names, docker } of images) {
    const top = docker.Layers.at(-1)?.split('/').at(-1);
    if (top === undefined) continue;
    for (const { tag = 'latest', ...name } of names)
      (repositories[familiarReference({ ...name, tag: undefined })] ??= {})[tag] = top;
  }
  return repositories;
}

function madeManifest(
  config: Buffer,
  imageId: string,
  layers: readonly (LayerToWrite & { digest: string })[],
): { mediaType: string; bytes: Buffer; digest: string } {
  const described = layers.map(({ digest, compression, blob }) => ({
    digest,
    compression,
    sizeBytes: blob.sizeBytes,
  }));
  const manifest = manifestFor(config, imageId, described);
  return { ...manifest, digest: hashBytes('sha256', manifest.bytes) };
}

/** A plain layer's blob is its tar. */
function digestOf({ blob, compression, diffId }: LayerToWrite): string {
  if (compression === 'none') return diffId;
  const hash = createHash('sha256');
  for (const chunk of chunks(blob)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

function* chunks(source: ByteSource): Generator<Buffer> {
  for (let position = 0; position < source.sizeBytes;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, source.sizeBytes - position));
    position += readSource(source, chunk, position);
    yield chunk;
  }
}

/** The bytes of a blob. Raises EDIGEST after the last when they are not what the digest promises. */
function* verified({ blob, digest }: LayerToWrite & { digest: string }): Generator<Buffer> {
  const algorithm = digest.slice(0, digest.indexOf(':'));
  const hash = createHash(algorithm);
  for (const chunk of chunks(blob)) {
    hash.update(chunk);
    yield chunk;
  }
  const found = `${algorithm}:${hash.digest('hex')}`;
  if (found !== digest)
    throw new LaminaError('EDIGEST', `${blob.name}: its digest is ${found}, promised was ${digest}`, {
      path: blob.name,
      digest,
    });
}

async function* asynchronous(content: Chunks): AsyncGenerator<Buffer> {
  yield* content;
}

function parents(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`);
}
