/**
 * What the portable driver cannot do, each with the reason: the `fuse-native` package (2.2.6) stands on libfuse 2.9 and carries a
 * stat as 18 unsigned 32-bit numbers (its fuse-native.c, populate_stat). Tests that compare drivers read this list.
 */

/** Keys never change their meaning. */
export const FUSE_NATIVE_LIMITS = {
  'mtime-milliseconds': 'populate_stat takes times in whole milliseconds: what is finer is cut off.',
  'mtime-before-epoch':
    'populate_stat takes times as unsigned numbers: earlier ones are shown as 1970-01-01T00:00:00Z.',
  'no-seek-hole':
    'libfuse 2.9 knows no LSEEK request: SEEK_DATA and SEEK_HOLE treat a sparse file as all data.',
  'hardlink-cache':
    'libfuse 2.9 names files by path: the names of one inode share st_ino and st_nlink, but not the page cache.',
  'xattr-name-utf8':
    'fuse-native decodes names of attributes as UTF-8: of two that differ only in bytes that are not UTF-8 none can be read.',
  'symlink-text-expanded':
    'libfuse 2.9 holds a symbolic link in 4096 bytes, in which bytes above 7F count twice on the way: longer ones give EIO.',
  'acl-not-enforced':
    'libfuse 2.9 cannot ask for FUSE_POSIX_ACL: access control lists are shown, but the mode alone decides.',
  'trusted-names-listed':
    'fuse-native does not say who asks: the names of trusted attributes are listed for everyone. Their values are for root alone.',
  'mountpoint-utf8':
    'fuse-native takes the mountpoint and the mount options as UTF-8 of at most 1023 bytes each.',
  'one-thread': 'Requests are answered one after the other, by the JavaScript thread.',
  'no-handover': 'When the server dies the mount is dead: nothing keeps its /dev/fuse descriptor.',
} as const;

export type FuseNativeLimit = keyof typeof FUSE_NATIVE_LIMITS;
