/** An OCI layout with the lower layers of another's image: two images of one base, without building anything. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, json } from './archive-builder.js';
import type { Descriptor } from './archive-builder.js';

interface Manifest {
  config: Descriptor;
  layers: Descriptor[];
}

interface Config {
  rootfs: { diff_ids: string[] };
  history?: { empty_layer?: boolean }[];
}

/** Writes the layout `to`, which is made, with the first `count` layers of the only image in `from`, and the tag `1`. */
export function cutLayout(from: string, to: string, count: number): void {
  const blob = (root: string, digest: string): string => join(root, 'blobs', digest.replace(':', '/'));
  const read = <T>(digest: string): T => JSON.parse(readFileSync(blob(from, digest), 'utf8')) as T;
  const index = JSON.parse(readFileSync(join(from, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  const [described] = index.manifests;
  const manifest = read<Manifest>(described!.digest);
  const config = read<Config>(manifest.config.digest);
  mkdirSync(join(to, 'blobs/sha256'), { recursive: true });

  const layers = manifest.layers.slice(0, count);
  for (const { digest } of layers) copyFileSync(blob(from, digest), blob(to, digest));
  const steps = (config.history ?? []).filter((step) => step.empty_layer !== true).slice(0, count);
  const put = (value: unknown, like: Descriptor): Descriptor => {
    const bytes = json(value);
    const descriptor = { ...like, digest: digestOf(bytes), size: bytes.length };
    writeFileSync(blob(to, descriptor.digest), bytes);
    return descriptor;
  };
  const rootfs = { type: 'layers', diff_ids: config.rootfs.diff_ids.slice(0, count) };
  const cutConfig = put({ ...config, rootfs, history: steps }, manifest.config);
  const cut = put({ ...manifest, config: cutConfig, layers }, described!);
  writeFileSync(join(to, 'index.json'), json({ schemaVersion: 2, manifests: [cut] }));
  writeFileSync(join(to, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
