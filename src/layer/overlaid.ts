/**
 * An upper directory over a merged TOC as one tree: what a mount of the container shows. Only what the upper names is kept; all else
 * is asked of the lower tree when it is asked for, so that the cost follows the change and not the image. The rules are
 * overlayfs's (Documentation/filesystems/overlayfs.rst: merged directories, redirect_dir, metacopy).
 */
import type { ByteString } from '../bytes.js';
import type { Extent, TocLayer, TreeEntry, TreeInode, TreeReader } from './tree.js';
import { NO_LAYER, ROOT_INO } from './tree.js';
import { badUpper } from './upper.js';
import type { UpperNode } from './upper.js';

/** An inode that the upper describes. */
export interface Overlaid {
  upper: UpperNode;
  /** dir: the lower directory that shows through. metacopy: the lower file with the content. */
  lowerIno: number | undefined;
  parent: number;
  /** Names in the upper. */
  nlink: number;
  /** file with content of its own: its place in `files`, else -1. */
  fileIndex: number;
  /** Names in the lower tree lead to it as well. */
  isIndexed: boolean;
}

export class OverlaidTree implements TreeReader {
  readonly kind = 'merged';
  readonly layers: readonly TocLayer[];
  /** Upper files that have content of their own. Their extents name the sources after those of the layers, in this order. */
  readonly files: UpperNode[] = [];
  readonly #lower: TreeReader;
  readonly #overlaid = new Map<number, Overlaid>();
  /** Inode on the disk -> ino: the names of one file are one inode. */
  readonly #inos = new Map<string, number>();
  /** Lower files that the upper describes under names of the lower tree too -> their inos here. */
  readonly #indexed = new Map<number, number>();
  #nextIno: number;

  /**
   * @param indexed copied-up files by lower ino, for names that are not in the upper (kernel-index.ts)
   * Raises EUPPER where a metacopy has lost its lower file.
   */
  constructor(lower: TreeReader, root: UpperNode, indexed: ReadonlyMap<number, UpperNode> = new Map()) {
    this.#lower = lower;
    this.layers = lower.layers;
    this.#nextIno = lower.inodeCount + 1;
    this.#place(root, ROOT_INO, ROOT_INO, root.opaque ? undefined : ROOT_INO);
    for (const [lowerIno, node] of indexed) this.#placeIndexed(node, lowerIno);
  }

  /** Whether names of the lower tree may lead to what the upper describes. */
  get hasIndexed(): boolean {
    return this.#indexed.size > 0;
  }

  /** Whether an inode is such a file. */
  isIndexed(ino: number): boolean {
    return this.#overlaid.get(ino)?.isIndexed === true;
  }

  get inodeCount(): number {
    return this.#nextIno - 1;
  }

  get sourceCount(): number {
    return this.layers.length + this.files.length;
  }

  /** What the upper says of an inode; undefined when it is all the lower tree's. */
  overlaid(ino: number): Overlaid | undefined {
    return this.#overlaid.get(ino);
  }

  inode(ino: number): TreeInode {
    const found = this.#overlaid.get(ino);
    if (found === undefined) return this.#lower.inode(ino);
    const { upper, parent, nlink } = found;
    const content = upper.metacopy ? this.#lower.inode(found.lowerIno!).sizeBytes : upper.sizeBytes;
    return {
      ino,
      type: upper.type,
      mode: upper.mode,
      nlink,
      uid: upper.uid,
      gid: upper.gid,
      sizeBytes: upper.type === 'symlink' ? upper.target.length : content,
      mtimeSec: upper.mtimeSec,
      mtimeNsec: upper.mtimeNsec,
      rdevMajor: upper.rdevMajor,
      rdevMinor: upper.rdevMinor,
      layer: NO_LAYER,
      target: upper.target,
      xattrs: upper.xattrs,
      parent: upper.type === 'dir' ? parent : 0,
      opaque: false,
      implicit: false,
    };
  }

  lookup(parentIno: number, name: ByteString): number | undefined {
    const found = this.#overlaid.get(parentIno);
    if (found === undefined) return this.#shown(this.#lower.lookup(parentIno, name));
    const child = found.upper.children?.get(name);
    if (child !== undefined) return child.type === 'whiteout' ? undefined : this.#inoOf(child);
    return found.upper.type === 'dir' && found.lowerIno !== undefined
      ? this.#shown(this.#lower.lookup(found.lowerIno, name))
      : undefined;
  }

