/** A stack of layers as an ImageView, in this process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeToc } from '../../src/merge/encode.js';
import { mergeLayers } from '../../src/merge/merge.js';
import { TocReader } from '../../src/merge/toc-reader.js';
import { ImageView } from '../../src/merge/view.js';
import { indexSources, withSources } from './merged-dump.js';
import { layerTar } from './stack.js';
import type { Stack } from './stack.js';

/** What `use` makes of the view of `stack` and of the TOCs of its layers, bottom to top. */
export async function withView<T>(
  stack: Stack,
  use: (view: ImageView, layerTocs: TocReader[]) => T | Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'lamina-view-'));
  try {
    const tars = stack.map(layerTar);
    return await withSources(tars, directory, async (sources) => {
      const layers = indexSources(sources, tars);
      const toc = new TocReader(await encodeToc(mergeLayers(layers)), 'merged');
      const layerTocs = await Promise.all(
        layers.map(async (layer) => new TocReader(await encodeToc(layer), 'layer')),
      );
      return use(new ImageView(toc, sources), layerTocs);
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
