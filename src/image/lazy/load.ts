/** From the table of a layer, as it lies in the layer's directory, to what can be read of it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { estargzLayer } from '../../layer/lazy/estargz.js';
import type { LazyLayer } from '../../layer/lazy/pieces.js';
import { zstdChunkedLayer } from '../../layer/lazy/zstd-chunked.js';
import { indexedLayer } from './index-layer.js';
import type { LazyLayerFacts } from './job.js';

/** @param table the bytes of the table, by default those in the layer's directory. Raises EBADLAYER, EDIGEST, ELIMIT. */
export async function loadLazyLayer(
  { digest, diffId, sizeBytes, table: facts, directory }: LazyLayerFacts,
  maxBytes: number,
  table: Buffer = readFileSync(path.join(directory, 'table')),
): Promise<LazyLayer> {
  const job = { name: `layer ${digest}`, diffId, blobBytes: sizeBytes, maxBytes };
  switch (facts.kind) {
    case 'estargz':
      return estargzLayer(table, { ...job, ...facts });
    case 'zstd:chunked':
      return zstdChunkedLayer(table, facts, job);
    case 'index':
      return indexedLayer(table, job);
  }
}
