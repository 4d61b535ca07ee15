/** Attributes of every kind of file: stat(2), statfs(2), inode(7). */
import { expect } from 'vitest';
import type { StatResult } from '../../helpers/syscalls.js';
import { syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';
import { CONTENTS, SPARSE } from '../image.js';

const S_IFMT = 0o170000;
const [FIFO, CHAR, DIR, BLOCK, FILE, LINK, SOCK] = [
  0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000,
];

/** Path -> what stat must show of it. */
const EXPECTED: Record<string, Partial<StatResult>> = {
  '.': { mode: DIR | 0o755, uid: 0, gid: 0, mtimeNs: '1600000000000000001' },
  'links/a': { mode: FILE | 0o640, uid: 7, gid: 8, size: 6, mtimeNs: '1700000000000000000' },
  'symlinks/relative': { mode: LINK | 0o777, size: 11 },
  'special/null': { mode: CHAR | 0o666, rdev: [1, 3], size: 0 },
  'special/large': { mode: CHAR | 0o600, rdev: [259, 1_000_000], uid: 3 },
  'special/loop': { mode: BLOCK | 0o660, rdev: [7, 200], gid: 6, size: 0 },
  'special/fifo': { mode: FIFO | 0o622, rdev: [0, 0], size: 0 },
  'special/socket': { mode: SOCK | 0o777, size: 0 },
  'modes/setuid': { mode: FILE | 0o4755, uid: 1 },
  'modes/setgid': { mode: FILE | 0o2755, gid: 1 },
  'modes/sticky': { mode: DIR | 0o1777 },
  'modes/none': { mode: FILE | 0o000 },
  'modes/large-ids': { uid: 3_000_000_000, gid: 2_097_152 },
  merged: { mode: DIR | 0o755, uid: 2 },
  'merged/sub': { mode: DIR | 0o755, uid: 0 },
  passed: { mode: DIR | 0o750, uid: 5, mtimeNs: '1600000000000000005' },
  again: { mode: DIR | 0o711 },
  'was-directory': { mode: FILE | 0o644, size: 10 },
  'was-file': { mode: DIR | 0o755 },
  'data/sparse': { size: SPARSE.sizeBytes },
  ...Object.fromEntries(Object.entries(CONTENTS).map(([path, content]) => [path, { size: content.length }])),
};

export const statCases: Case[] = [
  {
    name: 'type, mode, owner, device number and size are those of the image',
    async run({ dir }) {
      const paths = Object.keys(EXPECTED);
      const results = (await syscalls(
        dir,
        paths.map((path) => ['stat', path]),
      )) as StatResult[];
      const withoutTimes = (stat: Partial<StatResult>): Partial<StatResult> => ({
        ...stat,
        mtimeNs: 'elsewhere',
      });
      paths.forEach((path, index) =>
        expect(withoutTimes(results[index]!), path).toMatchObject(withoutTimes(EXPECTED[path]!)),
      );
    },
  },
  {
    name: 'times have nanoseconds',
    async run({ dir }) {
      const timed = Object.entries(EXPECTED).filter(([, { mtimeNs }]) => mtimeNs !== undefined);
      const paths = [...timed.map(([path]) => path), 'times/nanoseconds', 'times/epoch', 'times/after-2038'];
      const results = (await syscalls(
        dir,
        paths.map((path) => ['stat', path]),
      )) as StatResult[];
      expect(results.map(({ mtimeNs }) => mtimeNs)).toEqual([
        ...timed.map(([, { mtimeNs }]) => mtimeNs),
        '1600000000123456789',
        '0',
        '4200000000999999999',
      ]);
    },
  },
  {
    name: 'times may lie before 1970',
    async run({ dir }) {
      expect((await syscall<StatResult>(dir, 'stat', 'times/before')).mtimeNs).toBe('-1500000000');
    },
  },
  {
    name: 'all names of a hard link are one inode, and no other file is',
    async run({ dir }) {
      const [a, b, c, old, replaced] = (await syscalls(
        dir,
        ['a', 'b', 'sub/c', 'old', 'replaced'].map((name) => ['stat', `links/${name}`]),
      )) as StatResult[];
      expect(b!.ino).toBe(a!.ino);
      expect(c!.ino).toBe(a!.ino);
      expect(old!.ino).not.toBe(a!.ino);
      expect(replaced!.ino).not.toBe(old!.ino);
    },
  },
  {
    name: 'nlink counts the names that are visible, in whatever order they are looked up',
    except: {
      'kernel overlayfs':
        "shows the lower file's own count: hidden names count (overlayfs.rst, Inode properties)",
    },
    async run({ dir }) {
      for (const order of [
        ['links/a', 'links/b', 'links/sub/c'],
        ['links/sub/c', 'links/a', 'links/b'],
      ]) {
        const results = (await syscalls(
          dir,
          order.map((path) => ['stat', path]),
        )) as StatResult[];
        expect(results.map(({ nlink }) => nlink)).toEqual([3, 3, 3]);
      }
      const single = (await syscalls(dir, [
        ['stat', 'links/old'],
        ['stat', 'links/replaced'],
        ['stat', 'data/one'],
      ])) as StatResult[];
      expect(single.map(({ nlink }) => nlink)).toEqual([1, 1, 1]);
    },
  },
  {
    name: 'nlink of a directory is 2 and its subdirectories',
    except: {
      'kernel overlayfs':
        'shows 1 for merged directories (overlayfs.rst, Inode properties): programs then count themselves',
    },
    async run({ dir }) {
      const results = (await syscalls(
        dir,
        ['empty', 'merged', 'opaque', 'modes'].map((path) => ['stat', path]),
      )) as StatResult[];
      expect(results.map(({ nlink }) => nlink)).toEqual([2, 3, 2, 6]);
    },
  },
  {
    name: 'inode numbers are stable, also when the kernel has forgotten them',
    async run({ dir }) {
      const calls = ['.', 'data', 'data/large', 'merged/both', 'links/a', 'symlinks/loop'].map(
        (path) => ['stat', path] as const,
      );
      const inos = (results: unknown[]): string[] => (results as StatResult[]).map(({ ino }) => ino);
      const first = inos(await syscalls(dir, calls));
      expect(new Set(first).size).toBe(first.length);
      expect(inos(await syscalls(dir, [...calls].reverse())).reverse()).toEqual(first);
    },
  },
  {
    name: 'everything but what is mounted elsewhere is on one device',
    async run({ dir }) {
      const paths = [
        '.',
        'data',
        'data/one',
        'merged/both',
        'merged/sub/lower',
        'special/fifo',
        'symlinks/loop',
        'again',
      ];
      const results = (await syscalls(
        dir,
        paths.map((path) => ['stat', path]),
      )) as StatResult[];
      expect(new Set(results.map(({ dev }) => dev)).size).toBe(1);
    },
  },
  {
    name: 'st_blocks covers the data of a dense file and leaves out the holes of a sparse one',
    async run({ dir }) {
      const [sparse, large, empty] = (await syscalls(
        dir,
        ['data/sparse', 'data/large', 'data/empty'].map((path) => ['stat', path]),
      )) as StatResult[];
      expect(sparse!.blocks * 512).toBeGreaterThanOrEqual(131_072);
      expect(sparse!.blocks * 512).toBeLessThan(SPARSE.sizeBytes / 2);
      expect(large!.blocks * 512).toBeGreaterThanOrEqual(3_000_001 - 512);
      expect(empty!.blocks).toBe(0);
    },
  },
  {
    name: 'st_blksize is a power of two',
    async run({ dir }) {
      const { blksize } = await syscall<StatResult>(dir, 'stat', 'data/large');
      expect(blksize).toBeGreaterThanOrEqual(512);
      expect(Number.isInteger(Math.log2(blksize))).toBe(true);
    },
  },
  {
    name: 'statfs says read-only, names of 255 bytes and a block size',
    async run({ dir }) {
      for (const path of ['.', 'data/one', 'merged/sub']) {
        const statfs = await syscall<Record<string, number | boolean>>(dir, 'statfs', path);
        expect(statfs).toMatchObject({ readonly: true, namemax: 255 });
        expect(statfs['bsize']).toBeGreaterThan(0);
      }
    },
  },
  {
    name: 'the type in the mode and the size of what has no content agree',
    async run({ dir }) {
      const paths = ['special/null', 'special/loop', 'special/fifo', 'special/socket'];
      const results = (await syscalls(
        dir,
        paths.map((path) => ['stat', path]),
      )) as StatResult[];
      for (const stat of results) {
        expect(stat.mode & S_IFMT).not.toBe(FILE);
        expect([stat.size, stat.blocks]).toEqual([0, 0]);
      }
    },
  },
];
