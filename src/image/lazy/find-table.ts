/** Whether a layer of a registry can be read before it is here, and what that takes. */
import { ESTARGZ_DIGEST, ESTARGZ_FOOTER_BYTES, estargzTableOffset } from '../../layer/lazy/estargz.js';
import { zstdTable } from '../../layer/lazy/zstd-chunked.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { isDigest } from '../../oci/digest.js';
import { readIndex } from '../../registry/lazy/index-artifact.js';
import type { FoundIndex } from '../../registry/lazy/index-artifact.js';
import { readRange } from '../../registry/lazy/range.js';
import type { Repository } from '../../registry/repository.js';
import type { TableFacts } from './job.js';

/** Of a blob's end, in the hope that the whole table is in it: another request costs as long. */
const TAIL_BYTES = 96 * 1024;

export interface FoundTable {
  facts: TableFacts;
  bytes: Buffer;
  /** What came with it: a part of the blob. */
  part?: { offset: number; bytes: Buffer };
}

/** Whether the manifest vouches for a table. */
export function hasOwnTable({ annotations, sizeBytes }: Descriptor): boolean {
  return zstdTable(annotations, sizeBytes) !== undefined || annotations.has(ESTARGZ_DIGEST);
}

/** By an index of ours; undefined when the repository has none of this layer. Raises what fetching raises. */
export async function findIndexTable(
  repository: Repository,
  { digest }: Descriptor,
  indexes: ReadonlyMap<string, FoundIndex>,
): Promise<FoundTable | undefined> {
  const found = indexes.get(digest);
  if (found === undefined) return undefined;
  const { index, windows } = found;
  return {
    facts: { kind: 'index', windowsDigest: windows?.digest, windowsBytes: windows?.sizeBytes ?? 0 },
    bytes: await readIndex(repository, index),
  };
}

/** undefined when the layer has no table that its manifest vouches for. Raises what fetching raises. */
export async function findTable(
  repository: Repository,
  { digest, sizeBytes, urls, annotations }: Descriptor,
): Promise<FoundTable | undefined> {
  const zstd = zstdTable(annotations, sizeBytes);
  if (zstd !== undefined) {
    const bytes = await readRange(repository, digest, urls, zstd.offset, zstd.offset + zstd.length);
    return { facts: { kind: 'zstd:chunked', ...zstd }, bytes, part: { offset: zstd.offset, bytes } };
  }
  const tableDigest = annotations.get(ESTARGZ_DIGEST);
  if (tableDigest === undefined || !isDigest(tableDigest)) return undefined;
  let start = Math.max(0, sizeBytes - TAIL_BYTES);
  let tail = await readRange(repository, digest, urls, start, sizeBytes);
  const tableOffset = estargzTableOffset(tail.subarray(-ESTARGZ_FOOTER_BYTES), sizeBytes);
  if (tableOffset === undefined) return undefined;
  if (tableOffset < start) {
    tail = Buffer.concat([await readRange(repository, digest, urls, tableOffset, start), tail]);
    start = tableOffset;
  }
  return {
    facts: { kind: 'estargz', tableDigest, tableOffset },
    bytes: tail.subarray(tableOffset - start, tail.length - ESTARGZ_FOOTER_BYTES),
    part: { offset: start, bytes: tail },
  };
}
