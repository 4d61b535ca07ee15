/** An upper directory's words, by overlayfs.rst and containers/storage, and the tree and layer that they make. */
import { describe, expect, test } from 'vitest';
import { changesOf, layerEntries, writeLayer } from '../../../src/layer/diff.js';
import { OverlaidTree } from '../../../src/layer/overlaid.js';
import { ROOT_INO } from '../../../src/layer/tree.js';
import { parseOverride, parseRedirect, readUpper } from '../../../src/layer/upper.js';
import type { DiskEntry, OverlayPrefix, UpperNode } from '../../../src/layer/upper.js';
import { encodeToc } from '../../../src/merge/encode.js';
import { mergeLayers } from '../../../src/merge/merge.js';
import { TocReader } from '../../../src/merge/toc-reader.js';
import { indexSources, withSources } from '../../helpers/merged-dump.js';
import { dir, file, hardlink, layerTar } from '../../helpers/stack.js';
import type { Layer } from '../../helpers/stack.js';

const DIR = 0o040755;
const FILE = 0o100644;

type Given = readonly [
  path: string,
  mode: number,
  changes?: Partial<DiskEntry> & { x?: Record<string, string> },
];

/** Paths depth first; `x` are attributes by name. */
function upper(given: readonly Given[], prefix: OverlayPrefix = 'trusted.overlay.'): UpperNode {
  const all: Given[] = [['', DIR], ...given];
  const entries = all.map(([path, mode, { x = {}, ...changes } = {}], index): DiskEntry => ({
    depth: path === '' ? 0 : path.split('/').length,
    name: path.split('/').at(-1)!,
    mode,
    dev: 1n,
    ino: BigInt(index + 1),
    nlink: 1,
    uid: 0,
    gid: 0,
    rdevMajor: 0,
    rdevMinor: 0,
    sizeBytes: 0,
    mtimeSec: 1_700_000_000,
    mtimeNsec: 0,
    ctimeSec: 0,
    ctimeNsec: 0,
    target: '',
    xattrs: Object.entries(x).map(([name, value]) => ({ name, value: Buffer.from(value, 'latin1') })),
    ...changes,
  }));
  return readUpper(entries, prefix);
}

describe('a redirect', () => {
  test.each(['/a', '/a/b', 'a', '/\xff'])('%s', (text) => {
    expect(parseRedirect(Buffer.from(text, 'latin1'))).toBe(text);
  });
  test.each(['', '/', '/a/', 'a/b', '/a//b', '/../a', '..', '.', '/a/./b', 'a\0'])('%j is none', (text) => {
    expect(parseRedirect(Buffer.from(text, 'latin1'))).toBeUndefined();
    expect(() => upper([['d', DIR, { x: { 'trusted.overlay.redirect': text } }]])).toThrow(
      expect.objectContaining({ code: 'EUPPER' }),
    );
  });
});

test('override_stat says owner, mode and what could not be made', () => {
  const override = (text: string) => parseOverride(Buffer.from(text));
  expect(override('1000:5:04755')).toMatchObject({ uid: 1000, gid: 5, mode: 0o4755, type: undefined });
  expect(override('0:0:0100644:file')).toMatchObject({ mode: 0o644, type: 'file' });
  expect(override('1:2:0600:char-1-3')).toMatchObject({ type: 'char', rdevMajor: 1, rdevMinor: 3 });
  expect(override('1:2:0600:pipe')).toMatchObject({ type: 'fifo' });
  for (const text of ['', '1:2', 'a:b:c', '1:2:9', '-1:0:0', '1:2:0600:char-1'])
    expect(override(text)).toBeUndefined();
  const kept = upper([
    ['f', FILE, { x: { 'user.containers.override_stat': '7:8:0640:block-8-1', 'user.k': 'v' } }],
  ]);
  // The root has none: then it says nothing anywhere, and is still not a user's.
  expect(kept.children!.get('f')).toMatchObject({ type: 'file', uid: 0 });
  expect(kept.children!.get('f')!.xattrs!.map(({ name }) => name)).toEqual(['user.k']);
  const root = upper(
    [
      ['', DIR, { x: { 'user.containers.override_stat': '0:0:0755:dir' } }],
      ['dev', FILE, { x: { 'user.containers.override_stat': '7:8:0640:block-8-1' } }],
      ['f', FILE, { x: { 'user.containers.override_stat': '7:8:0640', 'user.k': 'v' }, sizeBytes: 3 }],
    ],
    'user.overlay.',
  );
  expect(root.children!.get('dev')).toMatchObject({
    type: 'block',
    uid: 7,
    mode: 0o640,
    rdevMajor: 8,
    xattrs: undefined,
  });
  expect(root.children!.get('f')).toMatchObject({ type: 'file', gid: 8, sizeBytes: 3 });
  expect(root.children!.get('f')!.xattrs!.map(({ name }) => name)).toEqual(['user.k']);
});

