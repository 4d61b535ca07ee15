/**
 * What a path leads to, through the upper directory and the TOC below it (kernel: fs/overlayfs/namei.c, ovl_lookup). An upper
 * object lies at the path that shows it; what is below is found by name, or by the redirect that the object carries. This process
 * alone writes to the upper while it holds the lock: what was found is remembered until something here changes it.
 */
import { LRUCache } from 'lru-cache';
import type { ByteString } from '../../../bytes.js';
import type { NodeType, TreeReader } from '../../../layer/tree.js';
import { ROOT_INO } from '../../../layer/tree.js';
import { TYPE_OF_BITS } from '../../../merge/toc-format.js';
import type { Place } from './descriptors.js';
import { Descriptors, openDirectory } from './descriptors.js';
import { systemError } from './errno.js';
import type { Upper, UpperStat } from './upper.js';
import { S_IFMT } from './upper.js';
import type { Marks } from './xattrs.js';

const CACHED_PATHS = 65_536;
const CACHED_MARKS = 65_536;
const OPEN_DIRECTORIES = 256;

/** A name that is there. Paths begin with a slash but for the root's, which is empty. */
export interface Found {
  path: ByteString;
  type: NodeType;
  /** Inode number of the upper object. */
  object: bigint | undefined;
  /** Inode of the TOC: the directory that shows through, the file with the content or, without an upper object, all of it. */
  lower: number | undefined;
}

/** A name that is not there. A whiteout may stand in its place. */
export interface Missing {
  path: ByteString;
  type: undefined;
  whiteout: boolean;
}

export class Lookup {
  readonly #paths = new LRUCache<ByteString, Found>({ max: CACHED_PATHS });
  /** By inode number: all names of a file share them. */
  readonly #marks = new LRUCache<bigint, Marks>({ max: CACHED_MARKS });
  readonly #directories = new Descriptors(OPEN_DIRECTORIES);
  /** TOC directory -> where it has been seen, of those that were renamed. Checked when it is used. */
  readonly #moved = new Map<number, ByteString>();
  readonly #root: Found;

  constructor(
    readonly upper: Upper,
    readonly toc: TreeReader,
  ) {
    const status = upper.stat({ dir: upper.root, name: '.' })!;
    this.#root = { path: '', type: 'dir', object: status.ino, lower: ROOT_INO };
  }

  /** Raises ENOTDIR where the way leads through something else. */
  find(path: ByteString): Found | Missing {
    if (path === '' || path === '/') return this.#root;
    const known = this.#paths.get(path);
    if (known !== undefined) return known;
    const slash = path.lastIndexOf('/');
    const parent = this.find(path.slice(0, slash));
    if (parent.type === undefined) return { path, type: undefined, whiteout: false };
    if (parent.type !== 'dir') throw systemError('ENOTDIR');
    const found = this.#child(parent, path, path.slice(slash + 1));
    if (found.type !== undefined) this.#paths.set(path, found);
    return found;
  }

  /** Raises ENOENT. */
  get(path: ByteString): Found {
    const found = this.find(path);
    if (found.type === undefined) throw systemError('ENOENT');
    return found;
  }

  /** Raises ENOENT, ENOTDIR. */
  getDirectory(path: ByteString): Found {
    const found = this.get(path);
    if (found.type !== 'dir') throw systemError('ENOTDIR');
    return found;
  }

  /** Where the upper object of a path is, or is to be; its directory must have one. */
  place(path: ByteString): Place {
    if (path === '') return { dir: this.upper.root, name: '.' };
    const slash = path.lastIndexOf('/');
    return { dir: this.directory(path.slice(0, slash)), name: path.slice(slash + 1) };
  }

  /** Descriptor of the upper part of a directory; valid until `settle`. */
  directory(path: ByteString): number {
    if (path === '') return this.upper.root;
    return this.#directories.get(path, () => openDirectory(this.place(path)));
  }

  status(found: Found): UpperStat {
    const status = this.upper.stat(this.place(found.path));
    if (status === undefined) throw systemError('ESTALE');
    return status;
  }

  marks(found: Found & { object: bigint }): Marks {
    return this.#marksOf(found.object, this.place(found.path));
  }

