/** The portable driver's writable filesystem without a mount: what it leaves on the disk, and what it mends there. */
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statfsWords } from '../../../src/mount/drivers/fuse-native-stat.js';
import { Descriptors } from '../../../src/mount/drivers/portable/descriptors.js';
import type { WritableFilesystem } from '../../../src/mount/drivers/portable/filesystem.js';
import { setTimes } from '../../../src/mount/drivers/portable/times.js';
import {
  findXattr,
  loadXattrs,
  readMarks,
  setXattr,
  XattrNames,
} from '../../../src/mount/drivers/portable/xattrs.js';
import { Scratch } from '../../helpers/overlay.js';
import { openUpper } from '../../helpers/portable.js';
import { needs } from '../../helpers/require.js';
import type { Stack } from '../../helpers/stack.js';
import { dir, file, hardlink } from '../../helpers/stack.js';
import { withView } from '../../helpers/view.js';

const STACK: Stack = [
  [
    dir('d', { mtime: [1_600_000_000, 123_456_789] }),
    file('d/f', 'content', { mtime: [1_500_000_000, 987_654_321], xattrs: [['user.k', 'v']] }),
    file('l1', 'linked'),
    hardlink('d/l2', 'l1'),
    dir('e'),
    file('e/in', 'x'),
  ],
];
const KEY = 0xabcn;
const capable = needs('root');

