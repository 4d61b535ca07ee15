/**
 * The files of one layer as dive sees them: the tar's own entries, in which a hard link has no size, a whiteout is a node, an opaque
 * marker is nothing, and a directory that no entry describes has no attributes.
 * Source: dive 0.13, dive/filetree/file_tree.go (AddPath, Stack) and dive/image/docker/image_archive.go (getFileList).
 */
import type { ByteString } from '../../bytes.js';
import { compareBytes } from '../../bytes.js';
import { bareName, isReservedName } from '../../layer/whiteout.js';
import type { TarEntry, TarEntryType } from '../../tar/scan.js';

/** dive's FileInfo. */
export interface DiveFile {
  /** As the entry has it, cleaned: no trailing slash, a leading one only where the tar has it. */
  path: ByteString;
  type: TarEntryType;
  linkName: ByteString;
  sizeBytes: number;
  mode: number;
  uid: number;
  gid: number;
}

export interface DiveNode {
  name: ByteString;
  /** undefined for a directory that no entry describes. */
  file: DiveFile | undefined;
  children: Map<ByteString, DiveNode>;
}

export interface DiveTree {
  root: DiveNode;
  /** Sum of the sizes of all entries: dive's size of a layer. */
  sizeBytes: number;
}

/** Takes the entries of one layer's tar, in their order. */
export class DiveTreeBuilder {
  readonly #root = emptyNode('');
  #sizeBytes = 0;
  /** The directory of the entry before, which most entries share. */
  #previous: { path: ByteString; node: DiveNode } = { path: '', node: this.#root };

  add({ name, type, linkName, sizeBytes, mode, uid, gid }: TarEntry): void {
    const path = cleanPath(name);
    if (path === '.' || path === '/') return;
    this.#sizeBytes += sizeBytes;
    const slash = path.lastIndexOf('/');
    const directory = path.slice(0, Math.max(0, slash));
    if (directory !== this.#previous.path) {
      const node = descend(this.#root, directory.split('/'));
      if (node === undefined) return;
      this.#previous = { path: directory, node };
    }
    const node = descend(this.#previous.node, [path.slice(slash + 1)]);
    if (node !== undefined) node.file = { path, type, linkName, sizeBytes, mode, uid, gid };
  }

  finish(): DiveTree {
    return { root: this.#root, sizeBytes: this.#sizeBytes };
  }
}

/** Depth first, children before their directory; not the root. `path` begins with a slash and has no whiteout prefix at its end. */
export function visitChildrenFirst(
  node: DiveNode,
  order: 'byte order' | 'any order',
  visit: (node: DiveNode, path: ByteString) => void,
  path: ByteString = '',
): void {
  for (const child of order === 'any order' ? node.children.values() : sortedChildren(node)) {
    visitChildrenFirst(child, order, visit, `${path}/${child.name}`);
    visit(child, `${path}/${bareName(child.name)}`);
  }
}

function sortedChildren({ children }: DiveNode): DiveNode[] {
  return [...children.values()].sort((a, b) => compareBytes(a.name, b.name));
}

export function isWhiteout(node: DiveNode): boolean {
  return isReservedName(node.name);
}

/** Layers stacked one by one: what a whiteout's size is asked of. */
export class DiveStack {
  readonly #trees: readonly DiveTree[];
  readonly #root: DiveNode;
  #next = 0;

  /** @param trees bottom to top */
  constructor(trees: readonly DiveTree[]) {
    this.#trees = trees;
    this.#root = trees.length === 0 ? emptyNode('') : copyNode(trees[0]!.root);
  }

  /** Sum of the sizes of all that stands below and at `path` in the layers under `layer`; 0 when that is not a described directory. */
  directoryBytes(path: ByteString, layer: number): number {
    while (this.#next < layer) stackNode(this.#root, this.#trees[this.#next++]!.root);
    let node: DiveNode | undefined = this.#root;
    for (const name of path.split('/')) if (name !== '') node = node?.children.get(name);
    return node?.file?.type === 'dir' ? subtreeBytes(node) : 0;
  }
}

/** dive adds and removes children in the order of their names, by which a whiteout comes before most names but not before all. */
function stackNode(lower: DiveNode, upper: DiveNode): void {
  const hasWhiteout = [...upper.children.keys()].some(isReservedName);
  for (const child of hasWhiteout ? sortedChildren(upper) : upper.children.values()) {
    if (isWhiteout(child)) {
      lower.children.delete(bareName(child.name));
      continue;
    }
    let below = lower.children.get(child.name);
    if (below === undefined) {
      below = emptyNode(child.name);
      lower.children.set(child.name, below);
    }
    stackNode(below, child);
    below.file = child.file;
  }
}

function subtreeBytes(node: DiveNode): number {
  let sizeBytes = node.file?.sizeBytes ?? 0;
  for (const child of node.children.values()) sizeBytes += subtreeBytes(child);
  return sizeBytes;
}

function emptyNode(name: ByteString): DiveNode {
  return { name, file: undefined, children: new Map() };
}

function copyNode({ name, file, children }: DiveNode): DiveNode {
  return { name, file, children: new Map([...children].map(([key, child]) => [key, copyNode(child)])) };
}

/**
 * The node at a path below `node`, made where it is not; undefined below and for AUFS's bookkeeping and opaque markers, which make nothing
 * but the directories that hold them.
 */
function descend(node: DiveNode, names: readonly ByteString[]): DiveNode | undefined {
  let at = node;
  for (const name of names) {
    if (name === '') continue;
    let child = at.children.get(name);
    if (child === undefined) {
      if (isReservedName(name) && isReservedName(bareName(name))) return undefined;
      child = emptyNode(name);
      at.children.set(name, child);
    }
    at = child;
  }
  return at;
}

/** Go's path.Clean. */
function cleanPath(name: ByteString): ByteString {
  const path = name.endsWith('/') ? name.slice(0, -1) : name;
  if (path !== '' && !/(^|\/)\.{0,2}(\/|$)/.test(path)) return path;
  return cleanOddPath(name);
}

function cleanOddPath(path: ByteString): ByteString {
  const isRooted = path.startsWith('/');
  const names: ByteString[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..' || (names.length === 0 && !isRooted) || names.at(-1) === '..') names.push(name);
    else names.pop();
  }
  return `${isRooted ? '/' : ''}${names.join('/')}` || '.';
}
