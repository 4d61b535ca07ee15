/**
 * Writes an image as an OCI layout (a directory, new or added to), an OCI archive or a docker archive. The rule it guards: what is at
 * the target is whole or not there; a blob has its name only when its bytes have that digest. Sources: image-spec
 * image-layout.md, manifest.md; moby image/tarexport/save.go (since Docker 25 its archives are OCI layouts with a manifest.json).
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { hashBytes } from '../oci/digest.js';
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.js';
import { familiarReference, formatReference, parseReference, withDefaultTag } from '../oci/reference.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import { TarWriter } from '../tar/write.js';
import { blobPath } from './files.js';
import type { ArchiveForm } from './image.js';

export interface ImageTarget {
  form: ArchiveForm;
  path: string;
  reference: string | undefined;
}

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
  platform: { os: string; architecture: string; variant?: string };
}

export interface WrittenImage {
  /** Config digest. */
  imageId: string;
  manifestDigest: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: ImageToWrite['platform'];
  annotations?: Record<string, string>;
}

const CHUNK_BYTES = 1 << 20;
const LAYOUT = `{"imageLayoutVersion":"1.0.0"}`;
const REF_NAME = 'org.opencontainers.image.ref.name';
const IMAGE_NAME = 'io.containerd.image.name';
const TEMPORARY = '.lamina-tmp';

/**
 * Raises EUSAGE for a name that is none, EEXIST where an archive is, ENOTARCHIVE where something else is than a layout, EDIGEST when a
 * layer is not what it promises, and what the system says; the target is then as it was.
 */
export async function writeImage(target: ImageTarget, image: ImageToWrite): Promise<WrittenImage> {
  const names = targetNames(target);
  try {
    await checkTarget(target);
    await sweep(path.dirname(path.resolve(target.path)), path.basename(target.path));
    const layers = image.layers.map((layer) => ({ ...layer, digest: layer.digest ?? digestOf(layer) }));
    const documents = describe(image, layers);
    const descriptor: Descriptor = {
      ...documents.manifest.descriptor,
      platform: image.platform,
      ...(Object.keys(names.annotations).length === 0 ? {} : { annotations: names.annotations }),
    };
    if (target.form === 'oci') await writeLayout(target.path, layers, documents, descriptor);
    else await writeArchive(target, layers, documents, descriptor, names.repoTags);
    return {
      imageId: documents.config.descriptor.digest,
      manifestDigest: documents.manifest.descriptor.digest,
    };
  } catch (error) {
    throw fromSystemError(error, 'cannot write', target.path);
  }
}

/** Raises EEXIST, ENOTARCHIVE. Asked before much work is done, and again by what gives the target its name. */
export async function checkTarget({ form, path: file }: ImageTarget): Promise<void> {
  const status = await lstat(file).catch(() => undefined);
  if (status === undefined) return;
  if (form !== 'oci') throw exists(file);
  const isLayout = existsSync(path.join(file, 'oci-layout')) || existsSync(path.join(file, 'index.json'));
  const isEmpty = !isLayout && ((await readdir(file).catch(() => undefined)) ?? ['']).length === 0;
  if (!isLayout && !isEmpty)
    throw new LaminaError('ENOTARCHIVE', `${file} exists and is no OCI layout`, { path: file });
}

function exists(file: string): LaminaError {
  return new LaminaError('EEXIST', `${file} exists already`, {
    path: file,
    hint: 'Name another file; an archive cannot be added to, only an OCI layout in a directory (oci:DIR).',
  });
}

interface Names {
  annotations: Record<string, string>;
  repoTags: string[] | null;
}

function targetNames({ form, reference }: ImageTarget): Names {
  if (reference === undefined) return { annotations: {}, repoTags: null };
  if (form !== 'docker-archive') return { annotations: { [REF_NAME]: reference }, repoTags: null };
  const parsed = withDefaultTag(parseReference(reference));
  return {
    annotations: { [IMAGE_NAME]: formatReference(parsed), [REF_NAME]: parsed.tag ?? 'latest' },
    repoTags: [familiarReference(parsed)],
  };
}

interface Documents {
  config: { bytes: Buffer; descriptor: Descriptor };
  manifest: { bytes: Buffer; descriptor: Descriptor };
}

type DigestedLayer = LayerToWrite & { digest: string };

function describe(image: ImageToWrite, layers: readonly DigestedLayer[]): Documents {
  const config = document(image.config, OCI_CONFIG);
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: config.descriptor,
    layers: layers.map(({ compression, digest, blob }) => ({
      mediaType: compression === 'none' ? OCI_LAYER : `${OCI_LAYER}+${compression}`,
      digest,
      size: blob.sizeBytes,
    })),
  };
  return { config, manifest: document(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST) };
}