test('private attributes are never shown, and escaped ones once less', () => {
  const x = {
    'security.selinux': 'label',
    'trusted.overlay.impure': 'y',
    'trusted.overlay.lamina.origin': 'o',
    'trusted.overlay.overlay.opaque': 'y',
    'trusted.overlay.overlay.overlay.x': 'z',
    'user.overlay.opaque': 'y',
  };
  expect(upper([['d', DIR, { x }]]).children!.get('d')).toMatchObject({
    opaque: false,
    xattrs: [
      { name: 'trusted.overlay.opaque' },
      { name: 'trusted.overlay.overlay.x' },
      { name: 'user.overlay.opaque' },
    ],
  });
});

test('whiteouts are devices, or files where their directory says so', () => {
  const white = { x: { 'trusted.overlay.whiteout': '' } };
  const root = upper([
    ['device', 0o020000],
    ['null', 0o020666, { rdevMajor: 1, rdevMinor: 3 }],
    ['plain', FILE, white],
    ['x', DIR, { x: { 'trusted.overlay.opaque': 'x' } }],
    ['x/gone', FILE, white],
    ['x/long', FILE, { ...white, sizeBytes: 1 }],
  ]);
  const types = (node: UpperNode): unknown => [...node.children!].map(([name, { type }]) => [name, type]);
  expect(types(root)).toEqual([
    ['device', 'whiteout'],
    ['null', 'char'],
    ['plain', 'file'],
    ['x', 'dir'],
  ]);
  expect(types(root.children!.get('x')!)).toEqual([
    ['gone', 'whiteout'],
    ['long', 'file'],
  ]);
});

const IMAGE: Layer = [
  dir('.'),
  dir('d'),
  file('d/one', 'one'),
  file('d/two', 'two'),
  dir('e'),
  file('e/f', 'f'),
  hardlink('e/other', 'd/one'),
];

/** The layer of an upper over IMAGE, as `KIND PATH`, and its changes. */
async function layer(root: UpperNode): Promise<{ entries: string[]; changes: string[]; tar: Buffer }> {
  const tars = [layerTar(IMAGE)];
  return withSources(tars, process.env['TMPDIR'] ?? '/tmp', async (sources) => {
    const lower = new TocReader(await encodeToc(mergeLayers(indexSources(sources, tars))), 'lower');
    const tree = new OverlaidTree(lower, root);
    const entries = layerEntries(tree, lower);
    const chunks: Buffer[] = [];
    const content = async function* (ino: number): AsyncGenerator<Buffer> {
      yield Buffer.alloc(tree.inode(ino).sizeBytes, 'x');
    };
    await writeLayer(tree, entries, content, (chunk) => void chunks.push(chunk), { epochSec: 1_600_000_000 });
    return {
      entries: entries.map(({ kind, path }) => `${kind} ${path}`),
      changes: changesOf(layerEntries(tree, lower, { forPeople: true })).map(
        ({ kind, path }) => `${kind} /${path}`,
      ),
      tar: Buffer.concat(chunks),
    };
  });
}

