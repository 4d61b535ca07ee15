/**
 * What each writable case finds in its directory: a file of every kind in a lower layer, directories that two layers share,
 * hidden and opaque ones. Every case has a kit of its own, so that hundreds share one mount. None of it is in the upper.
 */
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
import { ACL, CAPABILITY, noise } from './image.js';

/** Neither a whole number of pages nor of requests. */
export const BIG_SIZE = 70_001;
const BIG = noise(BIG_SIZE, 11);
/** 1 MiB: a hole, 64 KiB of data, a hole, 64 KiB, a hole. */
const SPARSE = {
  sizeBytes: 1 << 20,
  runs: [
    { offset: 256 << 10, data: noise(64 << 10, 12) },
    { offset: 768 << 10, data: noise(64 << 10, 13) },
  ],
};
/** u::rwx, u:1000:rwx, g::r-x, m::rwx, o::r-x: what a directory gives to what is made in it. */
export const DEFAULT_ACL =
  '\x02\x00\x00\x00' +
  '\x01\x00\x07\x00\xff\xff\xff\xff' +
  '\x02\x00\x07\x00\xe8\x03\x00\x00' +
  '\x04\x00\x05\x00\xff\xff\xff\xff' +
  '\x10\x00\x07\x00\xff\xff\xff\xff' +
  '\x20\x00\x05\x00\xff\xff\xff\xff';

/** Each kind that a name can have; `k/KIND` is one of them, `k/full` a directory with something in it. */
export const KINDS = ['file', 'symlink', 'char', 'block', 'fifo', 'socket', 'dir'] as const;
export const NON_DIRECTORIES = KINDS.filter((kind) => kind !== 'dir');

function base(at: string): Layer {
  const path = (name: string): string => `${at}/${name}`;
  return [
    dir(at),
    file(path('f'), 'hello'),
    file(path('z'), ''),
    file(path('big'), BIG),
    file(path('sparse'), SPARSE),
    dir(path('e')),
    dir(path('d'), { mtime: [1_600_000_000, 123_456_789] }),
    file(path('d/f'), 'inside'),
    dir(path('d/sub')),
    file(path('d/sub/deep'), 'deep'),
    dir(path('d/e')),
    file(path('l1'), 'linked'),
    hardlink(path('l2'), path('l1')),
    hardlink(path('d/l3'), path('l1')),
    symlink(path('s'), 'f'),
    symlink(path('sd'), 'd'),
    symlink(path('dangling'), 'nowhere'),
    symlink(path('loop'), 'loop'),
    dir(path('k')),
    file(path('k/file'), 'kind'),
    dir(path('k/dir')),
    symlink(path('k/symlink'), 'target'),
    chardev(path('k/char'), [1, 3], { mode: 0o666 }),
    blockdev(path('k/block'), [7, 200]),
    fifo(path('k/fifo')),
    socket(path('k/socket')),
    dir(path('k/full')),
    file(path('k/full/child'), 'child'),
    file(path('xa'), 'attributes', {
      mode: 0o640,
      uid: 3,
      gid: 4,
      mtime: [1_500_000_000, 987_654_321],
      xattrs: [
        ['user.one', '1'],
        ['user.two', '22'],
        ['trusted.t', 't'],
      ],
    }),
    dir(path('xd'), { xattrs: [['user.of-dir', 'd']] }),
    file(path('xd/in'), ''),
    file(path('acl'), 'by list', { mode: 0o640, xattrs: [['system.posix_acl_access', ACL]] }),
    dir(path('da'), { mode: 0o755, xattrs: [['system.posix_acl_default', DEFAULT_ACL]] }),
    file(path('suid'), 'suid', { mode: 0o6777, uid: 1000, gid: 1000 }),
    file(path('cap'), 'cap', { mode: 0o777, xattrs: [['security.capability', CAPABILITY]] }),
    dir(path('t'), { mode: 0o1777 }),
    file(path('t/u1'), '', { uid: 1000, mode: 0o666 }),
    file(path('t/u2'), '', { uid: 2000, mode: 0o666 }),
    dir(path('t/d1'), { uid: 1000 }),
    dir(path('sg'), { mode: 0o2777, gid: 100 }),
    dir(path('w'), { mode: 0o777 }),
    file(path('w/f'), 'w', { mode: 0o666 }),
    dir(path('p'), { mode: 0o755, uid: 1000, gid: 1000 }),
    file(path('p/f'), 'p', { mode: 0o644, uid: 1000, gid: 1000 }),
    dir(path('x'), { mode: 0o700 }),
    file(path('x/f'), 'x', { mode: 0o666 }),
    file(path('own'), 'own', { mode: 0o600, uid: 1000, gid: 1000 }),
    dir(path('m')),
    file(path('m/base'), 'base'),
    file(path('m/both'), 'below'),
    file(path('m/gone'), 'gone'),
    dir(path('m/sub')),
    file(path('m/sub/base'), 'base'),
    dir(path('o')),
    file(path('o/base'), 'base'),
  ];
}

function top(at: string): Layer {
  const path = (name: string): string => `${at}/${name}`;
  return [
    dir(at),
    file(path('late'), 'late'),
    dir(path('m')),
    file(path('m/both'), 'above'),
    file(path('m/top'), 'top'),
    whiteout(path('m/gone')),
    dir(path('m/sub')),
    file(path('m/sub/top'), 'top'),
    dir(path('o')),
    opaque(path('o')),
    file(path('o/own'), 'own'),
  ];
}

/** One kit in each of `places`. */
export function kits(places: readonly string[]): Stack {
  const root = dir('.', { mode: 0o755, mtime: [1_600_000_000, 1] });
  return [
    [root, ...places.flatMap(base)],
    [root, ...places.flatMap(top)],
  ];
}
