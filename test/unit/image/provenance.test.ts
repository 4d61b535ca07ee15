/** What each layer says of a path: expectations by hand, from image-spec layer.md. */
import { describe, expect, test } from 'vitest';
import { provenance } from '../../../src/image/provenance.js';
import { dir, file, opaque, symlink, whiteout } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';
import { withView } from '../../helpers/view.js';

/** `LAYER state [by LAYER how PATH] [hides how PATH]`, bottom to top. */
async function said(stack: Stack, path: string): Promise<string[]> {
  return withView(stack, (view, layerTocs) => {
    let shown;
    try {
      shown = view.lstat(path).type;
    } catch {
      shown = undefined;
    }
    const opinions = provenance(layerTocs, path, shown);
    expect(opinions.some(({ state }) => state === 'visible' || state === 'merged')).toBe(shown !== undefined);
    return opinions.map(({ layer, state, hiddenBy, hides }) =>
      [
        layer,
        state,
        ...(hiddenBy === undefined ? [] : ['by', hiddenBy.layer, hiddenBy.how, hiddenBy.path]),
        ...(hides === undefined ? [] : ['hides', hides.how, hides.path]),
      ].join(' '),
    );
  });
}

describe('provenance', () => {
  test.each<[name: string, stack: Stack, path: string, expected: string[]]>([
    ['a file in one layer', [[dir('a'), file('a/f')], [dir('b')]], '/a/f', ['0 visible']],
    [
      'a file replaced twice',
      [[file('f', '0')], [file('f', '1')], [file('f', '2')]],
      '/f',
      ['0 hidden by 2 replaced /f', '1 hidden by 2 replaced /f', '2 visible hides replaced /f'],
    ],
    [
      'a file deleted and made again',
      [[file('f')], [whiteout('f')], [file('f')]],
      '/f',
      ['0 hidden by 2 replaced /f', '1 absent hides whiteout /f', '2 visible hides replaced /f'],
    ],
    [
      'a file deleted',
      [[file('f')], [whiteout('f')]],
      '/f',
      ['0 hidden by 1 whiteout /f', '1 absent hides whiteout /f'],
    ],
    [
      'a file whose directory was deleted',
      [[dir('a'), file('a/f')], [whiteout('a')]],
      '/a/f',
      ['0 hidden by 1 whiteout /a', '1 absent hides whiteout /a'],
    ],
    [
      'a file under an opaque directory',
      [
        [dir('a'), file('a/f')],
        [dir('a'), opaque('a')],
      ],
      '/a/f',
      ['0 hidden by 1 opaque /a', '1 absent hides opaque /a'],
    ],
    [
      'a file added with the opaque mark',
      [
        [dir('a'), file('a/f')],
        [dir('a'), file('a/f'), opaque('a')],
      ],
      '/a/f',
      ['0 hidden by 1 opaque /a', '1 visible hides opaque /a'],
    ],
    [
      'a file under what is no directory any more',
      [[dir('a'), file('a/f')], [symlink('a', 'b')]],
      '/a/f',
      ['0 hidden by 1 replaced /a', '1 absent hides replaced /a'],
    ],
    ['directories merge', [[dir('a')], [dir('a')], [dir('a')]], '/a', ['0 merged', '1 merged', '2 visible']],
    [
      'a directory passed through keeps its attributes',
      [[dir('a')], [file('a/f')]],
      '/a',
      ['0 visible', '1 merged'],
    ],
    [
      'a directory over a file',
      [[file('a')], [dir('a')]],
      '/a',
      ['0 hidden by 1 replaced /a', '1 visible hides replaced /a'],
    ],
    [
      'directories over a file over a directory',
      [[dir('a')], [file('a')], [dir('a')], [dir('a')]],
      '/a',
      ['0 hidden by 2 replaced /a', '1 hidden by 2 replaced /a', '2 merged hides replaced /a', '3 visible'],
    ],
    [
      'a directory that is only passed through, over a file',
      [[file('a')], [file('a/f')]],
      '/a',
      ['0 hidden by 1 replaced /a', '1 merged hides replaced /a'],
    ],
    [
      'a directory that only holds whiteouts, over a file',
      [[file('a')], [whiteout('a/f')]],
      '/a',
      ['0 visible'],
    ],
    ['a path that no layer has', [[file('a')]], '/b', []],
  ])('%s', async (_, stack, path, expected) => {
    expect(await said(stack, path)).toEqual(expected);
  });
});
