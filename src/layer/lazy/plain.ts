/** A layer that is not compressed: its tar can be read from any place, once its headers are known. */
import type { LayerToc } from '../tree.js';
import type { LazyLayer, Piece } from './pieces.js';

const PIECE_BYTES = 64 * 1024;

/** @param tree of the whole tar, for an index */
export function plainLayer(sizeBytes: number, tree: (index: number) => LayerToc): LazyLayer {
  const pieces: Piece[] = [];
  for (let offset = 0; offset < sizeBytes; offset += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, sizeBytes - offset);
    pieces.push({ offset, length, blobStart: offset, blobEnd: offset + length });
  }
  return { kind: 'plain', sizeBytes, pieces, tree, decode: async (_, stored) => stored };
}
