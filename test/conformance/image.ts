/**
 * The image that the conformance cases look at: three layers which hold each kind of file and each way of hiding one. What
 * the cases expect stands here by name or is written out in them; none of it is computed by Lamina.
 */
import { readFileSync } from 'node:fs';
import type { ByteString } from '../../src/bytes.js';
import type { Layer, Stack } from '../helpers/stack.js';
import {
  blockdev,
  chardev,
  dir,
  fifo,
  file,
  hardlink,
  opaque,
  socket,
  symlink,
  whiteout,
} from '../helpers/stack.js';

/** Bytes that look random and are the same everywhere. */
export function noise(length: number, seed: number): ByteString {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes.toString('latin1');
}

/** Path -> content, around the sizes of pages and requests. */
export const CONTENTS: Record<string, ByteString> = {
  'data/empty': '',
  'data/one': 'x',
  'data/page-less-one': noise(4095, 1),
  'data/page': noise(4096, 2),
  'data/page-and-one': noise(4097, 3),
  'data/large': noise(3_000_001, 4),
};

/** data/sparse: a hole, a page of data, a hole, some data, a hole. Page-aligned, so that every filesystem can tell. */
export const SPARSE = {
  sizeBytes: 4 << 20,
  runs: [
    { offset: 1 << 20, data: noise(65_536, 5) },
    { offset: 3 << 20, data: noise(65_536, 6) },
  ],
};

/** many/: in two layers; each hundredth name is hidden again. */
export const MANY_NAMES = Array.from(
  { length: 10_100 },
  (_, index) => `entry-${String(index).padStart(6, '0')}`,
);
export const MANY_VISIBLE = MANY_NAMES.filter((_, index) => index % 101 !== 100);

export const NAME_255 = 'n'.repeat(255);
export const ODD_NAMES = [
  NAME_255,
  '\xff\xfe',
  'new\nline',
  'back\\slash',
  ' ',
  '-rf',
  '..a',
  '\xe4\xb8\xad\xe6\x96\x87',
];

/** A path of 4,094 bytes from the root of the mount: PATH_MAX is 4096 with its NUL. */
export const DEEP_DIRS = Array.from({ length: 20 }, (_, index) => `${index}-`.padEnd(199, 'd'));
export const DEEP_FILE = `${DEEP_DIRS.join('/')}/${'f'.repeat(94)}`;

export const LONG_TARGET = 'long/'.repeat(800);

/** A capability of version 2: cap_net_raw, effective (linux/capability.h, vfs_cap_data). */
export const CAPABILITY = '\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';
/** u::rw-, u:1234:r--, g::---, m::r--, o::--- (linux/posix_acl_xattr.h): mode 0640 with it. */
export const ACL =
  '\x02\x00\x00\x00' +
  '\x01\x00\x06\x00\xff\xff\xff\xff' +
  '\x02\x00\x04\x00\xd2\x04\x00\x00' +
  '\x04\x00\x00\x00\xff\xff\xff\xff' +
  '\x10\x00\x04\x00\xff\xff\xff\xff' +
  '\x20\x00\x00\x00\xff\xff\xff\xff';
export const LARGE_VALUE = noise(60_000, 7);

