/**
 * A merged TOC and its layers' tars as a filesystem that can be asked by path, without a mount. The rule it guards: nothing
 * leads out of the image. Absolute symbolic links start at the image's root and `..` stops there, as in a chroot.
 * Source: path_resolution(7), readlink(2); 40 links as the kernel allows (include/linux/namei.h, MAXSYMLINKS).
 */
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { ErrorCode } from '../errors.js';
import type { Extent, NodeType, TreeReader } from '../layer/tree.js';
import type { ByteSource } from '../tar/source.js';
import { MAX_DEPTH } from './encode.js';
import type { TocEntry, TocInode } from './toc-reader.js';
import { ROOT_INO } from './toc-reader.js';
import { readExtents } from './view-read.js';

/** A name found: what it leads to, and its path with no symbolic link, `.` or `..` in it. */
export interface Located {
  ino: number;
  path: ByteString;
}

/** One name of a tree in depth-first order. */
export interface WalkEntry extends Located {
  /** The last part of the path; `/` for the root. */
  name: ByteString;
  type: NodeType;
  /** 0 for where the walk began. */
  depth: number;
}

const MAX_SYMLINKS = 40;
const CACHED_DIRECTORIES = 4096;
const CACHED_EXTENT_LISTS = 256;

const MESSAGES = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EISDIR: 'illegal operation on a directory',
  ELOOP: 'too many symbolic links encountered',
  EINVAL: 'invalid argument',
} as const satisfies Partial<Record<ErrorCode, string>>;

/** The error that Node's fs would raise: the same code, `syscall`, `path` and message. */
export function fsError(code: keyof typeof MESSAGES, syscall: string, path: ByteString): LaminaError {
  const shown = displayBytes(path);
  return new LaminaError(code, `${code}: ${MESSAGES[code]}, ${syscall} '${shown}'`, {
    path: shown,
    errno: code,
    syscall,
  });
}

/** Where a walk along a path stands: always a directory but for the last step. */
interface Position extends Located {
  symlinks: number;
}

export class ImageView {
  readonly #directories = new LRUCache<ByteString, Position>({ max: CACHED_DIRECTORIES });
  readonly #extents = new LRUCache<number, readonly Extent[]>({ max: CACHED_EXTENT_LISTS });

  /**
   * @param toc     a merged TOC, or what stands for one
   * @param sources the uncompressed tar of each layer, bottom to top; whoever opened them closes them
   */
  constructor(
    readonly toc: TreeReader,
    readonly sources: readonly ByteSource[],
  ) {
    if (toc.kind !== 'merged') throw new TypeError('expected a merged TOC but received that of one layer');
    const { sourceCount = toc.layers.length } = toc;
    if (sources.length !== sourceCount) {
      throw new RangeError(`expected ${sourceCount} sources but received ${sources.length}`);
    }
  }

  /**
   * The ino that `path` leads to. Relative paths start at the root.
   * @param options.follow whether a symbolic link at the end of the path is followed; true when absent
   * @param options.syscall what the error says was tried
   * Raises ENOENT, ENOTDIR, ELOOP.
   */
  resolve(path: ByteString, options: { follow?: boolean; syscall?: string } = {}): number {
    return this.locate(path, options).ino;
  }

  /** As `resolve`, with the path that the name has once every symbolic link on the way is followed. */
  locate(path: ByteString, options: { follow?: boolean; syscall?: string } = {}): Located {
    const { follow = true, syscall = 'stat' } = options;
    const fail = (code: 'ENOENT' | 'ENOTDIR' | 'ELOOP'): LaminaError => fsError(code, syscall, path);
    if (path === '' || path.includes('\0')) throw fail('ENOENT');
    const cut = path.replace(/[^/]*$/, '').length;
    const last = path.slice(cut);
    const parent = this.#directory(path.slice(0, cut), fail);
    return this.#walk(parent, last, follow, fail);
  }

  /** Following symbolic links. Raises ENOENT, ENOTDIR, ELOOP. */
  stat(path: ByteString): TocInode {
    return this.toc.inode(this.resolve(path));
  }

  /** Of a symbolic link itself. Raises ENOENT, ENOTDIR, ELOOP. */
  lstat(path: ByteString): TocInode {
    return this.toc.inode(this.resolve(path, { follow: false, syscall: 'lstat' }));
  }

  /** The names in a directory, in byte order, without `.` and `..`. Raises ENOENT, ENOTDIR, ELOOP. */
  readdir(path: ByteString): TocEntry[] {
    const ino = this.resolve(path, { syscall: 'scandir' });
    if (this.toc.inode(ino).type !== 'dir') throw fsError('ENOTDIR', 'scandir', path);
    return this.toc.entries(ino);
  }

  /** The text of a symbolic link, as it was written. Raises ENOENT, ENOTDIR, ELOOP, and EINVAL when it is none. */
  readlink(path: ByteString): ByteString {
    const inode = this.toc.inode(this.resolve(path, { follow: false, syscall: 'readlink' }));
    if (inode.type !== 'symlink') throw fsError('EINVAL', 'readlink', path);
    return inode.target;
  }

