/**
 * The files of an image in the shapes of Node's `fs/promises`, without a mount: the same names, arguments, results and
 * error codes, read-only. Paths are absolute within the image (relative ones start at its root) and cannot leave it.
 */
import { Readable } from 'node:stream';
import type { ByteString } from '../bytes.js';
import { bufferToBytes, bytesToBuffer, utf8ToBytes } from '../bytes.js';
import type { TocInode } from '../merge/toc-reader.js';
import { fsError, joinPath, parentPath } from '../merge/view.js';
import type { ImageView, Located } from '../merge/view.js';
import { ImageDirent, ImageStats } from './image-stats.js';

/** Text is taken as UTF-8. A Buffer holds the bytes themselves, for names that are not UTF-8. */
export type PathArgument = string | Uint8Array;

type EncodingOption = BufferEncoding | { encoding?: BufferEncoding | null | undefined } | null | undefined;

export interface ReaddirOptions {
  withFileTypes?: boolean;
  recursive?: boolean;
}

export interface ReadStreamOptions {
  /** First byte; 0 when absent. */
  start?: number;
  /** Last byte, itself included, as in Node; the end of the file when absent. */
  end?: number;
  encoding?: BufferEncoding;
  highWaterMark?: number;
}

const STREAM_CHUNK_BYTES = 256 * 1024;

export class ImageFs {
  readonly #view: ImageView;

  /** The image behind `view` must stay open for as long as files are read. */
  constructor(view: ImageView) {
    this.#view = view;
  }

  /** The whole file: a Buffer, or text when an encoding is given. Raises ENOENT, ENOTDIR, ELOOP, EISDIR, EINVAL, EIO. */
  async readFile(path: PathArgument, options?: null | { encoding?: null | undefined }): Promise<Buffer>;
  async readFile(path: PathArgument, options: BufferEncoding | { encoding: BufferEncoding }): Promise<string>;
  async readFile(path: PathArgument, options?: EncodingOption): Promise<Buffer | string> {
    const inode = this.#file(toBytes(path), 'open');
    const content = Buffer.allocUnsafe(inode.sizeBytes);
    this.#view.read(inode.ino, content, 0);
    const encoding = encodingOf(options);
    return encoding === undefined ? content : content.toString(encoding);
  }

