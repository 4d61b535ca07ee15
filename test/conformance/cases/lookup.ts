/** Names: what is found, what is not, and with which error. path_resolution(7), open(2), readlink(2). */
import { expect } from 'vitest';
import type { StatResult } from '../../helpers/syscalls.js';
import { fails, syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';
import { DEEP_DIRS, DEEP_FILE, LONG_TARGET, NAME_255, ODD_NAMES } from '../image.js';

export const lookupCases: Case[] = [
  {
    name: 'a name that is not there is ENOENT, each time it is asked for',
    async run({ dir }) {
      const paths = [
        'nothing',
        'data/nothing',
        'merged/nothing',
        'empty/nothing',
        'many/nothing',
        'data/nothing/below',
      ];
      const calls = paths.flatMap((path) => [
        ['stat', path] as const,
        ['stat', path] as const,
        ['open', path, 'O_RDONLY'] as const,
      ]);
      expect(await syscalls(dir, calls)).toEqual(calls.map(() => fails('ENOENT')));
    },
  },
  {
    name: 'a hidden name is ENOENT and is not listed',
    async run({ dir }) {
      for (const [directory, name] of [
        ['merged', 'hidden'],
        ['merged', 'never-was'],
        ['links', 'gone'],
        ['opaque', 'lower'],
        ['opaque', 'sub'],
        ['again', 'old'],
        ['many', 'entry-000100'],
      ]) {
        const [stat, listed] = await syscalls(dir, [
          ['stat', `${directory}/${name}`],
          ['getdents', directory],
        ]);
        expect(stat, `${directory}/${name}`).toEqual(fails('ENOENT'));
        expect((listed as { name: string }[]).map((entry) => entry.name)).not.toContain(name);
      }
    },
  },
  {
    name: 'whiteouts and opaque markers never show',
    async run({ dir }) {
      for (const directory of ['.', 'merged', 'opaque', 'links']) {
        const listed = await syscall<{ name: string }[]>(dir, 'getdents', directory);
        expect(listed.filter((entry) => entry.name.startsWith('.wh.'))).toEqual([]);
      }
      expect(
        await syscalls(dir, [
          ['stat', 'merged/.wh.hidden'],
          ['stat', 'opaque/.wh..wh..opq'],
        ]),
      ).toEqual([fails('ENOENT'), fails('ENOENT')]);
    },
  },
  {
    name: 'the uppermost layer that has a name wins',
    async run({ dir }) {
      const read = (path: string) => ['pread', path, 100, 0] as const;
      expect(
        await syscalls(dir, [
          read('merged/both'),
          read('merged/lower'),
          read('merged/middle'),
          read('merged/top'),
          read('merged/sub/lower'),
          read('merged/sub/middle'),
          read('was-directory'),
          read('was-file/child'),
          read('was-symlink/child'),
          read('links/replaced'),
          read('links/old'),
        ]),
      ).toEqual([
        'from above',
        'lower',
        'middle',
        'top',
        'lower',
        'middle',
        'now a file',
        'now a directory',
        'now a directory',
        'new',
        'old',
      ]);
    },
  },
  {
    name: 'a path through something that is no directory is ENOTDIR',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['stat', 'data/one/x'],
          ['stat', 'data/one/'],
          ['open', 'data/one', 'O_RDONLY|O_DIRECTORY'],
          ['stat', 'special/fifo/x'],
          ['stat', 'was-directory/child'],
          ['open', 'symlinks/directory', 'O_RDONLY|O_DIRECTORY|O_NOFOLLOW'],
        ]),
      ).toEqual(Array(6).fill(fails('ENOTDIR')));
    },
  },
  {
    name: 'a loop of symlinks is ELOOP, and so is O_NOFOLLOW on a symlink',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['stat', 'symlinks/loop', true],
          ['open', 'symlinks/loop', 'O_RDONLY'],
          ['open', 'symlinks/relative', 'O_RDONLY|O_NOFOLLOW'],
        ]),
      ).toEqual(Array(3).fill(fails('ELOOP')));
    },
  },
  {
    name: 'symlinks are followed inside the mount, and keep their text as written',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['pread', 'symlinks/relative', 10, 0],
          ['pread', 'symlinks/directory/one', 10, 0],
          ['stat', 'symlinks/dangling', true],
          ['readlink', 'symlinks/relative'],
          ['readlink', 'symlinks/absolute'],
          ['readlink', 'symlinks/dangling'],
          ['readlink', 'symlinks/bytes'],
          ['readlink', 'symlinks/relative', 4],
          ['readlink', 'data/one'],
          ['readlink', 'data'],
        ]),
      ).toEqual([
        'x',
        'x',
        fails('ENOENT'),
        '../data/one',
        '/data/one',
        'nowhere',
        '\xff/ \n',
        '../d',
        fails('EINVAL'),
        fails('EINVAL'),
      ]);
    },
  },
  {
    name: 'a symlink may have a text of 4,000 bytes',
    async run({ dir }) {
      const [text, stat] = await syscalls(dir, [
        ['readlink', 'symlinks/long'],
        ['stat', 'symlinks/long'],
      ]);
      expect(text).toBe(LONG_TARGET);
      expect((stat as StatResult).size).toBe(LONG_TARGET.length);
    },
  },
  {
    name: 'names are bytes: 255 of them, not UTF-8, with newlines',
    async run({ dir }) {
      const contents = await syscalls(
        dir,
        ODD_NAMES.map((name) => ['pread', `names/${name}`, 10, 0]),
      );
      expect(contents).toEqual(ODD_NAMES.map((_, index) => String(index)));
      const listed = await syscall<{ name: string }[]>(dir, 'getdents', 'names');
      expect(listed.map((entry) => entry.name).sort()).toEqual(['.', '..', ...ODD_NAMES].sort());
    },
  },
  {
    name: 'a name of more than 255 bytes is ENAMETOOLONG',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['stat', `names/${NAME_255}n`],
          ['stat', `names/${'n'.repeat(1000)}`],
          ['stat', `names/${'n'.repeat(2000)}`],
        ]),
      ).toEqual(Array(3).fill(fails('ENAMETOOLONG')));
    },
  },
  {
    name: 'a path of 4,095 bytes leads to its file, one of 4,096 does not',
    async run({ dir }) {
      const [longest, tooLong] = [DEEP_FILE.replace('/', '//'), DEEP_FILE.replace('/', '///')];
      expect([longest.length, tooLong.length]).toEqual([4095, 4096]);
      expect(
        await syscalls(dir, [
          ['pread', longest, 10, 0],
          ['pread', tooLong, 10, 0],
        ]),
      ).toEqual(['deep', fails('ENAMETOOLONG')]);
    },
  },
  {
    name: '.. leads back to the directory it came from',
    async run({ dir }) {
      const half = DEEP_DIRS.slice(0, 10).join('/');
      const [root, back, middle, again] = (await syscalls(dir, [
        ['stat', '.'],
        ['stat', 'merged/sub/../..'],
        ['stat', half],
        ['stat', `${half}/${DEEP_DIRS[10]}/..`],
      ])) as StatResult[];
      expect(back!.ino).toBe(root!.ino);
      expect(again!.ino).toBe(middle!.ino);
    },
  },
  {
    name: 'lookups relative to a descriptor give the same inode',
    async run({ dir }) {
      const [stat, ino] = await syscalls(dir, [
        ['stat', 'merged/sub/middle'],
        ['fd_relative', 'merged', 'sub/middle'],
      ]);
      expect(ino).toBe((stat as StatResult).ino);
    },
  },
];
