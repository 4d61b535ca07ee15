/** What is stored for nothing, and why; and the library's view of it. Expectations by hand. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { analyze, diffImages, openImage } from '../../../../src/index.js';
import type { ImageAnalysis } from '../../../../src/index.js';
import { dir, dockerArchive, file, hardlink, symlink, whiteout } from '../../../helpers/stack.js';
import type { Stack } from '../../../helpers/stack.js';

const x = (count: number): string => 'x'.repeat(count);

const STACK: Stack = [
  [
    dir('d'),
    file('d/chmodded', x(100)),
    file('d/chowned', x(200)),
    file('d/touched', x(300)),
    file('d/again', x(400)),
    file('d/rewritten', x(500)),
    file('d/grown', x(600)),
    file('d/deleted', x(700)),
    file('d/became-link', x(800)),
    dir('gone'),
    file('gone/a', x(900)),
    file('gone/b', x(1000)),
    file('link-1', x(1100)),
    hardlink('link-2', 'link-1'),
    file('pair-1', x(1200)),
    hardlink('pair-2', 'pair-1'),
    file('attribute', x(1300)),
    file('caf\xc3\xa9', x(50)),
    file('\xff', x(51)),
  ],
  [
    file('d/chmodded', x(100), { mode: 0o600 }),
    file('d/chowned', x(200), { uid: 1, gid: 2 }),
    file('d/touched', x(300), { mtime: [1, 0] }),
    file('d/again', x(400)),
    file('d/rewritten', 'y'.repeat(500)),
    file('d/grown', x(601)),
    whiteout('d/deleted'),
    symlink('d/became-link', 'x'),
    whiteout('gone'),
    whiteout('link-2'),
    whiteout('pair-1'),
    whiteout('pair-2'),
    file('attribute', x(1300), { xattrs: [['user.a', 'b']] }),
  ],
  [file('d/rewritten', x(500))],
];

describe('analyze', () => {
  const base = mkdtempSync(join(tmpdir(), 'lamina-analyze-'));
  const options = { root: join(base, 'root') };
  const archive = join(base, 'image.tar');
  let found: ImageAnalysis;

  beforeAll(async () => {
    dockerArchive(STACK, archive);
    const image = await openImage(archive, options);
    try {
      found = await analyze(image);
    } finally {
      await image.close();
    }
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('says why each version is hidden, and what it costs', () => {
    const said = found.hidden.map(
      ({ path, layer, byLayer, sizeBytes, why, changed }) =>
        `${path} ${layer}>${byLayer} ${sizeBytes} ${why}${changed.length === 0 ? '' : ` ${changed.join(',')}`}`,
    );
    expect(said).toEqual([
      '/attribute 0>1 1300 metadata-only copy xattrs',
      '/d/again 0>1 400 identical copy',
      '/d/became-link 0>1 800 replaced',
      '/d/chmodded 0>1 100 metadata-only copy mode',
      '/d/chowned 0>1 200 metadata-only copy owner',
      '/d/deleted 0>1 700 deleted',
      '/d/grown 0>1 600 rewritten',
      '/d/rewritten 0>1 500 rewritten',
      '/d/rewritten 1>2 500 rewritten',
      '/d/touched 0>1 300 metadata-only copy mtime',
      '/gone/a 0>1 900 deleted',
      '/gone/b 0>1 1000 deleted',
      // Its other name still shows.
      '/link-2 0>1 0 deleted',
      // Both names are gone: the content counts once.
      '/pair-1 0>1 1200 deleted',
      '/pair-2 0>1 0 deleted',
    ]);
    expect(found.hiddenBytes).toBe(
      1300 + 400 + 800 + 100 + 200 + 700 + 600 + 500 + 500 + 300 + 900 + 1000 + 1200,
    );
  });

  test('counts what layers change', () => {
    const counts = found.layers.map(({ files, directories }) => ({ files, directories }));
    expect(counts).toEqual([
      { files: { added: 17, modified: 0, removed: 0 }, directories: { added: 2, modified: 0, removed: 0 } },
      { files: { added: 0, modified: 8, removed: 6 }, directories: { added: 0, modified: 0, removed: 1 } },
      { files: { added: 0, modified: 1, removed: 0 }, directories: { added: 0, modified: 0, removed: 0 } },
    ]);
  });

  test('lists the largest files that show, each once, and keeps the bytes of names', () => {
    const names = found.largestFiles.map(({ path, sizeBytes, layer }) => `${path} ${sizeBytes} ${layer}`);
    expect(names.slice(0, 3)).toEqual(['/attribute 1300 1', '/link-1 1100 0', '/d/grown 601 1']);
    expect(names).toContain('/café 50 0');
    expect(found.largestFiles.find(({ sizeBytes }) => sizeBytes === 51)?.pathBytes.toString('latin1')).toBe(
      '/\xff',
    );
  });

  test('diffImages tells two images apart, and one not from itself', async () => {
    const other = join(base, 'other.tar');
    dockerArchive(STACK.slice(0, 2), other);
    const [a, b] = [await openImage(other, options), await openImage(archive, options)];
    try {
      expect(await diffImages(a, a)).toEqual({ files: [], packages: [] });
      const { files } = await diffImages(a, b);
      expect(files.map(({ path, kind, changed }) => `${kind} ${path} ${changed.join()}`)).toEqual([
        'modified /d/rewritten content',
      ]);
      expect(files[0]!.before?.layer).toBe(1);
      expect(files[0]!.after?.layer).toBe(2);
      expect((await diffImages(a, b, { ignore: ['content'] })).files).toEqual([]);
      expect((await diffImages(a, b, { path: '/gone-too' }).catch((error) => error)).code).toBe('ENOENT');
    } finally {
      await a.close();
      await b.close();
    }
  });
});