describe('the layer', () => {
  test('of nothing is empty', async () => {
    expect(await layer(upper([['d', DIR]]))).toMatchObject({ entries: [], changes: [] });
  });

  test('lists what is hidden before what is there, and parents as changed', async () => {
    const root = upper([
      ['d', DIR],
      ['d/a', FILE, { sizeBytes: 1 }],
      ['d/two', 0o020000],
    ]);
    expect(await layer(root)).toMatchObject({
      entries: ['node d', 'whiteout d/two', 'node d/a'],
      changes: ['C /d', 'A /d/a', 'D /d/two'],
    });
  });

  test('says every name that an opaque directory hides', async () => {
    const root = upper([
      ['d', DIR, { x: { 'trusted.overlay.opaque': 'y' } }],
      ['d/two', FILE, { sizeBytes: 2 }],
    ]);
    expect(await layer(root)).toMatchObject({
      entries: ['node d', 'whiteout d/one', 'node d/two'],
      changes: ['C /d', 'D /d/one', 'C /d/two'],
    });
  });

  test('holds the whole of a renamed directory, and the other names of its files', async () => {
    const root = upper([
      ['d', 0o020000],
      ['new', DIR, { x: { 'trusted.overlay.redirect': '/d' } }],
    ]);
    expect(await layer(root)).toMatchObject({
      entries: ['whiteout d', 'node e', 'node e/other', 'node new', 'node new/one', 'node new/two'],
      changes: ['D /d', 'A /new', 'A /new/one', 'A /new/two'],
    });
  });

  test('takes the content of a metacopy from the image, and leaves out what only was copied', async () => {
    const x = { 'trusted.overlay.metacopy': '' };
    const root = upper([
      ['d', DIR],
      ['d/one', FILE, { x, sizeBytes: 3 }],
      ['d/two', 0o100600, { x, sizeBytes: 3 }],
    ]);
    expect(await layer(root)).toMatchObject({
      entries: ['node d', 'node d/two'],
      changes: ['C /d', 'C /d/two'],
    });
    await expect(layer(upper([['lost', FILE, { x }]]))).rejects.toMatchObject({ code: 'EUPPER' });
  });

  test('has no sockets, but hides what they replace', async () => {
    const root = upper([
      ['d', DIR],
      ['d/one', 0o140755],
      ['d/sock', 0o140755],
    ]);
    expect(await layer(root)).toMatchObject({
      entries: ['node d', 'whiteout d/one', 'skipped d/sock'],
      changes: ['C /d', 'C /d/one', 'A /d/sock'],
    });
  });

  test('cannot hold a name that would hide another', async () => {
    const root = upper([
      ['d', DIR],
      ['d/.wh.one', FILE],
    ]);
    await expect(layer(root)).rejects.toMatchObject({ code: 'EWHITEOUT' });
  });

  test('is as old as SOURCE_DATE_EPOCH at most, and the same bytes each time', async () => {
    const make = (): UpperNode => upper([['a', FILE, { sizeBytes: 5 }]]);
    const { tar } = await layer(make());
    expect(parseInt(tar.toString('latin1', 136, 147), 8)).toBe(1_600_000_000);
    expect((await layer(make())).tar.equals(tar)).toBe(true);
  });
});

test('a merged directory keeps its number, so that `..` leads back to it from below', async () => {
  const tars = [layerTar(IMAGE)];
  await withSources(tars, process.env['TMPDIR'] ?? '/tmp', async (sources) => {
    const lower = new TocReader(await encodeToc(mergeLayers(indexSources(sources, tars))), 'lower');
    const tree = new OverlaidTree(
      lower,
      upper([
        ['e', 0o020000],
        ['m', DIR, { x: { 'trusted.overlay.redirect': 'e' } }],
      ]),
    );
    const moved = tree.lookup(ROOT_INO, 'm')!;
    expect(tree.lookup(ROOT_INO, 'e')).toBeUndefined();
    expect(tree.inode(moved).parent).toBe(ROOT_INO);
    expect(tree.entries(moved).map(({ name }) => name)).toEqual(['f', 'other']);
  });
});

test('what is not changed is not asked for', async () => {
  const many = Array.from({ length: 3000 }, (_, index) => file(`big/${index % 100}/${index}`, ''));
  const tars = [layerTar([...IMAGE, ...many])];
  await withSources(tars, process.env['TMPDIR'] ?? '/tmp', async (sources) => {
    const lower = new TocReader(await encodeToc(mergeLayers(indexSources(sources, tars))), 'lower');
    let asked = 0;
    const counting = new Proxy(lower, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          asked++;
          return Reflect.apply(value, target, args);
        };
      },
    });
    const root = upper([
      ['big', DIR],
      ['big/7', DIR],
      ['big/7/107', FILE, { sizeBytes: 1 }],
      ['big/7/new', FILE],
    ]);
    const entries = layerEntries(new OverlaidTree(counting, root), counting);
    expect(entries.map(({ path }) => path)).toEqual(['big', 'big/7', 'big/7/107', 'big/7/new']);
    expect(asked).toBeLessThan(50);
  });
});
