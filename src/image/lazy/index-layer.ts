/** A layer of which there is a checkpoint index. What the index says is checked as a TOC of our own is: it may come from anybody. */
import { LaminaError } from '../../errors.js';
import { decodeIndex, decodeSpan, piecesOf, unpackWindow } from '../../layer/lazy/checkpoints.js';
import type { LazyLayer } from '../../layer/lazy/pieces.js';
import { badLazy } from '../../layer/lazy/pieces.js';
import { HOLE, isDir } from '../../layer/tree.js';
import type { LayerToc, TreeNode } from '../../layer/tree.js';
import { decodeTree, TocReader } from '../../merge/toc-reader.js';

export interface IndexJob {
  name: string;
  diffId: string;
  blobBytes: number;
  maxBytes: number;
}

/** Raises EBADLAYER, EBADTOC, ETOCVERSION, ELIMIT. */
export async function indexedLayer(
  bytes: Buffer,
  { name, diffId, blobBytes, maxBytes }: IndexJob,
): Promise<LazyLayer> {
  const index = decodeIndex(bytes, name);
  if (index.blobBytes !== blobBytes)
    throw badLazy(name, `is of a layer of ${index.blobBytes} bytes, not ${blobBytes}`);
  if (index.plainBytes > maxBytes)
    throw new LaminaError('ELIMIT', `${name} is larger than ${maxBytes} bytes when decompressed`, {
      path: name,
      hint: 'If you trust the image, raise the limit with --max-inflated or LAMINA_MAX_INFLATED.',
    });
  const reader = new TocReader(index.toc, `${name}: its index`);
  await reader.verifyChecksums();
  const [layer] = reader.layers;
  if (reader.kind !== 'layer' || layer?.diffId !== diffId || layer.sizeBytes !== index.plainBytes)
    throw badLazy(name, 'is of another layer');
  // Once now, so that it is known to be whole; each time it is asked for, because merging changes it.
  checkExtents(treeOf(reader, 0).root, index.plainBytes, name);
  return {
    kind: 'index',
    sizeBytes: index.plainBytes,
    pieces: piecesOf(index),
    tree: (place) => treeOf(reader, place),
    windowOf(piece) {
      const { windowOffset, windowLength } = index.spans[piece]!;
      if (windowLength === 0) return undefined;
      const unpack = (packed: Buffer): Buffer => unpackWindow(packed, name);
      return { start: windowOffset, end: windowOffset + windowLength, unpack };
    },
    decode: (piece, stored, window) => decodeSpan(index, piece, stored, window, name),
  };
}

function treeOf(reader: TocReader, index: number): LayerToc {
  const toc = decodeTree(reader) as LayerToc;
  const seen = new Set<TreeNode>();
  const visit = (node: TreeNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (node.layer === 0) node.layer = index;
    node.extents = node.extents.map((extent) =>
      extent.source === 0 ? { ...extent, source: index } : extent,
    );
    for (const child of node.children?.values() ?? []) visit(child);
  };
  visit(toc.root);
  return { ...toc, index };
}

function checkExtents(node: TreeNode, plainBytes: number, name: string): void {
  for (const { source, offset, length } of node.extents)
    if (source !== HOLE && (source !== 0 || offset + length > plainBytes))
      throw badLazy(name, 'says that a file lies outside the layer');
  if (isDir(node)) for (const child of node.children.values()) checkExtents(child, plainBytes, name);
}
