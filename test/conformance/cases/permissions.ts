/** Who may do what: the modes of the image hold for every user but root. path_resolution(7), access(2). */
import { expect } from 'vitest';
import { fails, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';

const STRANGER = { uid: 5678, gid: 5678 };

export const permissionCases: Case[] = [
  {
    name: 'root reads everything',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['pread', 'modes/none', 10, 0],
          ['pread', 'modes/closed/inside', 10, 0],
          ['access', 'modes/none', 'R_OK'],
          ['access', 'bin/plain', 'X_OK'],
        ]),
      ).toEqual(['secret', 'x', 0, fails('EACCES')]);
    },
  },
  {
    name: 'the mode of a file decides who reads it',
    async run({ dir }) {
      const read = (name: string) => ['pread', `modes/${name}`, 10, 0] as const;
      const reads = [
        read('none'),
        read('root-only'),
        read('group'),
        read('owner'),
        ['pread', 'data/one', 10, 0],
      ] as const;
      const refused = fails('EACCES');
      expect(await syscalls(dir, reads, STRANGER)).toEqual([refused, refused, refused, refused, 'x']);
      expect(await syscalls(dir, reads, { uid: 5678, gid: 4321 })).toEqual([
        refused,
        refused,
        'group',
        refused,
        'x',
      ]);
      expect(await syscalls(dir, reads, { uid: 1234, gid: 1 })).toEqual([
        refused,
        refused,
        refused,
        'owner',
        'x',
      ]);
    },
  },
  {
    name: 'the mode of a directory decides who passes and who lists it',
    async run({ dir }) {
      const refused = fails('EACCES');
      expect(
        await syscalls(
          dir,
          [
            ['stat', 'modes/closed/inside'],
            ['getdents', 'modes/closed'],
            ['pread', 'modes/passage/inside', 10, 0],
            ['getdents', 'modes/passage'],
            ['stat', 'modes/listing/inside'],
            ['stat', 'modes/closed/nothing'],
          ],
          STRANGER,
        ),
      ).toEqual([refused, refused, 'x', refused, refused, refused]);
      const [listed] = await syscalls(dir, [['getdents', 'modes/listing']], STRANGER);
      expect((listed as { name: string }[]).map(({ name }) => name).sort()).toEqual(['.', '..', 'inside']);
    },
  },
  {
    name: 'access and exec ask the modes as well',
    async run({ dir }) {
      expect(
        await syscalls(
          dir,
          [
            ['access', 'modes/root-only', 'R_OK'],
            ['access', 'data/one', 'R_OK'],
            ['access', 'bin/echo', 'X_OK'],
            ['access', 'modes/passage', 'X_OK'],
            ['access', 'modes/root-only', 'F_OK'],
            ['exec', 'bin/echo', 'stranger'],
            ['exec', 'bin/plain'],
          ],
          STRANGER,
        ),
      ).toEqual([fails('EACCES'), 0, 0, 0, 0, 'stranger\n', fails('EACCES')]);
    },
  },
];
