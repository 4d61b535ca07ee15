/**
 * One layer's tar -> what the layer adds, hides and makes opaque. Entries are applied in their order, the last of
 * several with one path winning; whiteouts and opaque markers concern lower layers only, so their place among the entries does
 * not matter (image-spec layer.md, Whiteouts). Nothing is read but headers.
 */
import type { ByteString } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { scanTar } from '../tar/scan.js';
import type { TarEntry, TarLimits } from '../tar/scan.js';
import type { ByteSource } from '../tar/source.js';
import type { DirNode, Extent, LayerToc, TocLayer, TreeNode } from './tree.js';
import { addsAnything, HOLE, implicitDir, isDir } from './tree.js';
import { AUFS_LINKS, bareName, entryMeaning } from './whiteout.js';

/** As Linux: path_resolution(7). */
const MAX_SYMLINKS = 40;
const MAX_NAME_BYTES = 255;
const MAX_DEPTH = 4096;

/**
 * Indexes the uncompressed tar of one layer, the `index`th of its image (bottom is 0).
 * `onEntry` is shown every entry of the tar, for those who need them as well.
 * Raises EBADTAR, ELIMIT, EBADPATH, EWHITEOUT, EBADLAYER; the message names `source.name`.
 */
export function indexLayer(
  source: ByteSource,
  layer: TocLayer,
  index = 0,
  limits?: Partial<TarLimits>,
  onEntry?: (entry: TarEntry) => void,
): LayerToc {
  return indexEntries(scanTar(source, limits), source.name, layer, index, onEntry);
}

/** As `indexLayer`, of entries that are known already: of a layer whose tar is not here. */
export function indexEntries(
  entries: Iterable<TarEntry>,
  name: string,
  layer: TocLayer,
  index = 0,
  onEntry?: (entry: TarEntry) => void,
): LayerToc {
  const builder = new LayerBuilder(name, index);
  for (const entry of entries) {
    builder.add(entry);
    onEntry?.(entry);
  }
  return { index, layer, root: builder.finish() };
}

class LayerBuilder {
  readonly #root = implicitDir();
  readonly #whiteouts: { parent: DirNode; name: ByteString }[] = [];
  readonly #links: { node: TreeNode; path: ByteString[] }[] = [];
  /** AUFS's hard-linked files, by path: reached by links only. */
  readonly #aufsFiles = new Map<ByteString, TreeNode>();
  /**
   * The directory of the entry before, which most entries share, and what stands before the name there. undefined when the
   * tree may have changed so that the same text leads elsewhere.
   */
  #previous: { prefix: ByteString; parent: DirNode } | undefined;

  constructor(
    private readonly layerName: string,
    private readonly index: number,
  ) {}

  add(entry: TarEntry): void {
    if (this.#addBesidePrevious(entry)) return;
    const path = this.#splitPath(entry.name, entry);
    const meaning = this.#inContext(entry, () => entryMeaning(path));
    const name = path.at(-1);
    if (name === undefined) return this.#describeRoot(entry);
    if (meaning.kind === 'ignored') {
      this.#aufsFiles.set(path.join('/'), nodeOf(entry, this.index));
      return;
    }
    const parent = this.#parentOf(path, entry);
    this.#previous = {
      prefix: entry.name.slice(0, entry.name.lastIndexOf('/', entry.name.length - 2) + 1),
      parent,
    };
    if (meaning.kind === 'opaque') parent.opaque = true;
    else if (meaning.kind === 'whiteout') this.#whiteouts.push({ parent, name: meaning.name });
    else this.#put(parent, name, entry);
  }

