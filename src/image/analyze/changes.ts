/** What each layer does to those below it, path by path, and which versions of files it hides; gathered while layers are merged. */
import type { ByteString } from '../../bytes.js';
import type { DirNode, TreeNode } from '../../layer/tree.js';
import { isDir } from '../../layer/tree.js';
import type { MergeObserver } from '../../merge/merge.js';
import { joinPath } from '../../merge/view.js';
import { changedAttributes } from '../compare/attributes.js';

export type ChangeKind = 'added' | 'modified' | 'removed';

export interface LayerChange {
  path: ByteString;
  kind: ChangeKind;
  /** What stood there before, of whichever layer; undefined when it is added. */
  before: TreeNode | undefined;
  /** undefined when it is removed. */
  after: TreeNode | undefined;
}

/** One version of a file, or of anything but a directory, that a later layer hides. */
export interface HiddenVersion {
  path: ByteString;
  node: TreeNode;
  byLayer: number;
  /** `replaced`: by another version at the path, or by something that is no directory above it. */
  how: 'whiteout' | 'opaque' | 'replaced';
  /** Where the later layer hides it: the path itself or a directory above it. */
  at: ByteString;
  /** What takes its place, where something does. */
  after: TreeNode | undefined;
}

export class ChangeCollector implements MergeObserver {
  /** Of each layer, bottom to top, in no order. Directories that a layer only repeats are not among them. */
  readonly layers: (readonly LayerChange[])[] = [];
  readonly hidden: HiddenVersion[] = [];
  #changes = new Map<ByteString, LayerChange>();
  #hiddenNow = new Map<ByteString, HiddenVersion>();

  put(directory: ByteString, name: ByteString, before: TreeNode | undefined, after: TreeNode): void {
    const path = joinPath(directory, name);
    if (isDir(before)) this.#removeBelow(path, before, 'replaced', path);
    // An opaque directory hid it before its new version came; together they are a change.
    const was = before ?? this.#changes.get(path)?.before;
    if (was === after) {
      // A hard link to the very file that the name had.
      this.#changes.delete(path);
      this.#hiddenNow.delete(path);
      return;
    }
    if (was === undefined) {
      this.#changes.set(path, { path, kind: 'added', before: undefined, after });
      return;
    }
    if (isDir(was) && isDir(after)) return this.#merged(path, was, after);
    this.#changes.set(path, { path, kind: 'modified', before: kept(was), after });
    if (before !== undefined && !isDir(before)) this.#hide(path, before, 'replaced', path);
    const hidden = this.#hiddenNow.get(path);
    if (hidden !== undefined) Object.assign(hidden, { how: 'replaced', at: path, after });
  }

  hide(directory: ByteString, name: ByteString, node: TreeNode, how: 'whiteout' | 'opaque'): void {
    const path = joinPath(directory, name);
    this.#remove(path, node, how, how === 'opaque' ? directory : path);
  }

  describe(path: ByteString, before: DirNode, after: DirNode): void {
    this.#merged(path, before, after);
  }

  endLayer(): void {
    this.layers.push([...this.#changes.values()]);
    this.hidden.push(...this.#hiddenNow.values());
    this.#changes = new Map();
    this.#hiddenNow = new Map();
  }

  #merged(path: ByteString, before: DirNode, after: DirNode): void {
    if (changedAttributes(before, after).length === 0) this.#changes.delete(path);
    else this.#changes.set(path, { path, kind: 'modified', before: kept(before), after });
  }

  #remove(path: ByteString, node: TreeNode, how: HiddenVersion['how'], at: ByteString): void {
    this.#changes.set(path, { path, kind: 'removed', before: kept(node), after: undefined });
    if (isDir(node)) this.#removeBelow(path, node, how, at);
    else this.#hide(path, node, how, at);
  }

  #removeBelow(path: ByteString, dir: DirNode, how: HiddenVersion['how'], at: ByteString): void {
    for (const [name, child] of dir.children) this.#remove(joinPath(path, name), child, how, at);
  }

  #hide(path: ByteString, node: TreeNode, how: HiddenVersion['how'], at: ByteString): void {
    this.#hiddenNow.set(path, { path, node, byLayer: this.layers.length, how, at, after: undefined });
  }
}

/** Directories change under the hand. */
function kept(node: TreeNode): TreeNode {
  return isDir(node) ? { ...node } : node;
}
