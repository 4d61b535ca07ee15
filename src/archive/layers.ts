/** What docker archives and OCI layouts have in common once the config is known: the layers, checked against it. */
import { LaminaError } from '../errors.js';
import { detectCompression } from '../layer/compression.js';
import type { ByteSource } from '../tar/source.js';
import type { LayerBlob } from './image.js';

/** A layer of a manifest, before it is paired with its diffId. */
export interface StoredLayer {
  digest: string | undefined;
  mediaType: string | undefined;
  blob: ByteSource;
}

/** Pairs layers with diffIds, both bottom to top. `what` names the image. Raises EBADIMAGE, EMEDIATYPE, EIO. */
export function pairLayers(
  stored: readonly StoredLayer[],
  diffIds: readonly string[],
  what: string,
): LayerBlob[] {
  return stored.map((layer, index) => {
    const diffId = diffIds[index];
    if (diffId === undefined) throw countMismatch(stored.length, diffIds.length, what);
    return { ...layer, diffId, compression: storedCompression(layer.blob) };
  });
}

/** Raises EBADIMAGE unless there are as many layers as diffIds, ELIMIT when there are too many. */
export function checkLayerCount(layers: number, diffIds: number, what: string, maxLayers: number): void {
  if (layers > maxLayers)
    throw new LaminaError(
      'ELIMIT',
      `${what} has ${layers} layers, more than maxLayers (${maxLayers}) allows`,
    );
  if (layers !== diffIds) throw countMismatch(layers, diffIds, what);
}

function countMismatch(layers: number, diffIds: number, what: string): LaminaError {
  return new LaminaError(
    'EBADIMAGE',
    `${what} has ${layers} layers, but its config lists ${diffIds} diffIds`,
  );
}

function storedCompression(blob: ByteSource): LayerBlob['compression'] {
  const compression = detectCompression(blob);
  if (compression === 'none' || compression === 'gzip' || compression === 'zstd') return compression;
  throw new LaminaError('EMEDIATYPE', `${blob.name} is compressed with ${compression}`, { path: blob.name });
}