  finish(): DirNode {
    for (const { node, path } of this.#links) this.#resolveForward(node, path);
    for (const { parent, name } of this.#whiteouts) {
      const own = parent.children.get(name);
      // A layer's own entry stays beside its whiteout. If it is a directory, it is a new one: nothing of the lower
      // one shows through it, neither entries nor attributes. One that only hides is not there at all.
      if (own === undefined || (isDir(own) && own.implicit && !addsAnything(own))) {
        parent.children.set(name, {
          ...implicitDir(),
          type: 'whiteout',
          children: undefined,
          implicit: false,
        });
      } else if (isDir(own)) {
        own.opaque = true;
        own.implicit = false;
      }
    }
    return this.#root;
  }

  /** The short way for most entries: an ordinary name in the directory that the entry before was in. */
  #addBesidePrevious(entry: TarEntry): boolean {
    const { name: path } = entry;
    const end = path.endsWith('/') ? path.length - 1 : path.length;
    const start = path.lastIndexOf('/', end - 1) + 1;
    if (
      this.#previous === undefined ||
      start !== this.#previous.prefix.length ||
      !path.startsWith(this.#previous.prefix)
    )
      return false;
    const name = path.slice(start, end);
    if (name === '' || name.startsWith('.') || name.length > MAX_NAME_BYTES || name.includes('\0'))
      return false;
    this.#put(this.#previous.parent, name, entry);
    return true;
  }

  #describeRoot(entry: TarEntry): void {
    if (entry.type !== 'dir')
      throw this.#error('EBADLAYER', entry, 'describes the root directory as something else');
    describeDir(this.#root, entry, this.index);
  }

  #put(parent: DirNode, name: ByteString, entry: TarEntry): void {
    const existing = parent.children.get(name);
    if (entry.type === 'dir') {
      const dir = isDir(existing) ? existing : implicitDir();
      describeDir(dir, entry, this.index);
      parent.children.set(name, dir);
      return;
    }
    const node = entry.type === 'link' ? this.#linked(entry) : nodeOf(entry, this.index);
    if (isDir(existing) || existing?.type === 'symlink') this.#previous = undefined;
    parent.children.set(name, node);
  }

  /** The node that a hard link entry shares; a node of type `link` when its target is not, or not yet, in this layer. */
  #linked(entry: TarEntry): TreeNode {
    const path = this.#splitPath(entry.linkName, entry);
    const target = path[0] === AUFS_LINKS ? this.#aufsFiles.get(path.join('/')) : this.#find(path);
    if (isDir(target))
      throw this.#error(
        'EBADLAYER',
        entry,
        `is a hard link to the directory "${displayBytes(entry.linkName)}"`,
      );
    if (target !== undefined) {
      target.shared = true;
      return target;
    }
    const node: TreeNode = {
      ...nodeOf(entry, this.index),
      type: 'link',
      target: path.join('/'),
      shared: true,
    };
    this.#links.push({ node, path });
    return node;
  }

  /** A link whose target came later in the same layer takes that target's place; all others wait for the merge. */
  #resolveForward(node: TreeNode, path: ByteString[]): void {
    const target = this.#find(path);
    if (target === undefined || target === node || target.type === 'link') return;
    if (isDir(target)) {
      throw new LaminaError(
        'EBADLAYER',
        `${this.layerName}: a hard link leads to the directory "${displayBytes(node.target)}"`,
      );
    }
    target.shared = true;
    replaceNode(this.#root, node, target);
  }

  /** The node at `path` in this layer; symbolic links are not followed at the end, and before it only inside the layer. */
  #find(path: readonly ByteString[]): TreeNode | undefined {
    let dir: DirNode = this.#root;
    for (let index = 0; index < path.length - 1; index++) {
      const child = dir.children.get(path[index]!);
      if (!isDir(child)) return undefined;
      dir = child;
    }
    return path.length === 0 ? dir : dir.children.get(path.at(-1)!);
  }

  /**
   * The directory that an entry goes into, made where the layer does not describe it. A symbolic link of this layer on the way
   * is followed inside the layer, as extraction into an empty root does; anything else in the way gives way.
   */
  #parentOf(path: readonly ByteString[], entry: TarEntry): DirNode {
    let dir: DirNode = this.#root;
    const ancestors: DirNode[] = [];
    const ahead = path.slice(0, -1).reverse();
    let symlinks = 0;
    while (ahead.length > 0) {
      const name = ahead.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        dir = ancestors.pop() ?? this.#root;
        continue;
      }
      let child = dir.children.get(name);
      if (child?.type === 'symlink') {
        if (++symlinks > MAX_SYMLINKS)
          throw this.#error('EBADLAYER', entry, 'runs through a loop of symbolic links');
        if (child.target.startsWith('/')) {
          dir = this.#root;
          ancestors.length = 0;
        }
        ahead.push(...child.target.split('/').reverse());
        continue;
      }
      if (!isDir(child)) {
        child = implicitDir();
        dir.children.set(name, child);
      }
      ancestors.push(dir);
      dir = child as DirNode;
    }
    return dir;
  }

  /** Path -> names; `./`, a leading `/` and doubled slashes mean nothing, `..` is taken as text (umoci, Go's path.Clean). */
  #splitPath(path: ByteString, entry: TarEntry): ByteString[] {
    const names: ByteString[] = [];
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (names.pop() === undefined) throw this.#error('EBADPATH', entry, 'leads out of the root');
        continue;
      }
      if (bareName(name).length > MAX_NAME_BYTES)
        throw this.#error(
          'EBADPATH',
          entry,
          `has a name of ${name.length} bytes; at most ${MAX_NAME_BYTES} can be shown`,
        );
      if (name.includes('\0')) throw this.#error('EBADPATH', entry, 'has a NUL byte in its name');
      names.push(name);
    }
    if (names.length > MAX_DEPTH)
      throw this.#error('ELIMIT', entry, `is deeper than ${MAX_DEPTH} directories`);
    return names;
  }

  #inContext<T>(entry: TarEntry, work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
      throw new LaminaError(error.code, `${this.layerName}: ${error.message} (byte ${entry.headerOffset})`, {
        path: this.layerName,
        offset: entry.headerOffset,
      });
    }
  }

  #error(code: 'EBADPATH' | 'EBADLAYER' | 'ELIMIT', entry: TarEntry, what: string): LaminaError {
    const shown = displayBytes(entry.name.length > 300 ? `${entry.name.slice(0, 300)}...` : entry.name);
    return new LaminaError(
      code,
      `${this.layerName}: entry "${shown}" at byte ${entry.headerOffset} ${what}`,
      {
        path: this.layerName,
        offset: entry.headerOffset,
      },
    );
  }
}

