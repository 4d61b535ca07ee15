/** Bytes of a file from its extents: runs of the layers' tars, and holes, which are zeros that lie nowhere (FORMAT.md, 5). */
import { LaminaError } from '../errors.js';
import type { Extent } from '../layer/tree.js';
import { HOLE } from '../layer/tree.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';

const SECTOR_BYTES = 512;

/**
 * Fills `buffer` from `position` of the file; returns how many bytes there were. Raises EIO when a tar is shorter than
 * it was when it was indexed, EBADTOC when the extents leave a gap.
 * @param sources the layers' uncompressed tars, bottom to top
 */
export function readExtents(
  extents: readonly Extent[],
  sources: readonly ByteSource[],
  buffer: Uint8Array,
  position: number,
): number {
  let done = 0;
  for (let index = extentAt(extents, position); index < extents.length && done < buffer.length; index++) {
    const extent = extents[index]!;
    const skip = position + done - extent.logical;
    if (skip < 0) throw new LaminaError('EBADTOC', `a file has no extent for its byte ${position + done}`);
    const part = buffer.subarray(done, done + Math.min(extent.length - skip, buffer.length - done));
    if (extent.source === HOLE) part.fill(0);
    else readSource(sources[extent.source]!, part, extent.offset + skip);
    done += part.length;
  }
  return done;
}

/** Blocks of 512 bytes that hold data, as st_blocks counts them: a hole has none. */
export function dataBlocks(extents: readonly Extent[]): number {
  let blocks = 0;
  for (const { source, length } of extents) {
    if (source !== HOLE) blocks += Math.ceil(length / SECTOR_BYTES);
  }
  return blocks;
}

/** Index of the extent that holds `position`; the number of extents when it lies past the end. */
function extentAt(extents: readonly Extent[], position: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { logical, length } = extents[middle]!;
    if (logical + length <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
