/** The portable driver's answers without a mount, in the words that fuse-native.c reads (populate_stat, populate_statvfs). */
import { statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { libfuseOptions } from '../../../src/mount/drivers/fuse-native-binding.js';
import {
  EINVAL,
  EIO,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ERANGE,
  PortableFilesystem,
} from '../../../src/mount/drivers/fuse-native-filesystem.js';
import { chardev, dir, file, hardlink, symlink } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';
import { withView } from '../../helpers/view.js';

const STACK: Stack = [
  [
    dir('d', { mode: 0o1750, uid: 7, gid: 8 }),
    file('d/file', 'content', {
      mode: 0o4755,
      uid: 4_000_000_000,
      gid: 100,
      mtime: [1_600_000_000, 123_999_999],
    }),
    hardlink('d/same', 'd/file'),
    file('early', '', { mtime: [-2, 500_000_000] }),
    file('sparse', { sizeBytes: 5_000_000_000, runs: [{ offset: 0, data: 'x'.repeat(513) }] }),
    symlink('link', '\xff\xfe/caf\xc3\xa9'),
    symlink('long', '\xff'.repeat(2049)),
    symlink('ascii', 'a'.repeat(4000)),
    chardev('null', [1, 3]),
    file('x\xff', 'bytes', {
      xattrs: [
        ['user.a', '\0\xff\n'],
        ['user.\xff', '1'],
        ['user.\xfe', '2'],
        ['user.b\xfd', '3'],
      ],
    }),
  ],
];

async function withFilesystem(use: (filesystem: PortableFilesystem) => void): Promise<void> {
  await withView(STACK, (view) => use(new PortableFilesystem(view)));
}

/** mode uid gid size nlink ino rdev blocks mtime-in-ms */
function decode(words: Uint32Array | number): Record<string, number> {
  if (typeof words === 'number') throw new Error(`errno ${words}`);
  const long = (at: number): number => words[at]! + words[at + 1]! * 2 ** 32;
  return {
    mode: words[0]!,
    uid: words[1]!,
    gid: words[2]!,
    size: long(3),
    nlink: words[6]!,
    ino: words[7]!,
    rdev: words[8]!,
    blocks: long(10),
    mtimeMs: long(14),
  };
}

test('stat in words of 32 bits', async () => {
  await withFilesystem((filesystem) => {
    expect(decode(filesystem.getattr('/d/file'))).toMatchObject({
      mode: 0o104755,
      uid: 4_000_000_000,
      gid: 100,
      size: 7,
      nlink: 2,
      blocks: 1,
      mtimeMs: 1_600_000_000_123,
    });
    expect(decode(filesystem.getattr('/d/same'))).toEqual(decode(filesystem.getattr('/d/file')));
    expect(decode(filesystem.getattr('/'))).toMatchObject({ mode: 0o40755, ino: 1, nlink: 3 });
    expect(decode(filesystem.getattr('/d'))).toMatchObject({ mode: 0o41750, uid: 7, gid: 8 });
    expect(decode(filesystem.getattr('/sparse'))).toMatchObject({ size: 5_000_000_000, blocks: 2 });
    expect(decode(filesystem.getattr('/null')).rdev).toBe(statSync('/dev/null').rdev);
    expect(decode(filesystem.getattr('/link'))).toMatchObject({ mode: 0o120777, size: 8 });
    expect(decode(filesystem.getattr('/early')).mtimeMs).toBe(0);
    expect(filesystem.getattr('/nope')).toBe(ENOENT);
    expect(filesystem.getattr('/nope/x')).toBe(ENOENT);
    expect(filesystem.getattr(`/${'n'.repeat(255)}`)).toBe(ENOENT);
    expect(filesystem.getattr(`/${'n'.repeat(256)}`)).toBe(ENAMETOOLONG);
    expect(filesystem.statfs().length).toBe(11);
  });
});

test('directories with types and inodes', async () => {
  await withFilesystem((filesystem) => {
    const listing = filesystem.readdir('/d');
    if (typeof listing === 'number') throw new Error(`errno ${listing}`);
    expect(listing.names).toEqual(['.', '..', 'file', 'same']);
    const self = decode(filesystem.getattr('/d')).ino;
    const inode = decode(filesystem.getattr('/d/file')).ino;
    expect(listing.stats.map((words) => decode(words).ino)).toEqual([self, 1, inode, inode]);
    expect(listing.stats.map((words) => decode(words).mode)).toEqual([0o40000, 0o40000, 0o100000, 0o100000]);
    expect(filesystem.readdir('/nope')).toBe(ENOENT);
  });
});

test('symbolic links, as long as libfuse can hold them', async () => {
  await withFilesystem((filesystem) => {
    expect(filesystem.readlink('/link')).toBe('\xff\xfe/caf\xc3\xa9');
    expect(filesystem.readlink('/ascii')).toBe('a'.repeat(4000));
    expect(filesystem.readlink('/long')).toBe(EIO);
    expect(filesystem.readlink('/d/file')).toBe(EINVAL);
    expect(filesystem.readlink('/nope')).toBe(ENOENT);
  });
});

test('reads anywhere', async () => {
  await withFilesystem((filesystem) => {
    const buffer = Buffer.alloc(4, 0xee);
    expect(filesystem.read('/d/file', buffer, 5)).toBe(2);
    expect(buffer.toString('latin1')).toBe('nt\xee\xee');
    expect(filesystem.read('/sparse', buffer, 4_999_999_998)).toBe(2);
    expect(buffer.toString('latin1')).toBe('\0\0\xee\xee');
    expect(filesystem.read('/d/file', buffer, 7)).toBe(0);
    expect(filesystem.read('/x\xff', buffer, 0)).toBe(4);
    expect(filesystem.read('/nope', buffer, 0)).toBe(ENOENT);
  });
});

test('attributes by getxattr(2) and listxattr(2): a length, a value, or ERANGE', async () => {
  await withFilesystem((filesystem) => {
    const value = Buffer.alloc(3);
    expect(filesystem.getxattr('/x\xff', 'user.a', Buffer.alloc(0))).toBe(3);
    expect(filesystem.getxattr('/x\xff', 'user.a', Buffer.alloc(2))).toBe(ERANGE);
    expect(filesystem.getxattr('/x\xff', 'user.a', value)).toBe(3);
    expect(value).toEqual(Buffer.from([0, 0xff, 10]));
    expect(filesystem.getxattr('/x\xff', 'user.none', value)).toBe(ENODATA);
    expect(filesystem.getxattr('/d', 'user.a', value)).toBe(ENODATA);
    expect(filesystem.getxattr('/nope', 'user.a', value)).toBe(ENOENT);
    // A name that is not UTF-8 arrives damaged: it is found where only one can be meant.
    expect(filesystem.getxattr('/x\xff', 'user.b\ufffd', value)).toBe(1);
    expect(filesystem.getxattr('/x\xff', 'user.\ufffd', value)).toBe(ENODATA);
    const names = Buffer.from('user.a\0user.b\xfd\0user.\xfe\0user.\xff\0', 'latin1');
    const list = Buffer.alloc(100);
    expect(filesystem.listxattr('/x\xff', Buffer.alloc(0))).toBe(names.length);
    expect(filesystem.listxattr('/x\xff', Buffer.alloc(5))).toBe(ERANGE);
    expect(filesystem.listxattr('/x\xff', list)).toBe(names.length);
    expect(list.subarray(0, names.length)).toEqual(names);
    expect(filesystem.listxattr('/d', list)).toBe(0);
  });
});

test('a comma or backslash of an image name does not become an option', () => {
  const options = libfuseOptions(['ro', 'nosuid'], 'lamina:a,allow_other\\b');
  expect(options.split(',').slice(0, 2)).toEqual(['ro', 'nosuid']);
  expect(options).toContain('fsname=lamina:a\\,allow_other\\\\b,');
});