function describeDir(dir: DirNode, entry: TarEntry, layer: number): void {
  dir.implicit = false;
  dir.layer = layer;
  dir.mode = entry.mode;
  dir.uid = entry.uid;
  dir.gid = entry.gid;
  dir.mtimeSec = entry.mtimeSec;
  dir.mtimeNsec = entry.mtimeNsec;
  dir.xattrs = entry.xattrs;
}

function nodeOf(entry: TarEntry, layer: number): TreeNode {
  const isDevice = entry.type === 'char' || entry.type === 'block';
  return {
    type: entry.type,
    // Linux knows no permission bits of symbolic links: symlink(7). Tars made elsewhere carry some.
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtimeSec: entry.mtimeSec,
    mtimeNsec: entry.mtimeNsec,
    layer,
    xattrs: entry.xattrs,
    sizeBytes: entry.type === 'file' ? entry.sizeBytes : 0,
    extents: entry.type === 'file' ? extentsOf(entry, layer) : NO_EXTENTS,
    target: entry.type === 'symlink' ? entry.linkName : '',
    rdevMajor: isDevice ? entry.devMajor : 0,
    rdevMinor: isDevice ? entry.devMinor : 0,
    children: undefined,
    shared: false,
    opaque: false,
    implicit: false,
  };
}

const NO_EXTENTS: readonly Extent[] = [];

/** The runs of data of a file and the holes between them, made explicit. */
function extentsOf(entry: TarEntry, source: number): readonly Extent[] {
  if (entry.sizeBytes === 0) return NO_EXTENTS;
  if (entry.extents === undefined)
    return [{ logical: 0, length: entry.sizeBytes, source, offset: entry.dataOffset }];
  const extents: Extent[] = [];
  let end = 0;
  const holeUntil = (logical: number): void => {
    if (logical > end) extents.push({ logical: end, length: logical - end, source: HOLE, offset: 0 });
  };
  for (const { logical, length, offset } of entry.extents) {
    if (length === 0) continue;
    holeUntil(logical);
    extents.push({ logical, length, source, offset });
    end = logical + length;
  }
  holeUntil(entry.sizeBytes);
  return extents;
}

function replaceNode(dir: DirNode, from: TreeNode, to: TreeNode): void {
  for (const [name, child] of dir.children) {
    if (child === from) dir.children.set(name, to);
    else if (isDir(child)) replaceNode(child, from, to);
  }
}
