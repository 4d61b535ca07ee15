/** What `cp` copies: a part of a container's tree, a part of the host's, or a tar. Each gives the same items, parents first. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, realpath, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { ByteString } from '../bytes.js';
import { bufferToBytes, displayBytes } from '../bytes.js';
import { fromSystemError, LaminaError } from '../errors.js';
import { detectCompression, inflateStream } from '../layer/compression.js';
import type { NodeType } from '../layer/tree.js';
import { typeOfMode } from '../layer/upper.js';
import { joinPath } from '../merge/view.js';
import type { ImageView, Located } from '../merge/view.js';
import { scanTar } from '../tar/scan.js';
import type { TarEntry } from '../tar/scan.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import type { AppliedAttributes } from './apply.js';
import { scanDirectory } from './scan.js';
import { UpperFiles } from './upper-files.js';

export interface CopyItem {
  /** From where the copy began, which itself is empty. */
  path: ByteString;
  file: AppliedAttributes;
  /** Equal for the names of one file that has several. */
  identity: string | undefined;
  /** A hard link to this path, counted as `path` is; from a tar. */
  linkTo?: ByteString;
  content(): Iterable<Buffer>;
}

const CHUNK_BYTES = 1 << 18;
const EMPTY = (): Iterable<Buffer> => [];

/** Everything from `start` down, as it is in the container. */
export function* fromView(view: ImageView, start: Located): Generator<CopyItem> {
  const prefixLength = joinPath(start.path, '').length;
  for (const { ino, path: at, depth } of view.walk(start)) {
    const inode = view.toc.inode(ino);
    yield {
      path: depth === 0 ? '' : at.slice(prefixLength),
      file: inode,
      identity: inode.type !== 'dir' && inode.nlink > 1 ? String(ino) : undefined,
      content: inode.type === 'file' ? () => view.chunks(ino) : EMPTY,
    };
  }
}

export interface DiskSource {
  /** The last part of its path, once links on the way are followed. */
  name: ByteString;
  isDirectory: boolean;
  items(): Generator<CopyItem>;
  close(): void;
}

/** A file or directory of the host. Raises ENOENT, EACCES. Must be closed. */
export async function fromDisk(given: string, follow: boolean): Promise<DiskSource> {
  let whole: string;
  try {
    const absolute = path.resolve(given);
    // A slash at the end asks for what a link leads to.
    const isFollowed = follow || /\/\.?$/.test(given);
    whole = isFollowed
      ? await realpath(absolute)
      : path.join(await realpath(path.dirname(absolute)), path.basename(absolute));
  } catch (error) {
    throw fromSystemError(error, 'cannot copy', given);
  }
  const { dir, base } = path.parse(whole);
  const entries = await scanDirectory(dir, { inRoot: base, follow: false });
  const files = new UpperFiles(dir);
  const names = [bufferToBytes(Buffer.from(base))];
  return {
    name: names[0]!,
    isDirectory: typeOfMode(entries[0]!.mode) === 'dir',
    close: () => files.close(),
    *items() {
      for (const disk of entries) {
        const { depth } = disk;
        if (depth > 0) names[depth] = disk.name;
        names.length = depth + 1;
        const type = typeOfMode(disk.mode)!;
        const sizeBytes = type === 'file' ? disk.sizeBytes : 0;
        const onDisk = names.filter((name) => name !== '').join('/');
        const source = files.source({ path: onDisk, sizeBytes, disk });
        yield {
          path: names.slice(1).join('/'),
          file: { ...disk, type, mode: disk.mode & 0o7777, sizeBytes, xattrs: disk.xattrs },
          identity: type !== 'dir' && disk.nlink > 1 ? `${disk.dev}:${disk.ino}` : undefined,
          content: type === 'file' ? () => chunks(source, 0, sizeBytes) : EMPTY,
        };
      }
    },
  };
}

/** A tar that comes as a stream, plain or compressed, kept in a file without a name while it is read. Must be closed. */
export async function spoolTar(stream: Readable, directory: string): Promise<SpooledTar> {
  const stored = await spool(stream, directory);
  const compression = detectCompression(stored);
  if (compression === 'none') return stored;
  try {
    return await spool(await inflateStream(compression, stored, () => {}), directory);
  } finally {
    await stored.close();
  }
}

export type SpooledTar = ByteSource & { close(): Promise<void> };

const TAR_NAME = 'the tar on standard input';

async function spool(stream: Readable, directory: string): Promise<SpooledTar> {
  const file = path.join(directory, `${process.pid}-${randomBytes(8).toString('hex')}`);
  const handle = await open(file, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(file);
    let sizeBytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done)).bytesWritten;
      sizeBytes += chunk.length;
    }
    return { fd: handle.fd, offset: 0, sizeBytes, name: TAR_NAME, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code.startsWith('Z_'))
      throw new LaminaError('EBADTAR', `${TAR_NAME}: its compression is damaged`, { cause: error });
    throw fromSystemError(error, 'cannot read', TAR_NAME);
  }
}

/** The entries of a tar, names made relative. Raises EBADTAR, EBADPATH (a name or a link that leads out of the tar). */
export function* fromTar(source: ByteSource): Generator<CopyItem> {
  for (const entry of scanTar(source)) {
    const isLink = entry.type === 'link';
    yield {
      path: inside(entry.name, entry),
      file: {
        ...entry,
        type: isLink ? 'file' : (entry.type as NodeType),
        rdevMajor: entry.devMajor,
        rdevMinor: entry.devMinor,
        target: entry.type === 'symlink' ? entry.linkName : '',
      },
      identity: undefined,
      ...(isLink ? { linkTo: inside(entry.linkName, entry) } : {}),
      content: entry.type === 'file' ? () => tarContent(source, entry) : EMPTY,
    };
  }
}

/** `./a`, `/a` and `a//` are all `a`. */
function inside(name: ByteString, entry: TarEntry): ByteString {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (!parts.includes('..') && !name.includes('\0')) return parts.join('/');
  const shown = displayBytes(entry.name);
  throw new LaminaError('EBADPATH', `the tar's entry "${shown}" leads out of it`, { path: shown });
}

function* tarContent(source: ByteSource, entry: TarEntry): Generator<Buffer> {
  if (entry.extents === undefined) return yield* chunks(source, entry.dataOffset, entry.sizeBytes);
  let position = 0;
  for (const { logical, length, offset } of entry.extents) {
    yield* zeros(logical - position);
    yield* chunks(source, offset, length);
    position = logical + length;
  }
  yield* zeros(entry.sizeBytes - position);
}

function* zeros(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= CHUNK_BYTES) yield Buffer.alloc(Math.min(left, CHUNK_BYTES));
}

function* chunks(source: ByteSource, from: number, length: number): Generator<Buffer> {
  for (let done = 0; done < length;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, length - done));
    const count = readSource(source, chunk, from + done);
    if (count === 0) return;
    done += count;
    yield chunk.subarray(0, count);
  }
}
