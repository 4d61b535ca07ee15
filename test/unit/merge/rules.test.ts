/**
 * The rules of layers that other tools got wrong, one test each; the expectations are written by hand from image-spec
 * layer.md (Whiteouts, Applying Changesets), pax(1) and the issues that are named beside them.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HOLE } from '../../../src/layer/tree.js';
import { indexSources, layerDump, mergedDump, withSources } from '../../helpers/merged-dump.js';
import { rawEntry } from '../../helpers/raw-tar.js';
import type { Stack } from '../../helpers/stack.js';
import {
  dir,
  file,
  hardlink,
  layerTar,
  opaque,
  raw,
  socket,
  symlink,
  whiteout,
} from '../../helpers/stack.js';

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'lamina-rules-'));
});
afterAll(() => rmSync(scratch, { recursive: true }));

interface Shown {
  type: string;
  mode: string;
  nlink: string;
  owner: string;
  mtime: string;
  size: string;
  content: string;
  xattrs: string;
}

/** Path -> fields of its dump line. A further name of a hard link has the type `h` and the first name as content. */
async function show(stack: Stack): Promise<Record<string, Shown>> {
  const shown: Record<string, Shown> = {};
  for (const line of (await mergedDump(stack, scratch)).trimEnd().split('\n')) {
    const [path, type, ...fields] = line.split(' ') as [string, string, ...string[]];
    const [mode, nlink, owner, , mtime, size, content, xattrs] = (
      type === 'h' ? ['', '', '', '', '', '', fields[0], ''] : fields
    ) as [string, string, string, string, string, string, string, string];
    shown[path] = { type, mode, nlink, owner, mtime, size, content, xattrs };
  }
  return shown;
}

/** The paths a stack shows, without the root, in order. */
async function paths(stack: Stack): Promise<string[]> {
  return Object.keys(await show(stack)).filter((path) => path !== '/');
}

function digestOf(content: string): string {
  return `sha256:${createHash('sha256').update(content, 'latin1').digest('hex')}`;
}

/** Both orders of two entries in one layer. */
function bothOrders(stack: (order: <T>(a: T, b: T) => T[]) => Stack): Stack[] {
  return [stack((a, b) => [a, b]), stack((a, b) => [b, a])];
}

describe('whiteouts', () => {
  test('a whiteout hides the lower name', async () => {
    expect(await paths([[file('a'), file('b')], [whiteout('a')]])).toEqual(['/b']);
  });

  test('a whiteout hides a whole lower directory', async () => {
    expect(await paths([[file('d/x/y'), file('e')], [whiteout('d')]])).toEqual(['/e']);
  });

  test('a whiteout never hides its own layer, whichever comes first in the tar', async () => {
    for (const stack of bothOrders((order) => [[file('a', 'old')], order(whiteout('a'), file('a', 'new'))])) {
      expect((await show(stack))['/a']?.content).toBe(digestOf('new'));
    }
  });

  test('a directory stands beside its own whiteout and shows nothing of the lower one', async () => {
    for (const stack of bothOrders((order) => [
      [dir('d', { mode: 0o700, uid: 7 }), file('d/old')],
      [...order(whiteout('d'), dir('d')), file('d/new')],
    ])) {
      const shown = await show(stack);
      expect(Object.keys(shown)).toEqual(['/', '/d', '/d/new']);
      expect(shown['/d']).toMatchObject({ mode: '0755', owner: '0:0' });
    }
  });

  test('a whiteout hides in the layers below only, not in those above', async () => {
    expect(await paths([[file('a')], [whiteout('a')], [file('a')]])).toEqual(['/a']);
    expect(await paths([[whiteout('a')], [file('a')]])).toEqual(['/a']);
  });

  test('a whiteout of nothing shows nothing, and makes no directories', async () => {
    expect(await paths([[file('a')], [whiteout('no/such/thing'), whiteout('b')]])).toEqual(['/a']);
  });

  test('a whiteout below another one adds nothing', async () => {
    expect(await paths([[file('d/x')], [whiteout('d'), whiteout('d/x')]])).toEqual([]);
    expect(await paths([[file('d/x')], [whiteout('d/x'), whiteout('d')]])).toEqual([]);
  });

  test('a whiteout stored as a hard link is a whiteout', async () => {
    const stored = raw(rawEntry({ name: '.wh.b', typeflag: '1', linkName: '.wh.a' }));
    expect(
      await paths([
        [file('a'), file('b'), file('c')],
        [whiteout('a'), stored],
      ]),
    ).toEqual(['/c']);
  });

  test.each(['.wh.', 'd/.wh.', '.wh..', '.wh...'])('%s names nothing and is an error', async (name) => {
    const entry = raw(rawEntry({ name, typeflag: '0' }));
    await expect(mergedDump([[entry]], scratch)).rejects.toMatchObject({ code: 'EWHITEOUT' });
  });

  test('a whiteout of a name of 255 bytes is read', async () => {
    const name = 'n'.repeat(255);
    expect(await paths([[file(name)], [whiteout(name)]])).toEqual([]);
  });

  test('names that only look like whiteouts are names', async () => {
    expect(await paths([[file('.whx'), file('wh.a'), file('..wh.a')]])).toEqual([
      '/..wh.a',
      '/.whx',
      '/wh.a',
    ]);
  });

  test('the layer itself is shown with its whiteouts in the dump of its own', async () => {
    const dump = await layerDump([whiteout('a'), file('d/x'), opaque('d')], scratch);
    expect(dump).toMatch(/^\/a w /m);
    expect(dump).toMatch(/^\/d d(io|oi) /m);
  });
});

