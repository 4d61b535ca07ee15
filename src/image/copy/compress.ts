/** Plain layers on their way into a registry, gzipped as `push` does. */
import { closeSync, existsSync, openSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Descriptor } from '../../oci/descriptor.js';
import { DOCKER_LAYER, OCI_LAYER } from '../../oci/media-types.js';
import { gzipTar, knownGzip, noteGzip } from '../../registry/gzip-layer.js';
import type { GzippedLayer } from '../../registry/gzip-layer.js';
import { sourceChunks } from '../../registry/source-chunks.js';
import type { Cache } from '../../store/cache.js';
import { temporaryName } from '../../store/files.js';
import { layerDirectory } from '../../store/layer-facts.js';
import type { ByteSource } from '../../tar/source.js';
import type { LayerCompression } from './copy-tree.js';
import { verifiedBlob } from './source.js';

/** @param closers called when the copy has ended */
export function gzipCompression({ root, directory }: Cache, closers: (() => void)[]): LayerCompression {
  return {
    // A plain layer's digest is its diffId.
    known(layer) {
      const gzipped = knownGzip(root, layer.digest);
      return gzipped === undefined ? undefined : describe(layer, gzipped);
    },
    async compress(source, layer) {
      const tar = source.open!(layer);
      const file = path.join(directory, 'tmp', temporaryName());
      let blob: ByteSource;
      let gzipped: GzippedLayer;
      try {
        gzipped = await gzipTar(verifiedBlob(source, layer), tar.name, file);
        // Nothing is noted of layers that the store does not have.
        if (root === directory && existsSync(layerDirectory(root, layer.digest)))
          await noteGzip(root, layer.digest, gzipped);
        const fd = openSync(file, 'r');
        closers.push(() => closeSync(fd));
        blob = { fd, offset: 0, sizeBytes: gzipped.sizeBytes, name: `layer ${gzipped.digest}` };
      } finally {
        rmSync(file, { force: true });
      }
      const read = (from: number): AsyncIterable<Buffer> => sourceChunks(blob, from);
      return { descriptor: describe(layer, gzipped), read, verified: () => read(0) };
    },
  };
}

function describe(layer: Descriptor, { digest, sizeBytes }: GzippedLayer): Descriptor {
  const mediaType = layer.mediaType.startsWith(DOCKER_LAYER) ? `${DOCKER_LAYER}.gzip` : `${OCI_LAYER}+gzip`;
  return { ...layer, mediaType, digest, sizeBytes };
}
