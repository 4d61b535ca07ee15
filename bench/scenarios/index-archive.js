/**
 * Indexing a 1 GB archive that was never seen: `lamina fs ls ARCHIVE /` with an empty cache, which reads all headers, merges
 * the layers and writes the TOC. Held against the least that could be done: `tar tf` of each layer, and a Node that starts
 * and does nothing. The archive is in memory. Does not show compressed layers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { timed } from '../lib/system.js';
import { LAMINA } from '../subjects/lamina.js';

const tarAndNode = { name: 'tar-tf + node-e-0', missing: () => undefined };

export const index = {
  name: 'index',
  metrics: ['index'],
  images: ['app1g'],
  subjects: (chosen) => [...chosen.filter((subject) => subject.name === 'lamina'), tarAndNode],
  measure(context, subject, image) {
    context.warmSources(image);
    const root = mkdtempSync(join(context.work, 'index-'));
    try {
      const env = { ...process.env, LAMINA_ROOT: root };
      const value =
        subject === tarAndNode
          ? image.layerTars.reduce((sum, tar) => sum + timed('tar', ['tf', tar]), 0) +
            timed(process.execPath, ['-e', '0'])
          : timed(process.execPath, [LAMINA, 'fs', 'ls', image.archive, '/'], { env });
      return [{ metric: 'index', image: image.name, unit: 's', value }];
    } finally {
      rmSync(root, { recursive: true, force: true, maxRetries: 30 });
    }
  },
};
