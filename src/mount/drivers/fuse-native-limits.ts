/**
 * What the portable driver cannot do, each with the reason: the `fuse-native` package (2.2.6) stands on libfuse 2.9 and carries a
 * stat as 18 unsigned 32-bit numbers (its fuse-native.c, populate_stat); Node has not all calls. Tests that compare drivers read
 * this list.
 */

/** Keys never change their meaning. */
export const FUSE_NATIVE_LIMITS = {
  'mtime-milliseconds': 'populate_stat takes times in whole milliseconds: what is finer is cut off.',
  'mtime-before-epoch':
    'populate_stat takes times as unsigned numbers: earlier ones are shown as 1970-01-01T00:00:00Z.',
  'no-seek-hole':
    'libfuse 2.9 knows no LSEEK request: SEEK_DATA and SEEK_HOLE treat a sparse file as all data.',
  'hardlink-cache':
    'libfuse 2.9 names files by path: the names of one inode share attributes, but neither the page cache nor flock(2) and fcntl(2) locks.',
  'xattr-name-utf8':
    'fuse-native decodes names of attributes as UTF-8: of two that differ only in bytes that are not UTF-8 none can be read.',
  'symlink-text-expanded':
    'libfuse 2.9 holds a symbolic link in 4096 bytes, in which bytes above 7F count twice on the way: longer ones give EIO.',
  'acl-not-enforced':
    'libfuse 2.9 cannot ask for FUSE_POSIX_ACL: access control lists are kept and shown, but the mode alone decides, and the umask is taken off in directories with a default list too.',
  'trusted-names-listed':
    'fuse-native does not say who asks: the names of trusted attributes are listed for everyone. Their values are for root alone.',
  'mountpoint-utf8':
    'fuse-native takes the mountpoint and the mount options as UTF-8 of at most 1023 bytes each.',
  'one-thread': 'Requests are answered one after the other, by the JavaScript thread.',
  'no-handover': 'When the server dies the mount is dead: nothing keeps its /dev/fuse descriptor.',
  'owner-unknown':
    'fuse-native does not say who asks: what is made belongs to the user who mounted, and to the group of a setgid directory.',
  'utimens-milliseconds': 'fuse-native cuts the times that are set to milliseconds.',
  'utimens-both':
    'fuse-native cannot ask for utime_omit_ok: where only one of the two times is to be set, libfuse 2.9 sets none.',
  'no-renameat2':
    'libfuse 2.9 knows no RENAME2 request: RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT give EINVAL.',
  'no-fallocate': 'fuse-native passes no FALLOCATE request: fallocate(2) gives EOPNOTSUPP.',
  'no-tmpfile': 'libfuse 2.9 knows no TMPFILE request: O_TMPFILE gives EOPNOTSUPP.',
  'removed-directory':
    'libfuse 2.9 names files by path: a directory that was removed, and what is open in it, can only give ENOENT.',
  'hidden-names':
    'libfuse 2.9 keeps a removed file that is open as `.fuse_hidden` and sixteen digits: nothing else can be called so.',
  'ino-32-bits':
    'populate_stat takes inode numbers of 32 bits: those of the upper are cut to that, and two may be alike.',
  'statfs-32-bits': 'populate_statvfs takes counts of 32 bits: blocks are shown larger than they are.',
  'helper-programs':
    'Node has no mknod(2), flock(2), linkat(2) and no utimensat(2) to the nanosecond: mknod, flock, ln and touch are run for them.',
  'replace-two-steps':
    'Node has no renameat2(2): a directory takes the place of a hidden one in two steps, which the next mount finishes when the server is killed between them.',
} as const;

export type FuseNativeLimit = keyof typeof FUSE_NATIVE_LIMITS;
