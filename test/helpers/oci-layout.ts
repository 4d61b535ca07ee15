/** OCI layouts as a test writes them by itself. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from './fake-registry.js';
import type { FakeImage } from './fake-registry.js';

/** A layout of one image in `directory`, new or whose index is replaced, named `1`; returns the directory. */
export function writeLayout(directory: string, image: FakeImage): string {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true });
  const put = (bytes: Buffer): string => {
    writeFileSync(join(directory, 'blobs', 'sha256', sha256(bytes).slice(7)), bytes);
    return sha256(bytes);
  };
  for (const bytes of image.blobs.values()) put(bytes);
  const manifest = {
    mediaType: image.mediaType,
    digest: put(image.manifest),
    size: image.manifest.length,
    annotations: { 'org.opencontainers.image.ref.name': '1' },
  };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return directory;
}
