/** Listing directories: getdents(2), readdir(3), seekdir(3). */
import { expect } from 'vitest';
import type { DirentResult, StatResult } from '../../helpers/syscalls.js';
import { fails, syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';
import { MANY_VISIBLE } from '../image.js';

const byName = (entries: readonly DirentResult[]): string[] => entries.map(({ name }) => name).sort();

/** DT_ values are the bits of S_IFMT shifted (linux/fs_types.h). */
const direntType = (mode: number): number => (mode & 0o170000) >> 12;

export const readdirCases: Case[] = [
  {
    name: 'a merged directory lists each name once',
    async run({ dir }) {
      const [merged, links, opaque, again] = (await syscalls(
        dir,
        ['merged', 'links', 'opaque', 'again'].map((path) => ['getdents', path]),
      )) as DirentResult[][];
      expect(byName(merged!)).toEqual(['.', '..', 'both', 'lower', 'middle', 'sub', 'top']);
      expect(byName(links!)).toEqual(['.', '..', 'a', 'b', 'old', 'replaced', 'sub']);
      expect(byName(opaque!)).toEqual(['.', '..', 'own']);
      expect(byName(again!)).toEqual(['.', '..', 'new']);
    },
  },
  {
    name: 'an empty directory lists . and .. only',
    async run({ dir }) {
      expect(byName(await syscall<DirentResult[]>(dir, 'getdents', 'empty'))).toEqual(['.', '..']);
    },
  },
  {
    name: 'a directory of 10,000 entries lists each of them once, whatever the size of the buffer',
    async run({ dir }) {
      const expected = ['.', '..', ...MANY_VISIBLE].sort();
      for (const size of [300, 4096, 1 << 20]) {
        expect(byName(await syscall<DirentResult[]>(dir, 'getdents', 'many', size))).toEqual(expected);
      }
    },
  },
  {
    name: 'each entry has the inode number and the type that stat shows',
    async run({ dir }) {
      for (const directory of ['.', 'links', 'special', 'symlinks', 'merged', 'was-file', 'names']) {
        const entries = await syscall<DirentResult[]>(dir, 'getdents', directory);
        const listed = entries.filter(({ name }) => name !== '..');
        const stats = (await syscalls(
          dir,
          listed.map(({ name }) => ['stat', `${directory}/${name}`]),
        )) as StatResult[];
        expect(listed.map(({ name, ino, type }) => ({ name, ino, type }))).toEqual(
          listed.map(({ name }, index) => ({
            name,
            ino: stats[index]!.ino,
            type: direntType(stats[index]!.mode),
          })),
        );
      }
    },
  },
  {
    name: 'a listing can be taken up again at any offset it gave, and from the start',
    async run({ dir }) {
      const positions = [0, 1, 2, 3, 100, 5000, 9999];
      const result = await syscall<{ names: string[]; tails: string[][]; again: string[] }>(
        dir,
        'seekdir',
        'many',
        positions,
      );
      expect(result.names).toHaveLength(MANY_VISIBLE.length + 2);
      positions.forEach((position, index) =>
        expect(result.tails[index], `after ${position}`).toEqual(result.names.slice(position + 1)),
      );
      expect(result.again).toEqual(result.names);
    },
  },
  {
    name: 'two listings of one directory do not disturb each other',
    async run({ dir }) {
      const [one, two] = await syscall<[string[], string[]]>(dir, 'interleaved', 'many');
      expect([...one].sort()).toEqual(['.', '..', ...MANY_VISIBLE].sort());
      expect([...two].sort()).toEqual(['.', '..', ...MANY_VISIBLE].sort());
    },
  },
  {
    name: 'a large directory can be listed while other processes list it',
    async run({ dir }) {
      const lists = await Promise.all(
        Array.from({ length: 4 }, () => syscall<DirentResult[]>(dir, 'getdents', 'many', 1000)),
      );
      for (const list of lists) expect(list).toHaveLength(MANY_VISIBLE.length + 2);
    },
  },
  {
    name: 'a second listing is the same as the first',
    async run({ dir }) {
      const [one, two] = await syscalls(dir, [
        ['getdents', 'merged'],
        ['getdents', 'merged'],
      ]);
      expect(two).toEqual(one);
    },
  },
  {
    name: 'listing what is no directory is ENOTDIR, and what is not there ENOENT',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['getdents', 'data/one'],
          ['getdents', 'nothing'],
        ]),
      ).toEqual([fails('ENOTDIR'), fails('ENOENT')]);
    },
  },
];
