/** A stack of layers through the library, in this process: tar -> index -> merge -> encode -> read -> canonical dump. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { indexLayer } from '../../src/layer/index-layer.js';
import type { LayerToc } from '../../src/layer/tree.js';
import { dumpToc } from '../../src/merge/dump.js';
import { encodeToc } from '../../src/merge/encode.js';
import { mergeLayers } from '../../src/merge/merge.js';
import { TocReader } from '../../src/merge/toc-reader.js';
import type { ByteSource } from '../../src/tar/source.js';
import { layerTar } from './stack.js';
import type { Layer, Stack } from './stack.js';

/** Layer tars as open files, for as long as `use` runs; `directory` is where they lie unseen. */
export async function withSources<T>(
  tars: readonly Buffer[],
  directory: string,
  use: (sources: ByteSource[]) => Promise<T> | T,
): Promise<T> {
  const sources: ByteSource[] = [];
  try {
    for (const [index, tar] of tars.entries()) {
      const path = join(directory, `layer-${process.pid}.tar`);
      writeFileSync(path, tar);
      sources.push({ fd: openSync(path, 'r'), offset: 0, sizeBytes: tar.length, name: `layer ${index}` });
      unlinkSync(path);
    }
    return await use(sources);
  } finally {
    for (const source of sources) closeSync(source.fd);
  }
}

/** Indexes each source as one layer. */
export function indexSources(sources: readonly ByteSource[], tars: readonly Buffer[]): LayerToc[] {
  return sources.map((source, index) => {
    const tar = tars[index]!;
    const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
    return indexLayer(source, { diffId, sizeBytes: tar.length }, index);
  });
}

/** What the image shows, as a canonical dump. Raises what indexing and merging raise. */
export function mergedDump(stack: Stack, directory: string): Promise<string> {
  const tars = stack.map(layerTar);
  return withSources(tars, directory, async (sources) => {
    const file = await encodeToc(mergeLayers(indexSources(sources, tars)));
    return dumpToc(new TocReader(file, 'merged'), sources);
  });
}

/** What one layer adds and hides, as the dump of its own TOC. */
export function layerDump(layer: Layer, directory: string): Promise<string> {
  const tar = layerTar(layer);
  return withSources([tar], directory, async (sources) => {
    const file = await encodeToc(indexSources(sources, [tar])[0]!);
    return dumpToc(new TocReader(file, 'layer'), sources);
  });
}
