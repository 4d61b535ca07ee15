/** What eStargz and zstd:chunked have in common once their table is read: chunks, packed one after the other in the order of the blob. */
import { hashBytes } from '../../oci/digest.js';
import { LaminaError } from '../../errors.js';
import { indexEntries } from '../index-layer.js';
import type { LayerToc } from '../tree.js';
import type { LazyKind, LazyLayer, Piece } from './pieces.js';
import { badLazy } from './pieces.js';
import { placeChunks } from './toc-json.js';
import type { TocChunk, TocJson } from './toc-json.js';

export interface JsonLayerJob {
  kind: LazyKind;
  /** What the layer is called in messages. */
  name: string;
  diffId: string;
  table: TocJson;
  /** Where what a chunk is stored in ends, if nothing else says so: where the table begins. */
  dataEnd: number;
  /** Most plain bytes, together. */
  maxBytes: number;
  /** The plain bytes of a chunk, of the bytes that it is stored in. */
  decode(chunk: TocChunk, stored: Buffer): Promise<Buffer>;
}

/** Raises EBADLAYER, ELIMIT. */
export function jsonLayer({ kind, name, diffId, table, dataEnd, maxBytes, decode }: JsonLayerJob): LazyLayer {
  const stored = [...table.chunks.entries()].filter(([, { isZeros }]) => !isZeros);
  stored.sort(([, a], [, b]) => a.offset - b.offset || a.innerOffset - b.innerOffset);
  const placed = new Array<number | undefined>(table.chunks.length).fill(undefined);
  const pieces: Piece[] = [];
  const chunks: TocChunk[] = [];
  let sizeBytes = 0;
  // Chunks of zeros are stored as well, though nobody needs them.
  const starts = [...new Set(table.chunks.map(({ offset }) => offset))].sort((a, b) => a - b);
  let place = 0;
  for (const [index, chunk] of stored) {
    while (place < starts.length && starts[place]! <= chunk.offset) place++;
    // The table itself is a chunk of an eStargz layer, and ends where its entry says.
    const limit = chunk.offset >= dataEnd && chunk.endOffset !== undefined ? Infinity : dataEnd;
    const blobEnd = Math.min(starts[place] ?? Infinity, chunk.endOffset ?? Infinity, limit);
    if (blobEnd <= chunk.offset) throw badLazy(name, 'says that a chunk lies where the table itself is');
    placed[index] = sizeBytes;
    pieces.push({ offset: sizeBytes, length: chunk.sizeBytes, blobStart: chunk.offset, blobEnd });
    chunks.push(chunk);
    sizeBytes += chunk.sizeBytes;
    if (sizeBytes > maxBytes)
      throw new LaminaError('ELIMIT', `${name} is larger than ${maxBytes} bytes when decompressed`, {
        path: name,
        hint: 'If you trust the image, raise the limit with --max-inflated or LAMINA_MAX_INFLATED.',
      });
  }
  placeChunks(table, placed);
  return {
    kind,
    sizeBytes,
    pieces,
    tree: (index): LayerToc => indexEntries(table.entries, name, { diffId, sizeBytes }, index),
    async decode(piece, bytes) {
      const chunk = chunks[piece]!;
      const plain = await decode(chunk, bytes);
      if (plain.length !== chunk.sizeBytes)
        throw new LaminaError(
          'EBADTAR',
          `${name}: bytes ${chunk.offset}.. hold ${plain.length} bytes, not ${chunk.sizeBytes}`,
          {
            path: name,
          },
        );
      verifyChunk(chunk, plain, name);
      return plain;
    },
  };
}

function verifyChunk({ digest, offset }: TocChunk, plain: Buffer, name: string): void {
  if (digest === undefined) return;
  const found = hashBytes(digest.startsWith('sha512:') ? 'sha512' : 'sha256', plain);
  if (found !== digest)
    throw new LaminaError(
      'EDIGEST',
      `${name}: the chunk at byte ${offset} has the digest ${found}, promised was ${digest}`,
      {
        path: name,
        digest,
        offset,
      },
    );
}
