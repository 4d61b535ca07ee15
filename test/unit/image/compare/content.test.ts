/** Equal contents are found equal wherever they lie, and nothing is read where that is not needed. */
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { Content } from '../../../../src/image/compare/content.js';
import { sameContent } from '../../../../src/image/compare/content.js';
import type { TreeNode } from '../../../../src/layer/tree.js';
import { indexSources, withSources } from '../../../helpers/merged-dump.js';
import { file, layerTar } from '../../../helpers/stack.js';
import type { SparseContent } from '../../../helpers/stack.js';

/** Whether we say that the contents of a file in two layers are the same. */
async function areSame(a: string | SparseContent, b: string | SparseContent): Promise<boolean> {
  // A file before it, so that the same content lies at another place.
  const tars = [layerTar([file('f', a)]), layerTar([file('e', 'x'), file('f', b)])];
  return withSources(tars, tmpdir(), (sources) => {
    const layers = indexSources(sources, tars);
    const [left, right] = layers.map(({ root, layer }): Content => {
      const node = root.children.get('f') as TreeNode;
      return { ...node, sources, diffIds: layers.map((one) => one.layer.diffId ?? layer.diffId) };
    });
    return sameContent(left!, right!);
  });
}

const MEGABYTE = 'm'.repeat(1 << 20);
const sparse = (sizeBytes: number, offset: number, data: string): SparseContent => ({
  sizeBytes,
  runs: [{ offset, data }],
});

describe('sameContent', () => {
  test.each<[string, string | SparseContent, string | SparseContent, boolean]>([
    ['nothing', '', '', true],
    ['the same text', 'text', 'text', true],
    ['texts of one size', 'text', 'tent', false],
    ['texts of other sizes', 'text', 'texts', false],
    ['much that is the same', MEGABYTE, MEGABYTE, true],
    ['much that differs in its last byte', MEGABYTE, `${MEGABYTE.slice(1)}n`, false],
    [
      'a difference where one chunk ends',
      MEGABYTE,
      `${MEGABYTE.slice(0, 262_143)}n${MEGABYTE.slice(262_144)}`,
      false,
    ],
    ['a hole and zeros', sparse(5000, 4096, 'data'), `${'\0'.repeat(4096)}data${'\0'.repeat(900)}`, true],
    ['holes in other places', sparse(5000, 4096, 'data'), sparse(5000, 512, 'data'), false],
    ['the same holes', sparse(5000, 4096, 'data'), sparse(5000, 4096, 'data'), true],
  ])('%s', async (_, a, b, expected) => {
    expect(await areSame(a, b)).toBe(expected);
  });

  test('the same place of the same layer is not read', () => {
    const closed = { fd: -1, offset: 0, sizeBytes: 10_000, name: 'closed' };
    const content = (diffId: string, offset: number): Content => ({
      sizeBytes: 4,
      extents: [{ logical: 0, length: 4, source: 0, offset }],
      sources: [closed],
      diffIds: [diffId],
    });
    expect(sameContent(content('sha256:a', 512), content('sha256:a', 512))).toBe(true);
    expect(() => sameContent(content('sha256:a', 512), content('sha256:b', 512))).toThrow();
    expect(() => sameContent(content('sha256:a', 512), content('sha256:a', 1024))).toThrow();
    expect(sameContent(content('sha256:a', 512), { ...content('sha256:a', 512), sizeBytes: 5 })).toBe(false);
  });
});
