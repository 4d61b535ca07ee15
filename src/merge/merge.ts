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
 * @param layers bottom to top, each indexed as the one it is
 * Raises EBADLAYER when a hard link leads to nothing in its own layer or below it.
 */
export function mergeLayers(layers: readonly LayerToc[]): MergedToc {
  const root: DirNode = { ...implicitDir(), implicit: false };
  layers.forEach((layer, index) => {
    const applied = new LayerApplication(index, resolveLinks(layer, root, index));
    applied.describe(root, layer.root);
    applied.apply(root, layer.root);
  });
  return { layers: layers.map(({ layer }) => layer), root };
}

class LayerApplication {
  /** @param links the layer's links to files of lower layers, and those files */
  constructor(
    private readonly index: number,
    private readonly links: ReadonlyMap<TreeNode, TreeNode>,
  ) {}

  apply(merged: DirNode, upper: DirNode): void {
    if (upper.opaque) merged.children.clear();
    for (const [name, node] of upper.children) {
      if (node.type === 'whiteout') merged.children.delete(name);
      else if (isDir(node)) this.#applyDir(merged, name, node);
      else merged.children.set(name, node.type === 'link' ? this.links.get(node)! : node);
    }
  }

  #applyDir(merged: DirNode, name: ByteString, upper: DirNode): void {
    const existing = merged.children.get(name);
    let dir: DirNode;
    if (isDir(existing)) dir = existing;
    else {
      // A directory that exists only to hide something below it would show up where the image has none.
      if (upper.implicit && !addsAnything(upper)) return;
      dir = { ...implicitDir(), implicit: false };
      merged.children.set(name, dir);
    }
    this.describe(dir, upper);
    this.apply(dir, upper);
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
