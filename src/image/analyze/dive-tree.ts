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

export function diveTree(entries: Iterable<TarEntry>): DiveTree {
  const root = emptyNode('');
  let sizeBytes = 0;
  for (const entry of entries) {
    const path = cleanPath(entry.name);
    if (path === '.' || path === '/') continue;
    const { type, linkName, mode, uid, gid } = entry;
    sizeBytes += entry.sizeBytes;
    addFile(root, path.split('/'), { path, type, linkName, sizeBytes: entry.sizeBytes, mode, uid, gid });
  }
  return { root, sizeBytes };
}

/** Depth first, children before their directory, in byte order; not the root. `path` begins with a slash and has no whiteout prefix at its end. */
export function visitChildrenFirst(
  tree: DiveTree,
  visit: (node: DiveNode, path: ByteString) => void,
  node: DiveNode = tree.root,
  parent: ByteString = '',
): void {
  for (const name of [...node.children.keys()].sort(compareBytes)) {
    const child = node.children.get(name)!;
    visitChildrenFirst(tree, visit, child, `${parent}/${name}`);
    visit(child, `${parent}/${bareName(name)}`);
  }
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
    while (this.#next < layer) this.#stack(this.#trees[this.#next++]!);
    let node: DiveNode | undefined = this.#root;
    for (const name of namesOf(path)) node = node?.children.get(name);
    return node?.file?.type === 'dir' ? subtreeBytes(node) : 0;
  }

  #stack(upper: DiveTree): void {
    visitChildrenFirst(upper, (node, path) => {
      const names = namesOf(path);
      if (isWhiteout(node)) removePath(this.#root, names);
      else addFile(this.#root, names, node.file);
    });
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

function namesOf(path: ByteString): ByteString[] {
  return path.split('/').filter((name) => name !== '');
}

/** The last of equal paths wins. AUFS's bookkeeping and opaque markers make nothing but the directories that hold them. */
function addFile(root: DiveNode, names: readonly ByteString[], file: DiveFile | undefined): void {
  let node = root;
  for (const name of names) {
    if (name === '') continue;
    let child = node.children.get(name);
    if (child === undefined) {
      if (isReservedName(name) && isReservedName(bareName(name))) return;
      child = emptyNode(name);
      node.children.set(name, child);
    }
    node = child;
  }
  node.file = file;
}

function removePath(root: DiveNode, names: readonly ByteString[]): void {
  let parent: DiveNode | undefined = root;
  for (const name of names.slice(0, -1)) parent = parent?.children.get(name);
  parent?.children.delete(names.at(-1)!);
}

/** Go's path.Clean. */
function cleanPath(path: ByteString): ByteString {
  const isRooted = path.startsWith('/');
  const names: ByteString[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..' || (names.length === 0 && !isRooted) || names.at(-1) === '..') names.push(name);
    else names.pop();
  }
  return `${isRooted ? '/' : ''}${names.join('/')}` || '.';
}