describe('opaque directories', () => {
  test('an opaque marker works in any position among the entries of its layer', async () => {
    const own = [dir('d'), file('d/new'), file('d/sub/x')];
    for (let position = 0; position <= own.length; position++) {
      const upper = [...own.slice(0, position), opaque('d'), ...own.slice(position)];
      expect(await paths([[file('d/old'), file('d/sub/old')], upper])).toEqual([
        '/d',
        '/d/new',
        '/d/sub',
        '/d/sub/x',
      ]);
    }
  });

  test('an opaque directory that is not described keeps the lower attributes', async () => {
    const shown = await show([
      [dir('d', { mode: 0o700, uid: 7 }), file('d/old')],
      [opaque('d'), file('d/new')],
    ]);
    expect(Object.keys(shown)).toEqual(['/', '/d', '/d/new']);
    expect(shown['/d']).toMatchObject({ mode: '0700', owner: '7:0' });
  });

  test('an opaque root hides everything below', async () => {
    expect(
      await paths([
        [file('old'), file('d/x')],
        [opaque(''), file('new')],
      ]),
    ).toEqual(['/new']);
  });

  test('directories inside an opaque directory take no attributes from below', async () => {
    const shown = await show([[dir('d/e', { mode: 0o700 })], [opaque('d'), file('d/e/x')]]);
    expect(shown['/d/e']).toMatchObject({ mode: '0755', mtime: '0.000000000' });
  });
});

describe('hard links', () => {
  // google/go-containerregistry#2002
  test('a linked file replaced above by one name keeps the other names and their content', async () => {
    const shown = await show([
      [file('a', '123'), hardlink('b', 'a'), hardlink('c', 'a')],
      [file('b', '456')],
    ]);
    expect(shown['/a']).toMatchObject({ content: digestOf('123'), nlink: '2' });
    expect(shown['/b']).toMatchObject({ content: digestOf('456'), nlink: '1' });
    expect(shown['/c']).toMatchObject({ type: 'h', content: '/a' });
  });

  // google/go-containerregistry#2002: the first name, which the others point to in the tar, is the one replaced.
  test('replacing the name that the links point to changes no other', async () => {
    const shown = await show([
      [file('a', '123'), hardlink('b', 'a'), hardlink('c', 'a')],
      [file('a', '456')],
    ]);
    expect(shown['/a']).toMatchObject({ content: digestOf('456'), nlink: '1' });
    expect(shown['/b']).toMatchObject({ content: digestOf('123'), nlink: '2' });
    expect(shown['/c']).toMatchObject({ type: 'h', content: '/b' });
  });

  // containers/fuse-overlayfs#435
  test('nlink counts the names that are visible', async () => {
    const lower = [file('a'), hardlink('b', 'a'), hardlink('d/c', 'a')];
    expect((await show([lower]))['/a']?.nlink).toBe('3');
    expect((await show([lower, [whiteout('b')]]))['/a']?.nlink).toBe('2');
    expect((await show([lower, [whiteout('b'), opaque('d')]]))['/a']?.nlink).toBe('1');
  });

  test('a link to a file of a lower layer is another name of it', async () => {
    const shown = await show([[file('a', 'x', { uid: 7 })], [hardlink('b', 'a')]]);
    expect(shown['/a']).toMatchObject({ nlink: '2', owner: '7:0' });
    expect(shown['/b']).toMatchObject({ type: 'h', content: '/a' });
  });

  test('a link to a file that its own layer deletes keeps the file', async () => {
    for (const stack of bothOrders((order) => [[file('a', 'x')], order(whiteout('a'), hardlink('b', 'a'))])) {
      const shown = await show(stack);
      expect(Object.keys(shown)).toEqual(['/', '/b']);
      expect(shown['/b']).toMatchObject({ content: digestOf('x'), nlink: '1' });
    }
  });

  test('a link to nothing, and to a directory, is an error', async () => {
    await expect(mergedDump([[hardlink('b', 'a')]], scratch)).rejects.toMatchObject({ code: 'EBADLAYER' });
    await expect(mergedDump([[dir('a'), hardlink('b', 'a')]], scratch)).rejects.toMatchObject({
      code: 'EBADLAYER',
    });
  });
});