  isMetacopy(found: Found): boolean {
    return (
      found.object !== undefined &&
      found.type === 'file' &&
      this.#marksOf(found.object, this.place(found.path)).metacopy
    );
  }

  /** Whether a whiteout is needed to hide a name. */
  lowerHas(parent: Found, name: ByteString): boolean {
    return parent.lower !== undefined && this.toc.lookup(parent.lower, name) !== undefined;
  }

  /** What was known of a name is not true any more. */
  forget(path: ByteString): void {
    this.#paths.delete(path);
    this.#directories.drop(path);
  }

  /** As `forget`, and of everything below it. */
  forgetTree(path: ByteString): void {
    this.forget(path);
    const below = `${path}/`;
    for (const key of [...this.#paths.keys()]) if (key.startsWith(below)) this.#paths.delete(key);
    this.#directories.dropBelow(below);
  }

  forgetMarks(object: bigint): void {
    this.#marks.delete(object);
  }

  /** A directory of the TOC has another name. What moved along with it is found from there. */
  moved(ino: number, path: ByteString): void {
    this.#moved.set(ino, path);
  }

  /** Where a directory of the TOC is shown now; undefined when it is hidden, or was moved before this mount. */
  pathOfLower(
    ino: number,
    home: (ino: number) => { parent: number; name: ByteString },
  ): ByteString | undefined {
    if (ino === ROOT_INO) return '';
    const isHere = (path: ByteString): boolean => {
      const found = this.find(path);
      return found.type === 'dir' && found.lower === ino;
    };
    const moved = this.#moved.get(ino);
    if (moved !== undefined && isHere(moved)) return moved;
    const { parent, name } = home(ino);
    const above = this.pathOfLower(parent, home);
    const path = above === undefined ? undefined : `${above}/${name}`;
    return path !== undefined && isHere(path) ? path : undefined;
  }

  /** Between two requests. */
  settle(): void {
    this.#directories.settle();
  }

  close(): void {
    this.#directories.close();
  }

  #child(parent: Found, path: ByteString, name: ByteString): Found | Missing {
    if (parent.object !== undefined) {
      const place = { dir: this.directory(parent.path), name };
      const status = this.upper.stat(place);
      if (status !== undefined) return this.#upperChild(parent, path, place, status);
    }
    const lower = parent.lower === undefined ? undefined : this.toc.lookup(parent.lower, name);
    if (lower === undefined) return { path, type: undefined, whiteout: false };
    return { path, type: this.toc.inode(lower).type, object: undefined, lower };
  }

  #upperChild(parent: Found, path: ByteString, place: Place, status: UpperStat): Found | Missing {
    // Read anew: the number may have been another object's.
    const marks = this.upper.marks(place);
    this.#marks.set(status.ino, marks);
    if (this.upper.isWhiteout(status, marks)) return { path, type: undefined, whiteout: true };
    const type = TYPE_OF_BITS.get(status.mode & S_IFMT)!;
    const found: Found = { path, type, object: status.ino, lower: undefined };
    if ((type === 'dir' && !marks.opaque) || (type === 'file' && marks.metacopy)) {
      const below = this.#below(parent, marks.redirect ?? place.name);
      if (below !== undefined && this.toc.inode(below).type === type) found.lower = below;
      if (type === 'dir' && found.lower !== undefined && marks.redirect !== undefined)
        this.#moved.set(found.lower, path);
    }
    return found;
  }

  /** A path from the root of the TOC, or a name in the directory below `parent`. */
  #below(parent: Found, redirect: ByteString): number | undefined {
    if (!redirect.startsWith('/'))
      return parent.lower === undefined ? undefined : this.toc.lookup(parent.lower, redirect);
    let ino: number | undefined = ROOT_INO;
    for (const name of redirect.slice(1).split('/')) {
      ino = this.toc.lookup(ino, name);
      if (ino === undefined) return undefined;
    }
    return ino;
  }

  #marksOf(object: bigint, place: Place): Marks {
    let marks = this.#marks.get(object);
    if (marks === undefined) {
      marks = this.upper.marks(place);
      this.#marks.set(object, marks);
    }
    return marks;
  }
}
