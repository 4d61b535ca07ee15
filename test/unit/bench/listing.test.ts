/** What an image holds by its own listing, for root and for those who may not see all. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesWithin, listImage, workOf } from '../../../src/bench/listing.js';
import type { Listing } from '../../../src/bench/listing.js';
import { parseBenchOptions } from '../../../src/bench/options.js';
import { seriesOf } from '../../../src/bench/scenarios.js';
import type { Target } from '../../../src/bench/subject.js';
import { openImage } from '../../../src/image/open.js';
import type { OpenedImage } from '../../../src/image/open.js';
import { dir, dockerArchive, file, symlink, whiteout } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';

const STACK: Stack = [
  [
    dir('etc'),
    file('etc/low', '12345'),
    file('etc/gone', 'x'),
    dir('secret', { mode: 0o700 }),
    file('secret/a', 'abc'),
  ],
  [whiteout('etc/gone'), file('etc/two\nlines', '12'), symlink('etc/link', 'low')],
  [file('etc/own', 'x'.repeat(7), { mode: 0o600, uid: 7 }), dir('etc/node_modules')],
];

const base = mkdtempSync(join(tmpdir(), 'lamina-bench-listing-'));
let opened: OpenedImage;
let list: (uid: number) => Promise<Listing>;
beforeAll(async () => {
  dockerArchive(STACK, join(base, 'image.tar'));
  opened = await openImage(join(base, 'image.tar'), { root: join(base, 'root') });
  list = async (uid) => listImage(await opened.toc(), opened.sources, { uid, gids: [] });
});
afterAll(() => {
  opened.close();
  rmSync(base, { recursive: true, force: true });
});

const paths = (names: readonly { path: string }[]): string[] => names.map(({ path }) => path);

test('root meets everything that is visible', async () => {
  const listing = await list(0);
  expect(paths(listing.names)).toEqual([
    'etc',
    'etc/link',
    'etc/low',
    'etc/node_modules',
    'etc/own',
    'etc/two\nlines',
    'secret',
    'secret/a',
  ]);
  expect(workOf(listing.names)).toEqual({ operations: 8, bytes: 5 + 2 + 3 + 7 });
  expect(listing.skipped).toEqual([]);
  // A list has one path a line.
  expect(paths(listing.files)).toEqual(['etc/low', 'etc/own', 'secret/a']);
});

test('a user meets what modes allow, and the names of what is closed', async () => {
  const listing = await list(1000);
  expect(paths(listing.names)).not.toContain('secret/a');
  expect(paths(listing.names)).toContain('secret');
  expect(listing.skipped).toEqual(['secret']);
  expect(paths(listing.files)).toEqual(['etc/low']);
  expect(paths((await list(7)).files)).toEqual(['etc/low', 'etc/own']);
});

test('names that do not exist are in every directory that can be searched', async () => {
  const { missing } = await list(1000);
  expect(missing).toContain('node_modules');
  expect(missing).toContain('etc/.env');
  expect(missing).not.toContain('etc/node_modules');
  expect(missing.filter((path) => path.startsWith('secret/'))).toEqual([]);
});

test('names by the layer that gives them, without directories', async () => {
  const { byLayer } = await list(0);
  // The bottom and the top by the stack above; a layer with fewer names than the largest is passed over.
  expect(byLayer.bottom ?? byLayer.top).toMatchObject({ layer: 0 });
  expect(paths(byLayer.top!.names)).toEqual(['etc/low', 'secret/a']);
});

test('files of no more than so many bytes', async () => {
  const { files } = await list(0);
  expect(paths(filesWithin(files, 8, 10))).toEqual(['etc/low', 'secret/a']);
});

test('a series expects what the listing says, as often as it goes through it', async () => {
  const listing = await list(0);
  const target: Target = { label: 'image', opened, listing, name: '', root: undefined, platform: undefined };
  const written = new Map<string, readonly string[]>();
  const write = (name: string, names: readonly string[]): string => {
    written.set(name, names);
    return name;
  };
  const series = seriesOf(target, parseBenchOptions({ quick: true, only: 'open,read,lookup' }), write);
  const steps = series.flatMap((one) => one.steps);
  const opens = steps.find(({ metric }) => metric === 'open-warm')!.pass;
  const rounds = Math.ceil(2000 / 3);
  expect(opens).toMatchObject({
    times: 3 * rounds,
    expected: { operations: 3 * rounds, bytes: rounds * 15 },
  });
  expect(written.get(opens.list!)).toEqual(['etc/low', 'etc/own', 'secret/a']);
  expect(steps.find(({ metric }) => metric === 'read-first')!.pass.expected).toEqual({
    operations: 3,
    bytes: 15,
  });
  expect(new Set(series.map(({ scenario }) => scenario))).toEqual(new Set(['lookup', 'read', 'open']));
});
