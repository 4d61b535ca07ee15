/** dive's figures, against what dive's own tests say that dive says: numbers and lists are copied from its repository, none from here. */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { DiveTreeBuilder, visitChildrenFirst } from '../../../../src/image/analyze/dive-tree.js';
import type { DiveFile, DiveTree } from '../../../../src/image/analyze/dive-tree.js';
import { efficiencyOf } from '../../../../src/image/analyze/efficiency.js';
import { scanTar } from '../../../../src/tar/scan.js';
import { withSources } from '../../../helpers/merged-dump.js';
import { rawEntry, rawTar } from '../../../helpers/raw-tar.js';
import { dir, file, hardlink, layerTar, opaque, whiteout } from '../../../helpers/stack.js';
import type { Stack } from '../../../helpers/stack.js';

type FileRow = [
  path: string,
  typeFlag: number,
  linkName: string,
  size: number,
  fileMode: number,
  uid: number,
  gid: number,
  isDir: boolean,
];

interface DiveAnalysis {
  image: {
    sizeBytes: number;
    inefficientBytes: number;
    efficiencyScore: number;
    fileReference: { count: number; sizeBytes: number; file: string }[];
  };
  userSizeBytes: number;
  wastedUserPercent: number;
  layers: { sizeBytes: number; files: FileRow[] }[];
}

const FIXTURE = fileURLToPath(new URL('../../../fixtures/dive/analysis.json', import.meta.url));

function treesOf(tars: readonly Buffer[]): Promise<DiveTree[]> {
  return withSources(tars, tmpdir(), (sources) =>
    sources.map((source) => {
      const builder = new DiveTreeBuilder();
      for (const entry of scanTar(source)) builder.add(entry);
      return builder.finish();
    }),
  );
}

describe("dive's test image", () => {
  const dive = JSON.parse(readFileSync(FIXTURE, 'utf8')) as DiveAnalysis;
  /** The image rebuilt from dive's own list of its entries. */
  const tars = dive.layers.map(({ files }) =>
    rawTar(
      files.map(([name, typeFlag, linkName, size, fileMode, uid, gid]) =>
        rawEntry(
          { name, typeflag: String.fromCharCode(typeFlag), linkName, mode: fileMode & 0o777, uid, gid },
          Buffer.alloc(size),
        ),
      ),
    ),
  );

  test('has the score, the waste and the inefficient files that dive says', async () => {
    const found = efficiencyOf(await treesOf(tars));
    expect(found.score).toBe(dive.image.efficiencyScore);
    expect(found.sizeBytes).toBe(dive.image.sizeBytes);
    expect(found.wastedBytes).toBe(dive.image.inefficientBytes);
    expect(found.userSizeBytes).toBe(dive.userSizeBytes);
    expect(found.wastedUserPercent).toBe(dive.wastedUserPercent);
    const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);
    expect([...found.inefficientFiles].sort(byPath)).toEqual(
      dive.image.fileReference
        .map(({ file: path, count, sizeBytes }) => ({ path, count, sizeBytes }))
        .sort(byPath),
    );
  });

  test('has the layers and files that dive lists, in its order', async () => {
    const trees = await treesOf(tars);
    expect(trees.map(({ sizeBytes }) => sizeBytes)).toEqual(dive.layers.map(({ sizeBytes }) => sizeBytes));
    const lists = trees.map(({ root }) => {
      const files: DiveFile[] = [];
      visitChildrenFirst(root, 'byte order', ({ file: found }) => found && files.push(found));
      return files.map(({ path, sizeBytes, linkName }) => [path, linkName, sizeBytes]);
    });
    expect(lists).toEqual(
      dive.layers.map(({ files }) => files.map(([path, , linkName, size]) => [path, linkName, size])),
    );
  });
});

describe('the score', () => {
  const score = async (stack: Stack): Promise<ReturnType<typeof efficiencyOf>> =>
    efficiencyOf(await treesOf(stack.map(layerTar)));
  const x = (count: number): string => 'x'.repeat(count);

  test("of dive's TestEfficiency is 0.75", async () => {
    // No entry describes /etc/nginx, so that it is no directory to dive and its whiteout has no size.
    const found = await score([
      [file('etc/nginx/nginx.conf', x(2000)), file('etc/nginx/public', x(3000))],
      [file('etc/nginx/nginx.conf', x(5000)), file('etc/athing', x(10_000))],
      [whiteout('etc/nginx')],
    ]);
    expect(found.score).toBe(0.75);
    expect(found.inefficientFiles).toEqual([{ path: '/etc/nginx/nginx.conf', count: 2, sizeBytes: 7000 }]);
  });

  test('of an image with nothing in it is 1', async () => {
    const found = await score([[file('nothing')]]);
    expect(found.score).toBe(1);
    expect(found.inefficientFiles).toEqual([]);
    expect(found.wastedUserPercent).toBeNaN();
  });

  test('counts the whiteout of a directory as what it hides, and of a file as nothing', async () => {
    const lower = [dir('d'), file('d/a', x(10)), file('d/b', x(20)), file('f', x(5))];
    const found = await score([lower, [whiteout('d'), whiteout('f')], [file('d', x(1))]]);
    // /d: 30 by the whiteout and 1; /f: 5 and 0; /d/a and /d/b once each.
    expect(found.inefficientFiles).toEqual([
      { path: '/d', count: 2, sizeBytes: 31 },
      { path: '/f', count: 2, sizeBytes: 5 },
    ]);
    expect(found.wastedBytes).toBe(36);
    expect(found.score).toBe((1 + 0 + 10 + 20) / (31 + 5 + 10 + 20));
  });

  test('knows no opaque markers, no size of hard links, and directories only where they are empty', async () => {
    const found = await score([
      [dir('d'), file('d/a', x(10)), hardlink('d/b', 'd/a'), dir('e')],
      [dir('d'), opaque('d'), file('d/b', x(7)), dir('e')],
      [whiteout('d')],
    ]);
    // The opaque marker hides nothing here: the whiteout is 10 + 7.
    expect(found.inefficientFiles).toEqual([
      { path: '/d/b', count: 2, sizeBytes: 7 },
      { path: '/e', count: 2, sizeBytes: 0 },
    ]);
    expect(found.score).toBe((10 + 0 + 17) / (10 + 7 + 17));
  });

  test('goes on after a whiteout that hides nothing', async () => {
    const found = await score([[file('z', x(4))], [whiteout('a'), file('z', x(6))]]);
    expect(found.inefficientFiles).toEqual([{ path: '/z', count: 2, sizeBytes: 10 }]);
  });
});
