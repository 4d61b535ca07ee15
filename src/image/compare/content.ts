/** Whether two files hold the same bytes, found without reading where that can be known. */
import type { Extent } from '../../layer/tree.js';
import { HOLE } from '../../layer/tree.js';
import { readExtents } from '../../merge/view-read.js';
import type { ByteSource } from '../../tar/source.js';

/** The bytes of a file, and what they lie in. */
export interface Content {
  sizeBytes: number;
  extents: readonly Extent[];
  /** The uncompressed tar of each layer, bottom to top. */
  sources: readonly ByteSource[];
  /** Digest of each of them. */
  diffIds: readonly string[];
}

const CHUNK_BYTES = 256 * 1024;
let buffers: readonly [Buffer, Buffer] | undefined;

/**
 * The same place of the same layer is the same bytes, as far as digests are true, and nothing is read; neither is it where sizes
 * differ. Everything else is compared byte by byte until the first difference. Raises EIO when a tar is shorter than it was.
 */
export function sameContent(a: Content, b: Content): boolean {
  if (a.sizeBytes !== b.sizeBytes) return false;
  return samePlace(a, b) || sameBytes(a, b);
}

function samePlace(a: Content, b: Content): boolean {
  if (a.extents.length !== b.extents.length) return false;
  return a.extents.every((left, index) => {
    const right = b.extents[index]!;
    if (left.logical !== right.logical || left.length !== right.length) return false;
    if (left.source === HOLE || right.source === HOLE) return left.source === right.source;
    return left.offset === right.offset && a.diffIds[left.source] === b.diffIds[right.source];
  });
}

function sameBytes(a: Content, b: Content): boolean {
  const [left, right] = (buffers ??= [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)]);
  for (let position = 0; position < a.sizeBytes; position += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, a.sizeBytes - position);
    const [ours, theirs] = [left.subarray(0, length), right.subarray(0, length)];
    readExtents(a.extents, a.sources, ours, position);
    readExtents(b.extents, b.sources, theirs, position);
    if (!ours.equals(theirs)) return false;
  }
  return true;
}
