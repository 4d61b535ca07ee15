/**
 * Layers, bottom to top -> the one tree that they show together. No I/O. The merged tree shares the layers' nodes other than
 * directories.
 * The rules are those of image-spec layer.md (Applying Changesets, Whiteouts) and overlayfs.rst: only directories merge, the
 * uppermost description of a directory counts, everything else replaces what lies below it.
 */
import type { ByteString } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { DirNode, LayerToc, MergedToc, TreeNode } from '../layer/tree.js';
import { addsAnything, implicitDir, isDir } from '../layer/tree.js';

/** As Linux: path_resolution(7). */
const MAX_SYMLINKS = 40;

/**
 * Told of every change while layers are applied: for those who explain an image. Nodes are shown before they change and must not
 * be kept where they are directories. `directory` is the path of the directory that holds the name.
 */
export interface MergeObserver {
  /** `after` comes to stand under the name; nothing stood there when `before` is undefined. A directory merges by `describe`. */
  put(directory: ByteString, name: ByteString, before: TreeNode | undefined, after: TreeNode): void;
  /** What lower layers have under the name is hidden. */
  hide(directory: ByteString, name: ByteString, node: TreeNode, how: 'whiteout' | 'opaque'): void;
  /** The layer describes a directory that there is already. */
  describe(path: ByteString, before: DirNode, after: DirNode): void;
  /** All of a layer was told, bottom to top. */
  endLayer(index: number): void;
}

/**
 * @param layers bottom to top, each indexed as the one it is
 * Raises EBADLAYER when a hard link leads to nothing in its own layer or below it.
 */
export function mergeLayers(layers: readonly LayerToc[], observer?: MergeObserver): MergedToc {
  const root: DirNode = { ...implicitDir(), implicit: false };
  layers.forEach((layer, index) => {
    const applied = new LayerApplication(index, resolveLinks(layer, root, index), observer);
    if (!layer.root.implicit) observer?.describe('/', root, layer.root);
    applied.describe(root, layer.root);
    applied.apply(root, layer.root, '/');
    observer?.endLayer(index);
  });
  return { layers: layers.map(({ layer }) => layer), root };
}

class LayerApplication {
  /** @param links the layer's links to files of lower layers, and those files */
  constructor(
    private readonly index: number,
    private readonly links: ReadonlyMap<TreeNode, TreeNode>,
    private readonly observer: MergeObserver | undefined,
  ) {}

  /** @param path of `merged`, for the observer */
  apply(merged: DirNode, upper: DirNode, path: ByteString): void {
    if (upper.opaque) {
      for (const [name, hidden] of this.observer === undefined ? [] : merged.children)
        this.observer?.hide(path, name, hidden, 'opaque');
      merged.children.clear();
    }
    for (const [name, node] of upper.children) {
      if (node.type === 'whiteout') this.#remove(merged, name, path);
      else if (isDir(node)) this.#applyDir(merged, name, node, path);
      else {
        const after = node.type === 'link' ? this.links.get(node)! : node;
        this.observer?.put(path, name, merged.children.get(name), after);
        merged.children.set(name, after);
      }
    }
  }

  #remove(merged: DirNode, name: ByteString, path: ByteString): void {
    const hidden = this.observer === undefined ? undefined : merged.children.get(name);
    if (hidden !== undefined) this.observer?.hide(path, name, hidden, 'whiteout');
    merged.children.delete(name);
  }

  #applyDir(merged: DirNode, name: ByteString, upper: DirNode, parent: ByteString): void {
    const existing = merged.children.get(name);
    const path = this.observer === undefined ? '' : parent === '/' ? `/${name}` : `${parent}/${name}`;
    let dir: DirNode;
    if (isDir(existing)) {
      dir = existing;
      if (!upper.implicit) this.observer?.describe(path, dir, upper);
    } else {
      // A directory that exists only to hide something below it would show up where the image has none.
      if (upper.implicit && !addsAnything(upper)) return;
      dir = { ...implicitDir(), implicit: false };
      this.observer?.put(parent, name, existing, upper);
      merged.children.set(name, dir);
    }
    this.describe(dir, upper);
    this.apply(dir, upper, path);
  }

  /** The attributes of a directory that this layer describes. */
  describe(dir: DirNode, upper: DirNode): void {
    if (upper.implicit) return;
    dir.mode = upper.mode;
    dir.uid = upper.uid;
    dir.gid = upper.gid;
    dir.mtimeSec = upper.mtimeSec;
    dir.mtimeNsec = upper.mtimeNsec;
    dir.xattrs = upper.xattrs;
    dir.layer = this.index;
  }
}

/** The layer's links to files of lower layers -> those files, looked up before the layer changes anything. */
function resolveLinks(layer: LayerToc, lower: DirNode, index: number): Map<TreeNode, TreeNode> {
  const resolved = new Map<TreeNode, TreeNode>();
  const visit = (dir: DirNode): void => {
    for (const node of dir.children.values()) {
      if (isDir(node)) visit(node);
      else if (node.type === 'link' && !resolved.has(node)) {
        const target = findInside(lower, node.target);
        if (target === undefined || isDir(target)) {
          const what = target === undefined ? 'which does not exist' : 'which is a directory';
          throw new LaminaError(
            'EBADLAYER',
            `layer ${index} (${layer.layer.diffId}): a hard link leads to "${displayBytes(node.target)}", ${what}`,
            {
              digest: layer.layer.diffId,
            },
          );
        }
        target.shared = true;
        resolved.set(node, target);
      }
    }
  };
  visit(layer.root);
  return resolved;
}

/** The node at `path`, symbolic links before its end followed inside the root, as link(2) in a chroot would. */
function findInside(root: DirNode, path: ByteString): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  const ancestors: DirNode[] = [];
  const ahead = path.split('/').reverse();
  let symlinks = 0;
  while (ahead.length > 0) {
    const name = ahead.pop()!;
    if (name === '' || name === '.') continue;
    if (!isDir(node)) return undefined;
    if (name === '..') {
      node = ancestors.pop() ?? root;
      continue;
    }
    const child: TreeNode | undefined = node.children.get(name);
    if (child?.type === 'symlink' && ahead.length > 0) {
      if (++symlinks > MAX_SYMLINKS) return undefined;
      if (child.target.startsWith('/')) {
        node = root;
        ancestors.length = 0;
      }
      ahead.push(...child.target.split('/').reverse());
      continue;
    }
    ancestors.push(node);
    node = child;
  }
  return node;
}
