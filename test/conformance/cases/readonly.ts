/** Nothing can be changed: every call that would is EROFS, also for root. mount(2), MS_RDONLY. */
import { expect } from 'vitest';
import type { Call } from '../../helpers/syscalls.js';
import { fails, syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';

const CHANGES: readonly Call[] = [
  ['mkdir', 'new'],
  ['mkdir', 'merged/new'],
  ['rmdir', 'empty'],
  ['unlink', 'data/one'],
  ['unlink', 'merged/lower'],
  ['unlink', 'symlinks/dangling'],
  ['rename', 'data/one', 'data/two'],
  ['rename', 'data', 'elsewhere'],
  ['rename', 'data/one', 'data/page'],
  ['link', 'data/one', 'data/two'],
  ['symlink', 'text', 'new'],
  ['mkfifo', 'new'],
  ['mknod', 'new'],
  ['bind', 'new'],
  ['open', 'data/one', 'O_WRONLY'],
  ['open', 'data/one', 'O_RDWR'],
  ['open', 'data/one', 'O_WRONLY|O_TRUNC'],
  ['open', 'data/one', 'O_WRONLY|O_APPEND'],
  ['open', 'new', 'O_WRONLY|O_CREAT'],
  ['open', 'new', 'O_RDONLY|O_CREAT'],
  ['open', 'merged', 'O_RDWR|O_TMPFILE'],
  ['truncate', 'data/large', 0],
  ['truncate', 'data/large', 5_000_000],
  ['chmod', 'data/one', 0o600],
  ['chmod', 'data', 0o700],
  ['chmod', '.', 0o700],
  ['chown', 'data/one', 1, 1],
  ['chown', 'symlinks/dangling', 1, 1],
  ['utimes', 'data/one'],
  ['utimes', 'symlinks/dangling'],
  ['setxattr', 'data/one', 'user.new'],
  ['setxattr', 'xattrs/some', 'user.text'],
  ['removexattr', 'xattrs/some', 'user.text'],
  ['access', 'data/one', 'W_OK'],
  ['access', 'data', 'W_OK'],
];

export const readonlyCases: Case[] = [
  {
    name: 'every call that changes something is EROFS',
    async run({ dir }) {
      const results = await syscalls(dir, CHANGES);
      const wrong = CHANGES.map((call, index) => [call.join(' '), results[index]] as const).filter(
        ([, result]) => (result as { errno?: string }).errno !== 'EROFS',
      );
      expect(wrong).toEqual([]);
    },
  },
  {
    name: 'what exists is EEXIST where it was to be made, and opened where it may be there',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['mkdir', 'data'],
          ['symlink', 'text', 'data/one'],
          ['link', 'data/page', 'data/one'],
          ['open', 'data/one', 'O_RDONLY|O_CREAT|O_EXCL'],
          ['open', 'data/one', 'O_RDONLY|O_CREAT'],
          ['open', 'data', 'O_WRONLY'],
        ]),
      ).toEqual([fails('EEXIST'), fails('EEXIST'), fails('EEXIST'), fails('EEXIST'), 0, fails('EISDIR')]);
    },
  },
  {
    name: 'reading leaves the times of files as they were',
    async run({ dir }) {
      const [before, , , after] = await syscalls(dir, [
        ['stat', 'data/page'],
        ['pread', 'data/page', 10, 0],
        ['getdents', 'data'],
        ['stat', 'data/page'],
      ]);
      expect(after).toEqual(before);
    },
  },
  {
    name: 'W_OK is refused for files and granted for devices and FIFOs, which lie elsewhere',
    async run({ dir }) {
      expect(await syscall(dir, 'access', 'special/fifo', 'W_OK')).toBe(0);
      expect(await syscall(dir, 'access', 'special/null', 'R_OK')).toBe(0);
    },
  },
];