describe.skipIf(!capable)('an upper directory', () => {
  let scratch: Scratch;
  beforeAll(async () => {
    await loadXattrs();
    scratch = new Scratch('upper');
  });
  afterAll(() => scratch.close());

  interface Opened {
    filesystem: WritableFilesystem;
    upper: string;
    work: string;
    /** Closes it and opens it again, after `meanwhile`. */
    again(meanwhile: () => void): Promise<WritableFilesystem>;
  }

  async function withUpper(use: (opened: Opened) => Promise<void> | void): Promise<void> {
    const [upper, work] = [scratch.directory('upper'), scratch.directory('work')];
    await withView(STACK, async (view) => {
      let opened = await openUpper(upper, work, view, KEY);
      try {
        await use({
          filesystem: opened.filesystem,
          upper,
          work,
          async again(meanwhile) {
            opened.close();
            meanwhile();
            opened = await openUpper(upper, work, view, KEY);
            return opened.filesystem;
          },
        });
      } finally {
        opened.close();
      }
    });
  }

  const marks = (path: string) => readMarks(path, new XattrNames('trusted.overlay.'));
  const names = (filesystem: WritableFilesystem, path: string): string[] =>
    filesystem.readdir(path).names.filter((name) => !name.startsWith('.'));

  test('a change of attributes copies no data, and keeps every time to the nanosecond', async () => {
    await withUpper(({ filesystem, upper }) => {
      filesystem.chmod('/d/f', 0o600);
      const path = join(upper, 'd/f');
      expect(marks(path)).toMatchObject({ metacopy: true, redirect: undefined });
      const status = statSync(path, { bigint: true });
      expect([status.size, status.blocks, status.mtimeNs]).toEqual([7n, 0n, 1_500_000_000_987_654_321n]);
      expect(statSync(join(upper, 'd'), { bigint: true }).mtimeNs).toBe(1_600_000_000_123_456_789n);
      expect(findXattr(path, 'user.k')?.toString()).toBe('v');
      filesystem.write('/d/f', Buffer.from('C'), 0);
      expect(marks(path).metacopy).toBe(false);
      const buffer = Buffer.alloc(7);
      filesystem.read('/d/f', buffer, 0);
      expect(buffer.toString()).toBe('Content');
    });
  });

  test('what came from the image says from where, in the words of the native server', async () => {
    await withUpper(({ filesystem, upper }) => {
      const ino = filesystem.getattr('/d/f')[7]!;
      filesystem.chmod('/d/f', 0o600);
      expect(marks(join(upper, 'd/f')).origin).toBe(`toc:abc:${ino.toString(16)}`);
      expect(marks(upper).origin).toBe('toc:abc:1');
    });
  });

  test('names that a killed process had begun to give are given', async () => {
    await withUpper(async ({ filesystem, upper, work, again }) => {
      const ino = filesystem.getattr('/l1')[7]!;
      filesystem.chmod('/l1', 0o600);
      expect(lstatSync(join(upper, 'd/l2')).nlink).toBe(2);
      const next = await again(() => {
        linkSync(join(upper, 'l1'), join(work, 'links', `toc:abc:${ino.toString(16)}`));
        rmSync(join(upper, 'd/l2'));
      });
      expect(lstatSync(join(upper, 'd/l2')).ino).toBe(lstatSync(join(upper, 'l1')).ino);
      expect(next.getattr('/d/l2')[6]).toBe(2);
      expect(readdirSync(join(work, 'links'))).toEqual([]);
    });
  });

  test('the work directory is emptied, whatever is in it', async () => {
    await withUpper(async ({ work, again }) => {
      await again(() => {
        mkdirSync(join(work, 'work/tmp-1-1/sub'), { recursive: true });
        writeFileSync(Buffer.from(`${work}/work/tmp-1-1/sub/\xff`, 'latin1'), '');
        writeFileSync(join(work, 'work/tmp-1-2'), '');
      });
      expect(readdirSync(join(work, 'work'))).toEqual([]);
    });
  });

  test.each([
    ['mkdir, its whiteout gone', 'hidden'],
    ['rmdir, the directory moved away', 'moved'],
  ])('an interrupted %s, is mended', async (_, how) => {
    await withUpper(async ({ filesystem, upper, work, again }) => {
      if (how === 'hidden') {
        filesystem.unlink('/e/in');
        filesystem.rmdir('/e');
      } else filesystem.chmod('/e', 0o700);
      const next = await again(() => {
        if (how === 'hidden') rmSync(join(upper, 'e'));
        else renameSync(join(upper, 'e'), join(work, 'work/tmp-0-0'));
        writeFileSync(join(work, 'undo'), '["/e"]\n');
      });
      expect(names(next, '/')).toEqual(['d', 'l1']);
      expect(existsSync(join(work, 'undo'))).toBe(false);
    });
  });

  test('a record of names that was cut short was of nothing done yet', async () => {
    await withUpper(async ({ work, again }) => {
      const next = await again(() => writeFileSync(join(work, 'undo'), '["/e'));
      expect(names(next, '/')).toEqual(['d', 'e', 'l1']);
    });
  });

  test('whiteouts that are files, where a directory says that it has such', async () => {
    await withUpper(async ({ upper, again }) => {
      const next = await again(() => {
        writeFileSync(join(upper, 'e'), '');
        setXattr(join(upper, 'e'), 'trusted.overlay.whiteout', 'y');
        setXattr(upper, 'trusted.overlay.opaque', 'x');
      });
      expect(names(next, '/')).toEqual(['d', 'l1']);
      next.mkdir('/e', 0o755);
      expect(names(next, '/e')).toEqual([]);
      expect(marks(join(upper, 'e')).opaque).toBe(true);
    });
  });

  test('nothing else is called as libfuse calls what is removed and open', async () => {
    await withUpper(({ filesystem }) => {
      const hidden = '/d/.fuse_hidden0000000500000001';
      for (const make of [
        () => filesystem.create(hidden, 0o644),
        () => filesystem.mkdir(hidden, 0o755),
        () => filesystem.symlink('x', hidden),
        () => filesystem.link('/l1', hidden),
        () => filesystem.rename('/e', hidden),
      ])
        expect(make).toThrow(/EPERM/);
      filesystem.rename('/d/f', hidden);
      expect(filesystem.getattr(hidden)[6]).toBe(1);
      expect(filesystem.read(hidden, Buffer.alloc(10), 0)).toBe(7);
      filesystem.rename('/d', '/moved');
      expect(filesystem.read(hidden.replace('/d/', '/moved/'), Buffer.alloc(10), 0)).toBe(7);
      filesystem.unlink(hidden);
      expect(() => filesystem.getattr(hidden)).toThrow(/ENOENT/);
    });
  });

  test('the attributes of the union are neither shown nor set', async () => {
    await withUpper(({ filesystem, upper }) => {
      filesystem.setxattr('/d/f', 'trusted.overlay.metacopy', Buffer.from('mine'), 0);
      expect(findXattr(join(upper, 'd/f'), 'trusted.overlay.overlay.metacopy')?.toString()).toBe('mine');
      const list = Buffer.alloc(200);
      const length = filesystem.listxattr('/d/f', list);
      expect(list.toString('latin1', 0, length).split('\0').sort()).toEqual([
        '',
        'trusted.overlay.metacopy',
        'user.k',
      ]);
      expect(filesystem.getxattr('/d/f', 'trusted.overlay.origin', list)).toBe(-61);
    });
  });

  test('times that Node cannot set', () => {
    const path = join(scratch.directory('times'), 'file');
    writeFileSync(path, '');
    const fd = openSync(path, 'r');
    for (const ns of [
      0n,
      1n,
      999_999_999n,
      1_700_000_000_123_000_000n,
      4_200_000_000_999_999_999n,
      -1_500_000_000n,
    ]) {
      setTimes(`/proc/self/fd/${fd}`, 0n, ns);
      expect(statSync(path, { bigint: true }).mtimeNs).toBe(ns);
    }
    closeSync(fd);
  });
});

test('more blocks than a word counts are shown as larger ones', () => {
  const words = statfsWords({
    blockBytes: 4096,
    blocks: 2 ** 34,
    freeBlocks: 2 ** 33,
    availableBlocks: 2 ** 33,
    files: 2 ** 40,
    freeFiles: 5,
  });
  expect([...words.subarray(0, 7)]).toEqual([32_768, 32_768, 2 ** 31, 2 ** 30, 2 ** 30, 2 ** 32 - 1, 5]);
});

test('a descriptor that is evicted stays open until the request is over', () => {
  const descriptors = new Descriptors(1);
  const open = (): number => openSync('/', 'r');
  const first = descriptors.get('a', open);
  const second = descriptors.get('b', open);
  expect([existsSync(`/proc/self/fd/${first}`), existsSync(`/proc/self/fd/${second}`)]).toEqual([true, true]);
  expect(second).not.toBe(first);
  descriptors.settle();
  expect([existsSync(`/proc/self/fd/${first}`), existsSync(`/proc/self/fd/${second}`)]).toEqual([
    false,
    true,
  ]);
  descriptors.close();
});
