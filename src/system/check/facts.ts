/** What layers/<diffId>/facts.json must say of a tar. */
import { indexLayer } from '../../layer/index-layer.js';
import { factsOf } from '../../layer/layer-facts.js';
import type { LayerFacts } from '../../store/layer-facts.js';
import type { ByteSource } from '../../tar/source.js';

/** Raises what indexing the layer raises. */
export function factsOfTar(tar: ByteSource, diffId: string): LayerFacts {
  const toc = indexLayer(tar, { diffId, sizeBytes: tar.sizeBytes }, 0);
  return { ...factsOf(toc), tarBytes: tar.sizeBytes };
}
