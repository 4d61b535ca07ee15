/**
 * Writes an image as an OCI layout (a directory, new or added to), an OCI archive or a docker archive. The rule it guards: what is at
 * the target is whole or not there; a blob has its name only when its bytes have that digest. Sources: image-spec
 * image-layout.md, manifest.md; moby image/tarexport/save.go (since Docker 25 its archives are OCI layouts with a manifest.json).
 */
import { link, lstat, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { parseReference, withDefaultTag } from '../oci/reference.js';
import type { ArchiveForm } from './image.js';
import { checkLayout, LayoutWriter } from './layout-writer.js';
import { archiveMembers, describeImage, writeMembers } from './members.js';
import type { ArchiveMembers, DescribedImage, ImageToWrite } from './members.js';
import { sweep, syncDirectory, temporaryName, writeAll } from './whole-files.js';

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

/**
 * Raises EUSAGE for a name that is none, EEXIST where an archive is, ENOTARCHIVE where something else is than a layout, EDIGEST when a
 * layer is not what it promises, and what the system says; the target is then as it was.
 */
export async function writeImage(target: ImageTarget, image: ImageToWrite): Promise<WrittenImage> {
  const named = nameImage(target, image);
  try {
    await checkTarget(target);
    const described = describeImage(named);
    if (target.form === 'oci') await writeLayout(target.path, described);
    else await createArchiveFile(target.path, archiveMembers([described], target.form));
    return { imageId: described.imageId, manifestDigest: described.manifest.digest };
  } catch (error) {
    throw fromSystemError(error, 'cannot write', target.path);
  }
}

/** Raises EEXIST, ENOTARCHIVE. Asked before much work is done, and again by what gives the target its name. */
export async function checkTarget({ form, path: file }: ImageTarget): Promise<void> {
  if (form === 'oci') return checkLayout(file);
  if ((await lstat(file).catch(() => undefined)) !== undefined) throw exists(file);
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

async function writeLayout(directory: string, image: DescribedImage): Promise<void> {
  const writer = await LayoutWriter.open(directory);
  try {
    for (const { digest, sizeBytes, content } of image.blobs) await writer.write(digest, sizeBytes, content);
    await writer.finish(image.descriptors[0]!);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** Where nothing is yet. The file is whole when it has its name. Raises EEXIST. */
export async function createArchiveFile(file: string, members: ArchiveMembers): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await sweep(path.dirname(path.resolve(file)), path.basename(file));
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
