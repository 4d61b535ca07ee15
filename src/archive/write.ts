/**
 * Writes an image as an OCI layout (a directory, new or added to), an OCI archive or a docker archive. The rule it guards: what is at
 * the target is whole or not there; a blob has its name only when its bytes have that digest. Sources: image-spec
 * image-layout.md, manifest.md; moby image/tarexport/save.go (since Docker 25 its archives are OCI layouts with a manifest.json).
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { REF_NAME } from '../oci/annotations.js';
import { OCI_INDEX } from '../oci/media-types.js';
import { parseReference, withDefaultTag } from '../oci/reference.js';
import { blobPath } from './files.js';
import type { ArchiveForm } from './image.js';
import { archiveMembers, describeImage, OCI_LAYOUT, writeMembers } from './members.js';
import type { ArchiveMembers, DescribedImage, ImageToWrite, WrittenDescriptor } from './members.js';

export interface ImageTarget {
  form: ArchiveForm;
  path: string;
  reference: string | undefined;
}

export interface WrittenImage {
  /** Config digest. */
  imageId: string;
  manifestDigest: string;
}

const TEMPORARY = '.lamina-tmp';

/**
 * Raises EUSAGE for a name that is none, EEXIST where an archive is, ENOTARCHIVE where something else is than a layout, EDIGEST when a
 * layer is not what it promises, and what the system says; the target is then as it was.
 */
export async function writeImage(target: ImageTarget, image: ImageToWrite): Promise<WrittenImage> {
  const named = nameImage(target, image);
  try {
    await checkTarget(target);
    await sweep(path.dirname(path.resolve(target.path)), path.basename(target.path));
    const described = describeImage(named);
    if (target.form === 'oci') await writeLayout(target.path, described);
    else await writeArchiveFile(target.path, archiveMembers([described], target.form));
    return { imageId: described.imageId, manifestDigest: described.manifest.digest };
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

function nameImage({ form, reference }: ImageTarget, image: ImageToWrite): ImageToWrite {
  if (reference === undefined) return image;
  if (form !== 'docker-archive') return { ...image, refName: reference };
  return { ...image, names: [withDefaultTag(parseReference(reference))] };
}

/** A layout that is there is added to: blobs first, then index.json, which alone makes them part of it. */
async function writeLayout(directory: string, image: DescribedImage): Promise<void> {
  const isNew = !existsSync(path.join(directory, 'index.json'));
  const target = isNew ? temporaryName(directory) : directory;
  try {
    if (isNew) await mkdir(target, { recursive: true });
    for (const { digest, sizeBytes, content } of image.blobs)
      await writeBlob(target, digest, sizeBytes, content);
    if (!existsSync(path.join(target, 'oci-layout')))
      await replaceFile(path.join(target, 'oci-layout'), [Buffer.from(OCI_LAYOUT)]);
    await replaceFile(path.join(target, 'index.json'), [await indexWith(target, image.descriptors[0]!)]);
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
async function indexWith(layout: string, descriptor: WrittenDescriptor): Promise<Buffer> {
  const file = path.join(layout, 'index.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const index =
    text === undefined
      ? { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] as WrittenDescriptor[] }
      : (JSON.parse(text) as { manifests?: WrittenDescriptor[] | null });
  const name = descriptor.annotations?.[REF_NAME];
  const others = (index.manifests ?? []).filter((other) =>
    name === undefined
      ? other.digest !== descriptor.digest || other.annotations?.[REF_NAME] !== undefined
      : other.annotations?.[REF_NAME] !== name,
  );
  return Buffer.from(JSON.stringify({ ...index, manifests: [...others, descriptor] }));
}

/** Where nothing is yet. The file is whole when it has its name. Raises EEXIST. */
async function writeArchiveFile(file: string, members: ArchiveMembers): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await writeFile(temporary, members, 0o644);
    // link(2), unlike rename(2), takes nobody's place.
    await link(temporary, file).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? exists(file) : error;
    });
    await syncDirectory(path.dirname(path.resolve(file)));
  } finally {
    await rm(temporary, { force: true });
  }
}

/** As `docker save -o`: in the place of a file that is there. Raises EDIGEST, and what the system says; the file is then as it was. */
export async function replaceArchiveFile(file: string, members: ArchiveMembers): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await sweep(path.dirname(path.resolve(file)), path.basename(file));
    await writeFile(temporary, members, 0o600);
    await rename(temporary, file);
    await syncDirectory(path.dirname(path.resolve(file)));
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function writeFile(file: string, members: ArchiveMembers, mode: number): Promise<void> {
  const handle = await open(file, 'wx', mode);
  try {
    await writeMembers(members, async (chunk) => writeAll(handle, chunk));
    await handle.sync();
  } finally {
    await handle.close();
  }
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
