/** A checkpoint index with its TOC, from anybody: it is refused, or what it says lies inside the layer. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGunzip, constants, gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LaminaError } from '../../../src/errors.js';
import { indexedLayer } from '../../../src/image/lazy/index-layer.js';
import { indexLayer } from '../../../src/layer/index-layer.js';
import { encodeIndex } from '../../../src/layer/lazy/checkpoints.js';
import { makeCheckpoints } from '../../../src/layer/lazy/make-checkpoints.js';
import { takePart } from '../../../src/layer/lazy/part.js';
import { HOLE } from '../../../src/layer/tree.js';
import type { TreeNode } from '../../../src/layer/tree.js';
import { encodeToc } from '../../../src/merge/encode.js';
import { gzipLayer, lazyLayers, tarOf } from '../../helpers/lazy-image.js';

let directory: string;
let file: Buffer;
const [entries] = lazyLayers();
const built = gzipLayer(entries!);
const job = { name: 'a layer', diffId: built.diffId, blobBytes: built.blob.length, maxBytes: 1 << 30 };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lamina-lazy-index-'));
  const open = (
    name: string,
    bytes: Buffer,
  ): { fd: number; offset: number; sizeBytes: number; name: string } => {
    writeFileSync(join(directory, name), bytes);
    return { fd: openSync(join(directory, name), 'r'), offset: 0, sizeBytes: bytes.length, name };
  };
  const [blob, tar] = [open('blob', built.blob), open('tar', tarOf(entries!))];
  const { windows: _, ...made } = makeCheckpoints(blob, 'gzip', 1 << 30);
  const toc = await encodeToc(indexLayer(tar, { diffId: built.diffId, sizeBytes: tar.sizeBytes }));
  file = encodeIndex({ ...made, toc });
  for (const { fd } of [blob, tar]) closeSync(fd);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function checkInside(node: TreeNode, sizeBytes: number): void {
  for (const { source, offset, length } of node.extents)
    expect(source === HOLE || (source === 3 && offset + length <= sizeBytes)).toBe(true);
  for (const child of node.children?.values() ?? []) checkInside(child, sizeBytes);
}

describe('an indexed layer', () => {
  test('has the tree of the layer, at its place in the image', async () => {
    const layer = await indexedLayer(file, job);
    const { root, index } = layer.tree(3);
    expect(index).toBe(3);
    checkInside(root, layer.sizeBytes);
    expect([...root.children.get('usr')!.children!.get('lib')!.children!.keys()].length).toBe(124);
    // Merging changes a tree: each call gives another.
    expect(layer.tree(0).root).not.toBe(root);
  });

  test('of another layer, or one that is too large, is refused', async () => {
    await expect(indexedLayer(file, { ...job, diffId: `sha256:${'1'.repeat(64)}` })).rejects.toMatchObject({
      code: 'EBADLAYER',
    });
    await expect(indexedLayer(file, { ...job, blobBytes: 5 })).rejects.toMatchObject({ code: 'EBADLAYER' });
    await expect(indexedLayer(file, { ...job, maxBytes: 5 })).rejects.toMatchObject({ code: 'ELIMIT' });
  });

  test('that was damaged anywhere is refused, or says nothing that lies outside', async () => {
    const plain = gunzipSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(plain.length - 1), fc.nat(255), async (at, value) => {
        const damaged = Buffer.from(plain);
        damaged[at] = value;
        try {
          const layer = await indexedLayer(gzipSync(damaged, { level: 1 }), job);
          checkInside(layer.tree(3).root, layer.sizeBytes);
          for (const { blobStart, blobEnd } of layer.pieces)
            expect(blobStart < blobEnd && blobEnd <= job.blobBytes).toBe(true);
        } catch (error) {
          if (!(error instanceof LaminaError)) throw error;
        }
      }),
      { numRuns: 300 },
    );
  });

  test('no more is decompressed than is wanted', async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20));
    const decoder = createGunzip({ chunkSize: 1024, finishFlush: constants.Z_SYNC_FLUSH });
    let given = 0;
    decoder.on('data', (chunk: Buffer) => (given += chunk.length));
    decoder.pause();
    expect(await takePart(decoder, bomb, 5, 10, 'a bomb')).toEqual(Buffer.alloc(10));
    expect(decoder.destroyed).toBe(true);
    expect(given).toBeLessThan(1 << 20);
  });
});
