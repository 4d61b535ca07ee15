/** Extended attributes and what stands on them: xattr(7), capabilities(7), acl(5). */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fails, syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';
import { ACL, CAPABILITY, LARGE_VALUE } from '../image.js';

export const xattrCases: Case[] = [
  {
    name: 'the names of attributes are listed, and none where there are none',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['listxattr', 'xattrs/some', 4096],
          ['listxattr', 'xattrs', 4096],
          ['listxattr', 'xattrs/none', 4096],
          ['listxattr', 'xattrs/symlink', 4096],
          ['listxattr', 'xattrs/fifo', 4096],
          ['listxattr', 'data/large', 4096],
          ['listxattr', 'many', 4096],
        ]),
      ).toEqual([
        ['trusted.kept', 'user.bytes', 'user.empty', 'user.text'],
        ['user.dir'],
        [],
        ['trusted.of-link'],
        ['trusted.of-fifo'],
        [],
        [],
      ]);
    },
  },
  {
    name: 'values are bytes: empty ones, with NUL, newline and high bytes, and 60,000 of them',
    async run({ dir }) {
      const value = (path: string, name: string) => ['getxattr', path, name, 65_536] as const;
      const results = await syscalls(dir, [
        value('xattrs/some', 'user.text'),
        value('xattrs/some', 'user.empty'),
        value('xattrs/some', 'user.bytes'),
        value('xattrs/some', 'trusted.kept'),
        value('xattrs', 'user.dir'),
        value('xattrs/symlink', 'trusted.of-link'),
        value('xattrs/fifo', 'trusted.of-fifo'),
      ]);
      expect(results).toEqual(['value', '', '\x00\n\xff=\x00', 'for root', 'of a directory', 'link', 'fifo']);
      expect((await syscall(dir, 'getxattr', 'xattrs/large', 'user.large', 65_536)) === LARGE_VALUE).toBe(
        true,
      );
    },
  },
  {
    name: 'size 0 asks for the length; too small a buffer is ERANGE; a missing attribute is ENODATA, each time',
    async run({ dir }) {
      const calls = [
        ['getxattr', 'xattrs/some', 'user.text', 0],
        ['getxattr', 'xattrs/some', 'user.text', 5],
        ['getxattr', 'xattrs/some', 'user.text', 4],
        ['getxattr', 'xattrs/some', 'user.missing', 0],
        ['getxattr', 'xattrs/some', 'user.missing', 100],
        ['getxattr', 'xattrs/some', 'user.tex', 100],
        ['getxattr', 'xattrs/none', 'user.text', 100],
        ['getxattr', 'data/large', 'security.capability', 100],
        ['listxattr', 'xattrs/some', 0],
        ['listxattr', 'xattrs/some', 10],
        ['listxattr', 'xattrs/none', 0],
      ] as const;
      const expected = [
        5,
        'value',
        fails('ERANGE'),
        fails('ENODATA'),
        fails('ENODATA'),
        fails('ENODATA'),
        fails('ENODATA'),
        fails('ENODATA'),
        'trusted.kept user.bytes user.empty user.text '.length,
        fails('ERANGE'),
        0,
      ];
      expect(await syscalls(dir, [...calls, ...calls])).toEqual([...expected, ...expected]);
    },
  },
  {
    name: 'getxattr follows symlinks and lgetxattr does not',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['getxattr', 'xattrs/symlink', 'user.text', 100, true],
          ['getxattr', 'xattrs/symlink', 'trusted.of-link', 100, true],
        ]),
      ).toEqual(['value', fails('ENODATA')]);
    },
  },
  {
    name: 'trusted attributes are for root alone',
    async run({ dir }) {
      expect(
        await syscalls(
          dir,
          [
            ['listxattr', 'xattrs/some', 4096],
            ['getxattr', 'xattrs/some', 'trusted.kept', 100],
            ['getxattr', 'xattrs/some', 'user.text', 100],
          ],
          { uid: 1234, gid: 1234 },
        ),
      ).toEqual([['user.bytes', 'user.empty', 'user.text'], fails('ENODATA'), 'value']);
    },
  },
  {
    name: 'file capabilities keep their bytes',
    async run({ dir }) {
      expect(await syscall(dir, 'getxattr', 'xattrs/capability', 'security.capability', 100)).toBe(
        CAPABILITY,
      );
    },
  },
  {
    name: 'a POSIX ACL keeps its bytes, and getfacl reads it',
    async run({ dir }) {
      expect(await syscall(dir, 'getxattr', 'xattrs/acl', 'system.posix_acl_access', 100)).toBe(ACL);
      const shown = execFileSync('getfacl', ['-cnp', join(dir, 'xattrs/acl')], { encoding: 'utf8' });
      expect(shown.trim().split('\n')).toEqual([
        'user::rw-',
        'user:1234:r--',
        'group::---',
        'mask::r--',
        'other::---',
      ]);
    },
  },
  {
    name: 'a POSIX ACL is enforced',
    async run({ dir }) {
      const read = [['pread', 'xattrs/acl', 100, 0]] as const;
      expect(await syscalls(dir, read, { uid: 1234, gid: 99 })).toEqual(['by list']);
      expect(await syscalls(dir, read, { uid: 1235, gid: 99 })).toEqual([fails('EACCES')]);
    },
  },
];