  entries(ino: number): TreeEntry[] {
    const found = this.#overlaid.get(ino);
    if (found === undefined) return this.#lowerEntries(ino);
    const { children } = found.upper;
    if (children === undefined) return [];
    const entries = found.lowerIno === undefined ? [] : this.#lowerEntries(found.lowerIno);
    const shown = entries.filter(({ name }) => !children.has(name));
    for (const [name, child] of children) {
      if (child.type !== 'whiteout') shown.push({ name, ino: this.#inoOf(child), type: child.type });
    }
    return shown.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  extents(ino: number): readonly Extent[] {
    const found = this.#overlaid.get(ino);
    if (found === undefined) return this.#lower.extents(ino);
    const { upper, lowerIno, fileIndex } = found;
    if (upper.metacopy) return this.#lower.extents(lowerIno!);
    if (fileIndex < 0 || upper.sizeBytes === 0) return [];
    const source = this.layers.length + fileIndex;
    return [{ logical: 0, length: upper.sizeBytes, source, offset: 0 }];
  }

  #lowerEntries(ino: number): TreeEntry[] {
    const entries = this.#lower.entries(ino);
    if (!this.hasIndexed) return entries;
    return entries.map((entry) => ({ ...entry, ino: this.#shown(entry.ino) }));
  }

  /** What stands for a lower inode. */
  #shown<Ino extends number | undefined>(lowerIno: Ino): Ino | number {
    return lowerIno === undefined ? lowerIno : (this.#indexed.get(lowerIno) ?? lowerIno);
  }

  #placeIndexed(node: UpperNode, lowerIno: number): void {
    // A file in many pieces has a number that does not tell its ino: then only its names in the upper count.
    if (lowerIno > this.#lower.inodeCount || this.#lower.inode(lowerIno).type !== node.type) return;
    let ino = this.#inos.get(keyOf(node));
    if (ino === undefined) this.#place(node, (ino = this.#nextIno++), ROOT_INO, lowerIno);
    const placed = this.#overlaid.get(ino)!;
    if (placed.upper.metacopy) placed.lowerIno = lowerIno;
    placed.isIndexed = true;
    placed.nlink = node.linksInUnion ?? placed.nlink;
    this.#indexed.set(lowerIno, ino);
  }

  #place(node: UpperNode, ino: number, parent: number, lowerIno: number | undefined): void {
    const isOwnContent = node.type === 'file' && !node.metacopy;
    const fileIndex = isOwnContent ? this.files.push(node) - 1 : -1;
    this.#overlaid.set(ino, {
      upper: node,
      lowerIno,
      parent,
      nlink: node.type === 'dir' ? 2 : 1,
      fileIndex,
      isIndexed: false,
    });
    this.#inos.set(keyOf(node), ino);
    for (const [name, child] of node.children ?? []) {
      if (child.type === 'whiteout') continue;
      const known = child.type === 'dir' ? undefined : this.#inos.get(keyOf(child));
      if (known !== undefined) {
        this.#overlaid.get(known)!.nlink++;
        continue;
      }
      const below = this.#lowerOf(child, name, lowerIno);
      // A directory keeps the number that its lower children know as their parent's.
      const isFree = child.type === 'dir' && below !== undefined && !this.#overlaid.has(below);
      this.#place(child, isFree ? below : this.#nextIno++, ino, below);
    }
  }

  #lowerOf(node: UpperNode, name: ByteString, parentLower: number | undefined): number | undefined {
    if (node.type !== 'dir' && !node.metacopy) return undefined;
    if (node.opaque) return undefined;
    const found = followRedirect(this.#lower, node.redirect ?? name, parentLower);
    const type = found === undefined ? undefined : this.#lower.inode(found).type;
    if (node.metacopy && type !== 'file') throw badUpper(node.path, 'the file with its content is gone');
    return type === node.type ? found : undefined;
  }

  #inoOf(node: UpperNode): number {
    return this.#inos.get(keyOf(node))!;
  }
}

/**
 * The ino in `lower` of a path from its root, or of a name in its directory `parentLower`; undefined when there is none. Links are
 * not followed, as overlayfs does not.
 */
export function followRedirect(
  lower: TreeReader,
  redirect: ByteString,
  parentLower: number | undefined,
): number | undefined {
  if (!redirect.startsWith('/'))
    return parentLower === undefined ? undefined : lower.lookup(parentLower, redirect);
  let ino: number | undefined = ROOT_INO;
  for (const name of redirect.slice(1).split('/')) {
    ino = lower.lookup(ino, name);
    if (ino === undefined) return undefined;
  }
  return ino;
}

function keyOf({ disk }: UpperNode): string {
  return `${disk.dev}:${disk.ino}`;
}