function document(bytes: Buffer, mediaType: string): { bytes: Buffer; descriptor: Descriptor } {
  return { bytes, descriptor: { mediaType, digest: hashBytes('sha256', bytes), size: bytes.length } };
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

/** The bytes of a blob, of which the last are only given when all are what the digest promises. Raises EDIGEST. */
function* verified({ blob, digest }: DigestedLayer): Generator<Buffer> {
  const hash = createHash(digest.slice(0, digest.indexOf(':')));
  for (const chunk of chunks(blob)) {
    hash.update(chunk);
    yield chunk;
  }
  const found = `${digest.slice(0, digest.indexOf(':'))}:${hash.digest('hex')}`;
  if (found !== digest)
    throw new LaminaError('EDIGEST', `${blob.name}: its digest is ${found}, promised was ${digest}`, {
      path: blob.name,
      digest,
    });
}

/** A layout that is there is added to: blobs first, then index.json, which alone makes them part of it. */
async function writeLayout(
  directory: string,
  layers: readonly DigestedLayer[],
  { config, manifest }: Documents,
  descriptor: Descriptor,
): Promise<void> {
  const isNew = !existsSync(path.join(directory, 'index.json'));
  const target = isNew ? temporaryName(directory) : directory;
  try {
    if (isNew) await mkdir(target, { recursive: true });
    for (const layer of layers)
      await writeBlob(target, layer.digest, layer.blob.sizeBytes, () => verified(layer));
    for (const { bytes, descriptor: about } of [config, manifest])
      await writeBlob(target, about.digest, bytes.length, () => [bytes]);
    if (!existsSync(path.join(target, 'oci-layout')))
      await replaceFile(path.join(target, 'oci-layout'), [Buffer.from(LAYOUT)]);
    await replaceFile(path.join(target, 'index.json'), [await indexWith(target, descriptor)]);
    if (isNew) {
      // An empty directory gives way to it; anything else does not.
      await rename(target, directory);
      await syncDirectory(path.dirname(path.resolve(directory)));
    }
  } catch (error) {
    if (isNew) await rm(target, { recursive: true, force: true });
    throw error;
  }
}

async function writeBlob(
  layout: string,
  digest: string,
  sizeBytes: number,
  content: () => Iterable<Buffer>,
): Promise<void> {
  const file = path.join(layout, blobPath(digest));
  const existing = await lstat(file).catch(() => undefined);
  if (existing?.isFile() === true && existing.size === sizeBytes) return;
  await mkdir(path.dirname(file), { recursive: true });
  await sweep(path.dirname(file), '');
  await replaceFile(file, content());
}

/** index.json with the image in it; another of the same name loses that name, as a tag moves. */
async function indexWith(layout: string, descriptor: Descriptor): Promise<Buffer> {
  const file = path.join(layout, 'index.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const index =
    text === undefined
      ? { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] as Descriptor[] }
      : (JSON.parse(text) as { manifests?: Descriptor[] | null });
  const name = descriptor.annotations?.[REF_NAME];
  const others = (index.manifests ?? []).filter((other) =>
    name === undefined
      ? other.digest !== descriptor.digest || other.annotations?.[REF_NAME] !== undefined
      : other.annotations?.[REF_NAME] !== name,
  );
  return Buffer.from(JSON.stringify({ ...index, manifests: [...others, descriptor] }));
}

async function writeArchive(
  { form, path: file }: ImageTarget,
  layers: readonly DigestedLayer[],
  { config, manifest }: Documents,
  descriptor: Descriptor,
  repoTags: string[] | null,
): Promise<void> {
  const blobs = new Map<string, { sizeBytes: number; content: () => Iterable<Buffer> }>();
  const add = (digest: string, sizeBytes: number, content: () => Iterable<Buffer>): void =>
    void blobs.set(blobPath(digest), { sizeBytes, content });
  for (const layer of layers) add(layer.digest, layer.blob.sizeBytes, () => verified(layer));
  for (const { bytes, descriptor: about } of [config, manifest])
    add(about.digest, bytes.length, () => [bytes]);
  const json = (name: string, value: unknown): void => {
    const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    blobs.set(name, { sizeBytes: bytes.length, content: () => [bytes] });
  };
  json('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor] });
  if (form === 'docker-archive')
    json('manifest.json', [
      {
        Config: blobPath(config.descriptor.digest),
        RepoTags: repoTags,
        Layers: layers.map(({ digest }) => blobPath(digest)),
      },
    ]);
  json('oci-layout', LAYOUT);

  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, 'wx');
    try {
      const writer = new TarWriter(async (chunk) => writeAll(handle, chunk));
      const directories = new Set([...blobs.keys()].flatMap(parents));
      for (const name of [...directories, ...blobs.keys()].sort()) {
        const blob = blobs.get(name);
        const type = blob === undefined ? ('dir' as const) : ('file' as const);
        const header = { name, type, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 };
        await writer.entry(
          { ...header, mode: blob === undefined ? 0o755 : 0o644, sizeBytes: blob?.sizeBytes ?? 0 },
          blob === undefined ? undefined : asynchronous(blob.content()),
        );
      }
      await writer.finish();
      await handle.sync();
    } finally {
      await handle.close();
    }
    // link(2), unlike rename(2), takes nobody's place.
    await link(temporary, file).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? exists(file) : error;
    });
    await syncDirectory(path.dirname(path.resolve(file)));
  } finally {
    await rm(temporary, { force: true });
  }
}

async function* asynchronous(content: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* content;
}

function parents(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`);
}

/** Writes a file under another name and gives it its own when it is whole and on the disk. */
async function replaceFile(file: string, content: Iterable<Buffer>): Promise<void> {
  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      for (const chunk of content) await writeAll(handle, chunk);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncDirectory(path.dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeAll(handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done)).bytesWritten;
}

/** Beside what it will become, so that rename(2) works; with the process in it, so that what a killed one left can be told. */
function temporaryName(file: string): string {
  const { dir, base } = path.parse(path.resolve(file));
  return path.join(dir, `.${base}.${process.pid}-${randomBytes(4).toString('hex')}${TEMPORARY}`);
}

async function sweep(directory: string, base: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!name.startsWith(`.${base}`) || !name.endsWith(TEMPORARY)) continue;
    const pid = /\.(\d+)-[0-9a-f]{8}\.lamina-tmp$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(path.join(directory, name), { recursive: true, force: true });
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
