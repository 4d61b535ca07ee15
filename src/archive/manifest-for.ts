/** The manifest of an image that came without one: image-spec manifest.md. The same image always gets the same. */
import type { LayerBlob } from './image.js';
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.js';

export interface DescribedLayer {
  digest: string;
  sizeBytes: number;
  compression: LayerBlob['compression'];
}

/** @param layers bottom to top */
export function manifestFor(
  configBytes: Buffer,
  imageId: string,
  layers: readonly DescribedLayer[],
): { mediaType: string; bytes: Buffer } {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: OCI_CONFIG, digest: imageId, size: configBytes.length },
    layers: layers.map(({ digest, sizeBytes, compression }) => ({
      mediaType: compression === 'none' ? OCI_LAYER : `${OCI_LAYER}+${compression}`,
      digest,
      size: sizeBytes,
    })),
  };
  return { mediaType: OCI_MANIFEST, bytes: Buffer.from(JSON.stringify(manifest)) };
}
