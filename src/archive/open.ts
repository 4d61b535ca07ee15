/**
 * Opens an archive, whatever its form: a docker archive, or an OCI layout as a directory or a tar. The form is told from what
 * is in it, never from the name of the file.
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../errors.js';
import { detectCompression, type Compression } from '../layer/compression.js';
import { parseJsonObject, quoted } from '../oci/json.js';
import { BLOCK, checksumMatches, sumBlock } from '../tar/header.js';
import { readSource, type ByteSource } from '../tar/source.js';
import { DirectoryFiles } from './directory-files.js';
import { DOCKER_MANIFEST_PATH, DOCKER_REPOSITORIES_PATH, DockerArchive } from './docker-archive.js';
import { DocumentReader, type ArchiveFiles } from './files.js';
import { DEFAULT_ARCHIVE_LIMITS, type ArchiveForm, type ArchiveLimits, type OpenedArchive } from './image.js';
import { OCI_INDEX_PATH, OCI_LAYOUT_PATH, OciLayout } from './oci-layout.js';
import { TarFiles } from './tar-files.js';

export interface OpenArchiveOptions {
  /** The form it must have; detected when absent. */
  transport?: ArchiveForm;
  /** The plain tar, when `path` is compressed and the caller has inflated it. The caller closes it, after the archive. */
  source?: ByteSource;
  limits?: Partial<ArchiveLimits>;
}

export interface DetectedFile {
  kind: 'directory' | 'tar' | 'compressed' | 'unknown';
  /** For `compressed`. */
  compression?: Exclude<Compression, 'none'>;
}

/** What stands at `path`, by its first bytes. Raises ENOENT, EACCES, EIO. */
export function detectFile(path: string): DetectedFile {
  const kind = statKind(path);
  if (kind !== 'file') return { kind };
  const source = openFile(path);
  try {
    return detectSource(source);
  } finally {
    closeSync(source.fd);
  }
}

/**
 * Opens the archive at `path` and finds out what it holds; nothing of a tar but its headers is read. The caller closes it.
 * Raises ENOENT, EACCES, ENOTARCHIVE, EBADTAR, EBADIMAGE, EBADPATH, ELIMIT, EIO; all is closed then.
 */
export function openArchive(path: string, options: OpenArchiveOptions = {}): OpenedArchive {
  const limits = { ...DEFAULT_ARCHIVE_LIMITS, ...options.limits };
  const { transport } = options;
  if (options.source === undefined && statKind(path) === 'directory') {
    const files = new DirectoryFiles(path);
    if (transport !== undefined && transport !== 'oci')
      throw notArchive(path, `it is a directory, and ${transport} is a file`);
    return orClose(files, () => openLayout('oci', path, files, limits, transport !== undefined));
  }
  if (transport === 'oci') throw notArchive(path, 'it is a file, and an OCI layout is a directory');
  const files = openTar(path, options.source, limits);
  return orClose(files, () => openTarArchive(path, files, transport, limits));
}

function openTar(path: string, given: ByteSource | undefined, limits: ArchiveLimits): TarFiles {
  if (given === undefined && statKind(path) !== 'file')
    throw notArchive(path, 'it is neither a file nor a directory');
  const source = given ?? openFile(path);
  const close = (): void => {
    if (given === undefined) closeSync(source.fd);
  };
  try {
    const { kind, compression } = detectSource(source);
    if (kind === 'compressed') throw notArchive(path, `it is compressed with ${compression}`);
    if (kind === 'unknown') throw notArchive(path, 'it does not begin with the header of a tar');
    // The source may be a cache file; messages speak of what the user named.
    return new TarFiles({ ...source, name: path }, limits.maxMembers, close);
  } catch (error) {
    close();
    throw error;
  }
}

function openTarArchive(
  path: string,
  files: ArchiveFiles,
  transport: ArchiveForm | undefined,
  limits: ArchiveLimits,
): OpenedArchive {
  const isDocker = files.has(DOCKER_MANIFEST_PATH) || files.has(DOCKER_REPOSITORIES_PATH);
  // Archives of docker 25 and later are both; docker's own list has the names as users know them.
  if (isDocker && transport !== 'oci-archive') return new DockerArchive(path, files, limits);
  if (transport === 'docker-archive')
    throw notArchive(path, `it holds neither ${DOCKER_MANIFEST_PATH} nor ${DOCKER_REPOSITORIES_PATH}`);
  return openLayout('oci-archive', path, files, limits, transport !== undefined);
}

/** `isAsked`: the user says that it is one, so that the marker file may be missing. */
function openLayout(
  form: ArchiveForm,
  path: string,
  files: ArchiveFiles,
  limits: ArchiveLimits,
  isAsked: boolean,
): OpenedArchive {
  const marker = files.has(OCI_LAYOUT_PATH);
  const index = files.has(OCI_INDEX_PATH);
  if (!index || (!marker && !isAsked)) {
    const lacking = [marker || isAsked ? '' : OCI_LAYOUT_PATH, index ? '' : OCI_INDEX_PATH].filter(Boolean);
    const docker =
      form === 'oci' || isAsked
        ? ''
        : `neither ${DOCKER_MANIFEST_PATH} nor ${DOCKER_REPOSITORIES_PATH}, and `;
    throw notArchive(path, `it holds ${docker}no ${lacking.join(' and no ')}`);
  }
  if (marker) checkLayoutVersion(path, files, limits);
  return new OciLayout(form, path, files, limits);
}

/** image-spec image-layout.md: `imageLayoutVersion` is 1.0.0 and stays so unless the layout changes. */
function checkLayoutVersion(path: string, files: ArchiveFiles, limits: ArchiveLimits): void {
  const what = `${path}, ${OCI_LAYOUT_PATH}`;
  const bytes = new DocumentReader(files, limits).read(OCI_LAYOUT_PATH, what) ?? Buffer.alloc(0);
  const object = parseJsonObject(bytes, what, limits.maxJsonBytes);
  const version = object.string('imageLayoutVersion');
  if (!/^1\.\d+\.\d+$/.test(version))
    throw object.bad('imageLayoutVersion', `${quoted(version)} is not supported, only 1.x is`);
}

function detectSource(source: ByteSource): DetectedFile {
  const compression = detectCompression(source);
  if (compression !== 'none') return { kind: 'compressed', compression };
  return { kind: isTar(source) ? 'tar' : 'unknown' };
}

/** A first header with a right checksum, or the zeros that end a tar. */
function isTar(source: ByteSource): boolean {
  const block = Buffer.from(new ArrayBuffer(BLOCK));
  if (readSource(source, block, 0) < BLOCK) return false;
  const sum = sumBlock(new Int32Array(block.buffer), 0);
  return sum === 0 || checksumMatches(block, 0, sum);
}

function statKind(path: string): 'directory' | 'file' | 'unknown' {
  try {
    const stats = statSync(path);
    return stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : 'unknown';
  } catch (error) {
    throw fromSystemError(error, 'cannot open', path);
  }
}

function openFile(path: string): ByteSource {
  try {
    return { fd: openSync(path, 'r'), offset: 0, sizeBytes: statSync(path).size, name: path };
  } catch (error) {
    throw fromSystemError(error, 'cannot open', path);
  }
}

function orClose(files: ArchiveFiles, open: () => OpenedArchive): OpenedArchive {
  try {
    return open();
  } catch (error) {
    files.close();
    throw error;
  }
}

function notArchive(path: string, reason: string): LaminaError {
  return new LaminaError('ENOTARCHIVE', `${path} is no archive of images: ${reason}`, { path });
}