describe('one kind of file over another', () => {
  // google/go-containerregistry#2029
  test('a directory deleted and made again shows none of its old children', async () => {
    expect(await paths([[file('d/old')], [whiteout('d')], [dir('d'), file('d/new')]])).toEqual([
      '/d',
      '/d/new',
    ]);
  });

  test('a file over a directory hides it whole', async () => {
    expect(await paths([[file('d/x/y')], [file('d')]])).toEqual(['/d']);
  });

  test('a directory over a file replaces it, also one that only its children tell of', async () => {
    expect(await paths([[file('d')], [dir('d'), file('d/x')]])).toEqual(['/d', '/d/x']);
    const shown = await show([[file('d', '', { uid: 7, mode: 0o600 })], [file('d/x')]]);
    expect(shown['/d']).toMatchObject({ type: 'd', mode: '0755', owner: '0:0', mtime: '0.000000000' });
  });

  test('a directory, a file, and a directory again shows the uppermost only', async () => {
    expect(await paths([[file('d/x')], [file('d')], [file('d/y')]])).toEqual(['/d', '/d/y']);
  });

  test('a symlink over a directory hides it; children above make a directory again', async () => {
    const lower = [[file('d/x')], [symlink('d', 'e')]];
    expect((await show(lower))['/d']).toMatchObject({ type: 'l', content: '->e' });
    const shown = await show([...lower, [file('d/y')]]);
    expect(shown['/d']?.type).toBe('d');
    expect(Object.keys(shown)).toEqual(['/', '/d', '/d/y']);
  });

  test('a directory over a directory replaces its attributes, xattrs too, and keeps its children', async () => {
    const shown = await show([
      [dir('d', { mode: 0o700, xattrs: [['user.old', '1']] }), file('d/x')],
      [dir('d', { mode: 0o711, uid: 7, mtime: [5, 6] })],
    ]);
    expect(shown['/d']).toMatchObject({ mode: '0711', owner: '7:0', mtime: '5.000000006', xattrs: '-' });
    expect(Object.keys(shown)).toEqual(['/', '/d', '/d/x']);
  });

  test('a directory that a layer only passes through keeps its attributes', async () => {
    const shown = await show([[dir('d', { mode: 0o700, mtime: [5, 6] })], [file('d/x')]]);
    expect(shown['/d']).toMatchObject({ mode: '0700', mtime: '5.000000006' });
  });
});