  /** The absolute path that `path` leads to, free of symbolic links, `.` and `..`. Raises ENOENT, ENOTDIR, ELOOP. */
  realpath(path: ByteString): ByteString {
    return this.locate(path, { syscall: 'realpath' }).path;
  }

  /** Where the bytes of a regular file lie; empty for all else. */
  extents(ino: number): readonly Extent[] {
    let extents = this.#extents.get(ino);
    if (extents === undefined) {
      extents = this.toc.extents(ino);
      this.#extents.set(ino, extents);
    }
    return extents;
  }

  /**
   * pread(2) of a regular file: fills `buffer` from `position` of the file and returns the number of bytes, fewer than asked for only at the
   * end. Holes are zeros. Raises EIO when a tar is shorter than it was.
   */
  read(ino: number, buffer: Uint8Array, position: number): number {
    return readExtents(this.extents(ino), this.sources, buffer, position);
  }

  /** The bytes of a regular file from `start` up to, not including, `end`, in pieces of at most `chunkBytes`. */
  *chunks(ino: number, start = 0, end = Infinity, chunkBytes = 1 << 18): Generator<Buffer> {
    const stop = Math.min(end, this.toc.inode(ino).sizeBytes);
    for (let position = start; position < stop;) {
      const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, stop - position));
      if (this.read(ino, chunk, position) < chunk.length) {
        throw new LaminaError('EBADTOC', `inode ${ino} has no extent for all of its bytes`);
      }
      position += chunk.length;
      yield chunk;
    }
  }

  /**
   * Everything from `start` down, a directory before its children, children in byte order. Symbolic links are
   * not followed.
   * @param descend whether to go into a directory that was just yielded; into every one when absent
   */
  *walk(
    start: Located = { ino: ROOT_INO, path: '/' },
    descend: (entry: WalkEntry) => boolean = () => true,
  ): Generator<WalkEntry> {
    const { ino, path } = start;
    const first = { ino, path, name: baseName(path), type: this.toc.inode(ino).type, depth: 0 };
    const ahead: WalkEntry[] = [first];
    for (let entry = ahead.pop(); entry !== undefined; entry = ahead.pop()) {
      yield entry;
      if (entry.type !== 'dir' || !descend(entry)) continue;
      if (entry.depth > MAX_DEPTH) {
        throw new LaminaError('EBADTOC', `the tree is deeper than ${MAX_DEPTH} directories`);
      }
      const children = this.toc.entries(entry.ino);
      for (const child of children.reverse()) {
        ahead.push({ ...child, path: joinPath(entry.path, child.name), depth: entry.depth + 1 });
      }
    }
  }

  /** The directory that all of a path but its last part leads to. Remembered: an image does not change. */
  #directory(path: ByteString, fail: (code: 'ENOENT' | 'ENOTDIR' | 'ELOOP') => LaminaError): Position {
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    const found = this.#walk({ ino: ROOT_INO, path: '/', symlinks: 0 }, `${path}.`, true, fail);
    this.#directories.set(path, found);
    return found;
  }

  #walk(
    from: Position,
    path: ByteString,
    follow: boolean,
    fail: (code: 'ENOENT' | 'ENOTDIR' | 'ELOOP') => LaminaError,
  ): Position {
    let { ino, path: at, symlinks } = from;
    const ahead = path.split('/').reverse();
    while (ahead.length > 0) {
      const name = ahead.pop()!;
      // A trailing slash or `.` asks for a directory, as every other part does.
      if (this.#typeOf(ino) !== 'dir') throw fail('ENOTDIR');
      if (name === '' || name === '.') continue;
      if (name === '..') {
        ino = this.toc.inode(ino).parent;
        at = parentPath(at);
        continue;
      }
      const child = this.toc.lookup(ino, name);
      if (child === undefined) throw fail('ENOENT');
      if (this.#typeOf(child) === 'symlink' && (follow || ahead.length > 0)) {
        if (++symlinks > MAX_SYMLINKS) throw fail('ELOOP');
        const { target } = this.toc.inode(child);
        if (target === '') throw fail('ENOENT');
        if (target.startsWith('/')) [ino, at] = [ROOT_INO, '/'];
        ahead.push(...target.split('/').reverse());
        continue;
      }
      ino = child;
      at = joinPath(at, name);
    }
    return { ino, path: at, symlinks };
  }

  #typeOf(ino: number): NodeType {
    return this.toc.inode(ino).type;
  }
}

/** `/` and `a` -> `/a`. */
export function joinPath(directory: ByteString, name: ByteString): ByteString {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}

/** The path without its last part; `/` for the root. For absolute paths as `realpath` gives them. */
export function parentPath(path: ByteString): ByteString {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}

/** The last part of an absolute path as `realpath` gives it; `/` for the root. */
export function baseName(path: ByteString): ByteString {
  return path === '/' ? path : path.slice(path.lastIndexOf('/') + 1);
}
