/**
 * A layer that can be read before all of it is here. Its plain bytes lie in a file of its own, the lazy source, in an order of its own:
 * neither eStargz nor zstd:chunked says where in the tar a file's bytes are. The source is cut into pieces, each made from a run
 * of the blob.
 */
import { LaminaError } from '../../errors.js';
import type { LayerToc } from '../tree.js';

export type LazyKind = 'estargz' | 'zstd:chunked' | 'index' | 'plain';

/** Most plain bytes of one piece: it is decompressed at once, in memory. */
export const MAX_PIECE_BYTES = 64 * 2 ** 20;

/** Plain bytes `offset`..`offset + length` of the source come of bytes `blobStart`..`blobEnd` of the blob. */
export interface Piece {
  offset: number;
  length: number;
  blobStart: number;
  blobEnd: number;
}

export const WINDOW_BYTES = 32768;

export interface PackedWindow {
  start: number;
  end: number;
  /** Raises EBADTAR. */
  unpack(packed: Buffer): Buffer;
}

export interface LazyLayer {
  kind: LazyKind;
  /** Of the source. */
  sizeBytes: number;
  /** By offset, one after the other, without gaps. */
  pieces: readonly Piece[];
  /** What the layer adds and hides; extents lead into the source, which they name `index`. */
  tree(index: number): LayerToc;
  /**
   * The plain bytes of a piece, of the bytes of the blob that it comes of, and of its window where it has one. Raises EDIGEST
   * where they are not what was promised, EBADTAR where they are no such thing.
   */
  decode(piece: number, stored: Buffer, window?: Buffer): Promise<Buffer>;
  /**
   * Of an index, the window of a piece: the plain bytes right before it, WINDOW_BYTES or as many as there are, which lie at `start`..`end` of the
   * windows, packed. undefined where it needs none.
   */
  windowOf?(piece: number): PackedWindow | undefined;
}

/** The pieces that hold some of `length` bytes from `offset`: the first and the one after the last. */
export function piecesIn(pieces: readonly Piece[], offset: number, length: number): [number, number] {
  if (length <= 0) return [0, 0];
  const first = firstAfter(pieces, offset);
  let last = first;
  while (last < pieces.length && pieces[last]!.offset < offset + length) last++;
  return [first, last];
}

/** The first piece that ends after `offset`. */
function firstAfter(pieces: readonly Piece[], offset: number): number {
  let [low, high] = [0, pieces.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { offset: start, length } = pieces[middle]!;
    if (start + length <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A wrong description of a layer: of where its bytes are. */
export function badLazy(name: string, what: string): LaminaError {
  return new LaminaError('EBADLAYER', `${name}: its table of contents ${what}`, { path: name });
}