describe('names and paths', () => {
  test('of duplicate paths the last wins', async () => {
    const shown = await show([[file('a', 'one'), file('a', 'two'), dir('d', { mode: 0o700 }), dir('d')]]);
    expect(shown['/a']).toMatchObject({ content: digestOf('two') });
    expect(shown['/d']).toMatchObject({ mode: '0755' });
    expect(await paths([[file('d/x'), symlink('d', 'e')]])).toEqual(['/d']);
  });

  test.each(['./a/b', '/a/b', 'a//b', 'a/./b', 'x/../a/b', './/a/b'])('%s is a/b', async (path) => {
    expect(await paths([[file(path)]])).toEqual(['/a', '/a/b']);
  });

  // google/go-containerregistry#2399
  test.each(['.', './', '/'])('%s describes the root', async (path) => {
    expect((await show([[dir(path, { mode: 0o711, uid: 7 })]]))['/']).toMatchObject({
      mode: '0711',
      owner: '7:0',
    });
  });

  test.each(['../a', 'a/../../b', '/../a'])('%s leads out of the root and is an error', async (path) => {
    await expect(mergedDump([[file(path)]], scratch)).rejects.toMatchObject({ code: 'EBADPATH' });
  });

  test('missing parents are made: 0755, root, the epoch', async () => {
    expect((await show([[file('a/b/c')]]))['/a/b']).toMatchObject({
      type: 'd',
      mode: '0755',
      owner: '0:0',
      mtime: '0.000000000',
    });
  });

  test('names keep bytes that are not UTF-8, newlines and backslashes', async () => {
    expect(await paths([[file('\xff\xfe'), file('a\nb'), file('a\\b')]])).toEqual([
      '/a\\x0ab',
      '/a\\x5cb',
      '/\\xff\\xfe',
    ]);
  });

  test('a name may have 255 bytes and not 256', async () => {
    expect(await paths([[file('n'.repeat(255))]])).toEqual([`/${'n'.repeat(255)}`]);
    await expect(mergedDump([[file('n'.repeat(256))]], scratch)).rejects.toMatchObject({ code: 'EBADPATH' });
  });

  test('a path may be longer than PATH_MAX', async () => {
    const path = Array.from({ length: 30 }, () => 'd'.repeat(200)).join('/');
    expect((await paths([[file(`${path}/f`)]])).at(-1)).toBe(`/${path}/f`);
  });

  test('128 layers and more', async () => {
    const layers = Array.from({ length: 200 }, (_, index) => [file('a', `${index}`), file(`f${index}`)]);
    const shown = await show(layers);
    expect(Object.keys(shown)).toHaveLength(202);
    expect(shown['/a']).toMatchObject({ content: digestOf('199') });
  });

  // google/go-containerregistry#2238, #2268
  test.each(['/abs/olute', '../../up', '/../..', 'a//b/', '\xff'])(
    'the symlink text %j is kept as written',
    async (text) => {
      const shown = await show([[symlink('l', text)]]);
      expect(shown['/l']?.content).toBe(`->${text.replace('\xff', '\\xff')}`);
    },
  );
});

describe('attributes', () => {
  test('xattr values keep NUL, newline and high bytes', async () => {
    const value = '\x01\x00\x00\x02\n\xff\xc3=';
    const shown = await show([[file('a', '', { xattrs: [['security.capability', value]] })]]);
    expect(shown['/a']?.xattrs).toBe('security.capability=010000020affc33d');
  });

  test('times before the epoch and parts of seconds', async () => {
    const shown = await show([
      [file('a', '', { mtime: [-2, 500_000_000] }), file('b', '', { mtime: [7, 1] })],
    ]);
    expect(shown['/a']?.mtime).toBe('-2.500000000');
    expect(shown['/b']?.mtime).toBe('7.000000001');
  });

  test('owners above 2^21', async () => {
    const shown = await show([[file('a', '', { uid: 3_000_000_000, gid: 2_097_152 })]]);
    expect(shown['/a']?.owner).toBe('3000000000:2097152');
  });

  test('setuid, setgid and sticky bits', async () => {
    const shown = await show([[file('a', '', { mode: 0o6755 }), dir('t', { mode: 0o1777 })]]);
    expect(shown['/a']?.mode).toBe('6755');
    expect(shown['/t']?.mode).toBe('1777');
  });

  test('a symlink is 0777, whatever its tar says', async () => {
    expect((await show([[symlink('l', 'a', { mode: 0o644 })]]))['/l']?.mode).toBe('0777');
  });

  test('a socket is a socket', async () => {
    expect((await show([[socket('s', { mode: 0o666 })]]))['/s']).toMatchObject({ type: 's', mode: '0666' });
  });

  test('a sparse file has its logical size and zeros in its holes', async () => {
    const content = { sizeBytes: 20_000, runs: [{ offset: 9_000, data: 'data' }] };
    const shown = await show([[file('a', content)]]);
    expect(shown['/a']).toMatchObject({
      size: '20000',
      content: digestOf(`${'\0'.repeat(9_000)}data${'\0'.repeat(20_000 - 9_004)}`),
    });
  });

  test('a size above 8 GiB', async () => {
    const tar = layerTar([file('a', { sizeBytes: 2 ** 33 + 1, runs: [] })]);
    const [toc] = await withSources([tar], scratch, (sources) => indexSources(sources, [tar]));
    expect(toc?.root.children.get('a')).toMatchObject({
      sizeBytes: 8_589_934_593,
      extents: [{ logical: 0, length: 8_589_934_593, source: HOLE }],
    });
  });
});
