/**
 * dive's score. For every path, over all layers in which it is a leaf: the sum of its sizes and the smallest. The score is the sum
 * of the smallest by the sum of all; a path that is met twice or more is inefficient, and all its sizes are wasted. A whiteout of a
 * directory is as large as what it hides, one of anything else has no size.
 * Source: dive 0.13, dive/filetree/efficiency.go, dive/image/analysis.go. One thing is other: dive stops reading a layer at a whiteout
 * that hides nothing; here it counts 0 and the layer is read on.
 */
import type { ByteString } from '../../bytes.js';
import { compareBytes } from '../../bytes.js';
import { DiveStack, isWhiteout, visitChildrenFirst } from './dive-tree.js';
import type { DiveTree } from './dive-tree.js';

export interface InefficientFile {
  /** Absolute. */
  path: ByteString;
  /** In how many layers it is, whiteouts too. */
  count: number;
  /** In all of them together. */
  sizeBytes: number;
}

export interface Efficiency {
  /** 0..1; 1 when there is nothing. */
  score: number;
  /** The largest first. */
  inefficientFiles: readonly InefficientFile[];
  wastedBytes: number;
  /** Of all layers. */
  sizeBytes: number;
  /** Of all layers but the first, which is taken for the base image. */
  userSizeBytes: number;
  /** wastedBytes / userSizeBytes: a ratio, in spite of its name. NaN or Infinity when there is only one layer, as in dive. */
  wastedUserPercent: number;
}

/** @param trees of the layers, bottom to top */
export function efficiencyOf(trees: readonly DiveTree[]): Efficiency {
  const stack = new DiveStack(trees);
  const paths = new Map<ByteString, { count: number; sizeBytes: number; smallest: number }>();
  for (const [layer, tree] of trees.entries()) {
    visitChildrenFirst(tree.root, 'any order', (node, path) => {
      if (node.children.size > 0) return;
      const sizeBytes = isWhiteout(node) ? stack.directoryBytes(path, layer) : (node.file?.sizeBytes ?? 0);
      const known = paths.get(path);
      if (known === undefined) {
        paths.set(path, { count: 1, sizeBytes, smallest: sizeBytes });
        return;
      }
      known.count++;
      known.sizeBytes += sizeBytes;
      known.smallest = Math.min(known.smallest, sizeBytes);
    });
  }

  let [smallest, all] = [0, 0];
  const inefficientFiles: InefficientFile[] = [];
  for (const [path, found] of paths) {
    smallest += found.smallest;
    all += found.sizeBytes;
    if (found.count > 1) inefficientFiles.push({ path, count: found.count, sizeBytes: found.sizeBytes });
  }
  inefficientFiles.sort((a, b) => b.sizeBytes - a.sizeBytes || compareBytes(a.path, b.path));
  const wastedBytes = sum(inefficientFiles.map(({ sizeBytes }) => sizeBytes));
  const sizeBytes = sum(trees.map((tree) => tree.sizeBytes));
  const userSizeBytes = sum(trees.slice(1).map((tree) => tree.sizeBytes));
  return {
    score: all === 0 ? 1 : smallest / all,
    inefficientFiles,
    wastedBytes,
    sizeBytes,
    userSizeBytes,
    wastedUserPercent: wastedBytes / userSizeBytes,
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
