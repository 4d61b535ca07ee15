/** What layers change and hide: expectations by hand, from image-spec layer.md. */
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { ChangeCollector } from '../../../../src/image/analyze/changes.js';
import { mergeLayers } from '../../../../src/merge/merge.js';
import { indexSources, withSources } from '../../../helpers/merged-dump.js';
import { dir, file, hardlink, layerTar, opaque, symlink, whiteout } from '../../../helpers/stack.js';
import type { Stack } from '../../../helpers/stack.js';

const LETTERS = { added: 'A', modified: 'M', removed: 'D' };

/** `LETTER PATH` for each layer, and `PATH layer>by how [at PATH]` for what is hidden, all sorted. */
async function changes(stack: Stack): Promise<{ layers: string[][]; hidden: string[] }> {
  const tars = stack.map(layerTar);
  return withSources(tars, tmpdir(), (sources) => {
    const collector = new ChangeCollector();
    mergeLayers(indexSources(sources, tars), collector);
    return {
      layers: collector.layers.map((layer) =>
        layer.map(({ kind, path }) => `${LETTERS[kind]} ${path}`).sort(),
      ),
      hidden: collector.hidden
        .map(
          ({ path, node, byLayer, how, at }) =>
            `${path} ${node.layer}>${byLayer} ${how}${at === path ? '' : ` at ${at}`}`,
        )
        .sort(),
    };
  });
}

describe('changes', () => {
  test.each<[name: string, stack: Stack, layers: string[][], hidden: string[]]>([
    [
      'added, replaced, deleted',
      [[dir('a'), file('a/f'), file('g')], [file('a/f')], [whiteout('a/f'), whiteout('g')]],
      [['A /a', 'A /a/f', 'A /g'], ['M /a/f'], ['D /a/f', 'D /g']],
      ['/a/f 0>1 replaced', '/a/f 1>2 whiteout', '/g 0>2 whiteout'],
    ],
    [
      'a directory that is only repeated is no change, one with another mode is',
      [
        [dir('a'), dir('b')],
        [dir('a'), file('a/f'), dir('b', { mode: 0o700 })],
      ],
      [
        ['A /a', 'A /b'],
        ['A /a/f', 'M /b'],
      ],
      [],
    ],
    [
      'a deleted directory takes along what is in it',
      [[dir('a'), dir('a/b'), file('a/b/f'), file('a/g')], [whiteout('a')]],
      [
        ['A /a', 'A /a/b', 'A /a/b/f', 'A /a/g'],
        ['D /a', 'D /a/b', 'D /a/b/f', 'D /a/g'],
      ],
      ['/a/b/f 0>1 whiteout at /a', '/a/g 0>1 whiteout at /a'],
    ],
    [
      'an opaque directory: what comes again is modified, the rest removed',
      [
        [dir('a'), file('a/f'), file('a/g'), dir('a/d'), file('a/d/x')],
        [dir('a'), opaque('a'), file('a/f', '1'), dir('a/d')],
      ],
      [
        ['A /a', 'A /a/d', 'A /a/d/x', 'A /a/f', 'A /a/g'],
        ['D /a/d/x', 'D /a/g', 'M /a/f'],
      ],
      ['/a/d/x 0>1 opaque at /a', '/a/f 0>1 replaced', '/a/g 0>1 opaque at /a'],
    ],
    [
      'a directory deleted and made again',
      [
        [dir('a', { mode: 0o700 }), file('a/f')],
        [whiteout('a'), dir('a')],
      ],
      [
        ['A /a', 'A /a/f'],
        ['D /a/f', 'M /a'],
      ],
      ['/a/f 0>1 opaque at /a'],
    ],
    [
      'another kind in place of a directory and back',
      [[dir('a'), file('a/f')], [symlink('a', 'b')], [dir('a'), file('a/f')]],
      [
        ['A /a', 'A /a/f'],
        ['D /a/f', 'M /a'],
        ['A /a/f', 'M /a'],
      ],
      ['/a 1>2 replaced', '/a/f 0>1 replaced at /a'],
    ],
    [
      'a file deleted and made again in one layer',
      [[file('f')], [whiteout('f'), file('f', '1')]],
      [['A /f'], ['M /f']],
      ['/f 0>1 replaced'],
    ],
    [
      'a link to the file that the name had changes nothing; one of another name is new',
      [[file('f', '1')], [hardlink('f', 'f'), hardlink('g', 'f')]],
      [['A /f'], ['A /g']],
      [],
    ],
    ['whiteouts of nothing', [[file('f')], [whiteout('g'), whiteout('a/b')]], [['A /f'], []], []],
    ['the root', [[dir('.')], [dir('.', { mode: 0o700 })]], [['M /'], ['M /']], []],
  ])('%s', async (_, stack, layers, hidden) => {
    const found = await changes(stack);
    expect(found.layers).toEqual(layers);
    expect(found.hidden).toEqual(hidden);
  });
});