  /**
   * The names in a directory, in byte order; with `recursive` paths relative to it, a directory before its children. Names that are not UTF-8
   * are shown as Node shows them: with `withFileTypes` an entry's `nameBytes` has the bytes. Raises ENOENT, ENOTDIR, ELOOP.
   */
  async readdir(path: PathArgument, options?: ReaddirOptions & { withFileTypes?: false }): Promise<string[]>;
  async readdir(
    path: PathArgument,
    options: ReaddirOptions & { withFileTypes: true },
  ): Promise<ImageDirent[]>;
  async readdir(path: PathArgument, options: ReaddirOptions = {}): Promise<string[] | ImageDirent[]> {
    const bytes = toBytes(path);
    const start = this.#view.locate(bytes, { syscall: 'scandir' });
    if (this.#view.toc.inode(start.ino).type !== 'dir') throw fsError('ENOTDIR', 'scandir', bytes);
    const found: { dirent: ImageDirent; relative: string }[] = [];
    const prefixLength = joinPath(start.path, '').length;
    for (const entry of this.#view.walk(start, ({ depth }) => depth === 0 || options.recursive === true)) {
      if (entry.depth === 0) continue;
      // A path is shown as the caller began it, not as it was resolved.
      const relative = entry.path.slice(prefixLength);
      const parent = relative.includes('/') ? joinPath(bytes, parentPath(relative)) : bytes;
      found.push({
        dirent: new ImageDirent(entry.name, toText(parent), entry.type, entry.ino),
        relative: toText(relative),
      });
    }
    return options.withFileTypes === true
      ? found.map(({ dirent }) => dirent)
      : found.map(({ relative }) => relative);
  }

  /** Of what the path leads to. Raises ENOENT, ENOTDIR, ELOOP. */
  async stat(path: PathArgument): Promise<ImageStats> {
    return this.#stats(this.#view.stat(toBytes(path)));
  }

  /** Of the name itself when it is a symbolic link. Raises ENOENT, ENOTDIR, ELOOP. */
  async lstat(path: PathArgument): Promise<ImageStats> {
    return this.#stats(this.#view.lstat(toBytes(path)));
  }

  /** The text of a symbolic link as it was written. Raises ENOENT, ENOTDIR, ELOOP, EINVAL. */
  async readlink(path: PathArgument): Promise<string>;
  async readlink(path: PathArgument, options: 'buffer'): Promise<Buffer>;
  async readlink(path: PathArgument, options?: 'buffer'): Promise<string | Buffer> {
    const target = this.#view.readlink(toBytes(path));
    return options === 'buffer' ? bytesToBuffer(target) : toText(target);
  }

  /** The absolute path within the image, every symbolic link followed. Raises ENOENT, ENOTDIR, ELOOP. */
  async realpath(path: PathArgument): Promise<string> {
    return toText(this.#view.realpath(toBytes(path)));
  }

  /** Returns when there is such a file, whoever may read it there. Raises ENOENT, ENOTDIR, ELOOP. */
  async access(path: PathArgument): Promise<void> {
    this.#view.resolve(toBytes(path), { syscall: 'access' });
  }

  /** Whether the path leads to anything. */
  async exists(path: PathArgument): Promise<boolean> {
    try {
      await this.access(path);
      return true;
    } catch {
      return false;
    }
  }

  /** Extended attributes of what the path leads to, by name. Raises ENOENT, ENOTDIR, ELOOP. */
  async xattrs(path: PathArgument): Promise<Map<string, Buffer>> {
    const { xattrs = [] } = this.#view.stat(toBytes(path));
    return new Map(xattrs.map(({ name, value }) => [toText(name), Buffer.from(value)]));
  }

  /** A stream of the file's bytes. ENOENT and the like are given by the stream's `error` event, as in Node. */
  createReadStream(path: PathArgument, options: ReadStreamOptions = {}): Readable {
    const view = this.#view;
    const { start = 0, end = Infinity, encoding, highWaterMark = STREAM_CHUNK_BYTES } = options;
    if (!(start >= 0) || end < start) {
      throw new RangeError(`expected 0 <= start <= end but received start ${start} and end ${end}`);
    }
    const open = (): TocInode => this.#file(toBytes(path), 'open');
    const stream = Readable.from(
      (function* () {
        yield* view.chunks(open().ino, start, end + 1, highWaterMark);
      })(),
      { objectMode: false, highWaterMark },
    );
    return encoding === undefined ? stream : stream.setEncoding(encoding);
  }

  /** Everything from `path` down, depth first, children in byte order. Raises ENOENT, ENOTDIR, ELOOP. */
  async *walk(path: PathArgument = '/'): AsyncGenerator<{ path: string; stats: ImageStats }> {
    const start: Located = this.#view.locate(toBytes(path), { follow: false });
    for (const entry of this.#view.walk(start)) {
      yield { path: toText(entry.path), stats: this.#stats(this.#view.toc.inode(entry.ino)) };
    }
  }

  #stats(inode: TocInode): ImageStats {
    return new ImageStats(inode, this.#view.extents(inode.ino));
  }

  /** The regular file at `path`. A device, FIFO or socket of an image leads to nothing that could be read. */
  #file(path: ByteString, syscall: string): TocInode {
    const inode = this.#view.toc.inode(this.#view.resolve(path, { syscall }));
    if (inode.type === 'dir') throw fsError('EISDIR', 'read', path);
    if (inode.type !== 'file') throw fsError('EINVAL', 'read', path);
    return inode;
  }
}

function toBytes(path: PathArgument): ByteString {
  if (typeof path === 'string') return utf8ToBytes(path);
  if (path instanceof Uint8Array) return bufferToBytes(path);
  throw new TypeError(`expected a string or Buffer for path but received ${typeof path}`);
}

function toText(bytes: ByteString): string {
  return bytesToBuffer(bytes).toString('utf8');
}

function encodingOf(options: EncodingOption): BufferEncoding | undefined {
  return (typeof options === 'string' ? options : options?.encoding) ?? undefined;
}
