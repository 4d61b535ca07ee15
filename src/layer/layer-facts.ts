/** How much is in a layer, as docker counts it: the sizes of its files, each once, whatever the tar around them takes. */
import type { LayerToc, TreeNode } from './tree.js';

export function factsOf(toc: LayerToc): { contentBytes: number; entries: number } {
  const seen = new Set<TreeNode>();
  let contentBytes = 0;
  let entries = 0;
  const visit = (node: TreeNode): void => {
    for (const child of node.children?.values() ?? []) {
      entries++;
      if (child.shared && seen.has(child)) continue;
      if (child.shared) seen.add(child);
      contentBytes += child.sizeBytes;
      visit(child);
    }
  };
  visit(toc.root);
  return { contentBytes, entries };
}