const base: Layer = [
  dir('.', { mode: 0o755, mtime: [1_600_000_000, 1] }),
  dir('data'),
  ...Object.entries(CONTENTS).map(([path, content]) => file(path, content)),
  file('data/sparse', SPARSE),
  dir('bin'),
  file('bin/echo', readFileSync('/bin/echo', 'latin1'), { mode: 0o755 }),
  file('bin/script', '#!/bin/sh\necho "script $1"\n', { mode: 0o755 }),
  file('bin/plain', '#!/bin/sh\n', { mode: 0o644 }),
  dir('links'),
  file('links/a', 'linked', { mode: 0o640, uid: 7, gid: 8 }),
  hardlink('links/b', 'links/a'),
  hardlink('links/sub/c', 'links/a'),
  hardlink('links/gone', 'links/a'),
  file('links/old', 'old'),
  hardlink('links/replaced', 'links/old'),
  dir('symlinks'),
  symlink('symlinks/relative', '../data/one'),
  symlink('symlinks/absolute', '/data/one'),
  symlink('symlinks/directory', '../data'),
  symlink('symlinks/dangling', 'nowhere'),
  symlink('symlinks/loop', 'loop2'),
  symlink('symlinks/loop2', 'loop'),
  symlink('symlinks/long', LONG_TARGET),
  symlink('symlinks/bytes', '\xff/ \n'),
  dir('special'),
  chardev('special/null', [1, 3], { mode: 0o666 }),
  chardev('special/large', [259, 1_000_000], { mode: 0o600, uid: 3 }),
  blockdev('special/loop', [7, 200], { mode: 0o660, gid: 6 }),
  fifo('special/fifo', { mode: 0o622 }),
  socket('special/socket', { mode: 0o777 }),
  dir('modes'),
  file('modes/setuid', '', { mode: 0o4755, uid: 1 }),
  file('modes/setgid', '', { mode: 0o2755, gid: 1 }),
  dir('modes/sticky', { mode: 0o1777 }),
  file('modes/none', 'secret', { mode: 0o000 }),
  file('modes/root-only', 'secret', { mode: 0o600 }),
  file('modes/group', 'group', { mode: 0o640, gid: 4321 }),
  file('modes/owner', 'owner', { mode: 0o400, uid: 1234 }),
  dir('modes/closed', { mode: 0o700 }),
  file('modes/closed/inside', 'x'),
  dir('modes/passage', { mode: 0o711 }),
  file('modes/passage/inside', 'x'),
  dir('modes/listing', { mode: 0o744 }),
  file('modes/listing/inside', 'x'),
  file('modes/large-ids', '', { uid: 3_000_000_000, gid: 2_097_152 }),
  dir('times'),
  file('times/nanoseconds', '', { mtime: [1_600_000_000, 123_456_789] }),
  file('times/epoch', '', { mtime: [0, 0] }),
  file('times/before', '', { mtime: [-2, 500_000_000] }),
  file('times/after-2038', '', { mtime: [4_200_000_000, 999_999_999] }),
  dir('xattrs', { xattrs: [['user.dir', 'of a directory']] }),
  file('xattrs/some', '', {
    xattrs: [
      ['user.text', 'value'],
      ['user.empty', ''],
      ['user.bytes', '\x00\n\xff=\x00'],
      ['trusted.kept', 'for root'],
    ],
  }),
  file('xattrs/none', ''),
  file('xattrs/large', '', { xattrs: [['user.large', LARGE_VALUE]] }),
  file('xattrs/capability', '', { mode: 0o755, xattrs: [['security.capability', CAPABILITY]] }),
  file('xattrs/acl', 'by list', { mode: 0o640, xattrs: [['system.posix_acl_access', ACL]] }),
  symlink('xattrs/symlink', 'some', { xattrs: [['trusted.of-link', 'link']] }),
  fifo('xattrs/fifo', { xattrs: [['trusted.of-fifo', 'fifo']] }),
  dir('names'),
  ...ODD_NAMES.map((name, index) => file(`names/${name}`, String(index))),
  ...DEEP_DIRS.map((_, index) => dir(DEEP_DIRS.slice(0, index + 1).join('/'))),
  file(DEEP_FILE, 'deep'),
  dir('many'),
  ...MANY_NAMES.filter((_, index) => index % 2 === 0).map((name) => file(`many/${name}`)),
  dir('empty'),
  dir('merged', { mode: 0o700, uid: 1 }),
  file('merged/lower', 'lower'),
  file('merged/both', 'from below'),
  file('merged/hidden', 'hidden'),
  dir('merged/sub'),
  file('merged/sub/lower', 'lower'),
  dir('passed', { mode: 0o750, uid: 5, mtime: [1_600_000_000, 5] }),
  dir('opaque'),
  file('opaque/lower', 'lower'),
  dir('opaque/sub'),
  file('opaque/sub/lower', 'lower'),
  dir('again'),
  file('again/old', 'old'),
  dir('was-directory'),
  file('was-directory/child', 'child'),
  file('was-file', 'file'),
  symlink('was-symlink', 'data'),
];

const middle: Layer = [
  dir('merged', { mode: 0o755, uid: 2 }),
  file('merged/both', 'from the middle'),
  file('merged/middle', 'middle'),
  whiteout('merged/hidden'),
  file('merged/sub/middle', 'middle'),
  whiteout('merged/never-was'),
  file('passed/child', 'child'),
  dir('opaque'),
  file('opaque/own', 'own'),
  opaque('opaque'),
  whiteout('again'),
  whiteout('was-directory'),
  file('was-directory', 'now a file'),
  dir('was-file'),
  file('was-file/child', 'now a directory'),
  whiteout('was-symlink'),
  dir('was-symlink'),
  file('was-symlink/child', 'now a directory'),
  whiteout('links/gone'),
  file('links/replaced', 'new'),
  ...MANY_NAMES.filter((_, index) => index % 2 === 1).map((name) => file(`many/${name}`)),
];

const top: Layer = [
  file('merged/both', 'from above'),
  file('merged/top', 'top'),
  dir('again', { mode: 0o711 }),
  file('again/new', 'new'),
  ...MANY_NAMES.filter((_, index) => index % 101 === 100).map((name) => whiteout(`many/${name}`)),
];

export const IMAGE: Stack = [base, middle, top];
