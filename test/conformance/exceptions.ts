/** The cases that the portable driver cannot pass. The reasons are its own list of limits. */
import { FUSE_NATIVE_LIMITS } from '../../src/mount/drivers/fuse-native-limits.js';

/** Name of a case -> why. */
export const FUSE_NATIVE_EXCEPTIONS: Record<string, string> = {
  'times have nanoseconds': FUSE_NATIVE_LIMITS['mtime-milliseconds'],
  'times may lie before 1970': FUSE_NATIVE_LIMITS['mtime-before-epoch'],
  'SEEK_DATA and SEEK_HOLE find the data and the holes of a sparse file': FUSE_NATIVE_LIMITS['no-seek-hole'],
  'trusted attributes are for root alone': FUSE_NATIVE_LIMITS['trusted-names-listed'],
  'a POSIX ACL is enforced': FUSE_NATIVE_LIMITS['acl-not-enforced'],
};

const MAKERS = ['open', 'mkdir', 'mkfifo', 'mknod file', 'mknod socket', 'symlink'];
const limit = FUSE_NATIVE_LIMITS;

/** As FUSE_NATIVE_EXCEPTIONS, of the cases that write. */
export const FUSE_NATIVE_WRITE_EXCEPTIONS: Record<string, string> = {
  ...Object.fromEntries(
    MAKERS.map((maker) => [
      `${maker}: what is made has its kind, its maker's ids and one name, and its directory's times move`,
      limit['owner-unknown'],
    ]),
  ),
  ...Object.fromEntries(
    MAKERS.filter((maker) => maker !== 'symlink').map((maker) => [
      `${maker}: in a setgid directory the group is the directory's`,
      limit['owner-unknown'],
    ]),
  ),
  'O_TMPFILE: a file without a name, which may be given one': limit['no-tmpfile'],
  'the working directory may be removed, and nothing can be made in it any more': limit['removed-directory'],
  'an open directory that is removed cannot be listed, and its attributes can still be read':
    limit['removed-directory'],
  'the link count of a lower file without names is 0, though it never was copied up':
    limit['removed-directory'],
  'one that was unlinked in a directory that is gone as well': limit['removed-directory'],
  'each kind of lower file moves: the same inode and attributes under the new name, none under the old':
    limit['mtime-milliseconds'],
  'RENAME_NOREPLACE moves to where nothing is, and is EEXIST over anything': limit['no-renameat2'],
  'RENAME_EXCHANGE swaps files, directories and one for the other': limit['no-renameat2'],
  'RENAME_EXCHANGE between directories carries hard links and open files': limit['no-renameat2'],
  'RENAME_WHITEOUT moves a name and leaves a hidden one, which is no name': limit['no-renameat2'],
  ...Object.fromEntries(
    ['l1', 'l2', 'd/l3'].map((name) => [
      `utimens through ${name} is seen through all names`,
      limit['utimens-milliseconds'],
    ]),
  ),
  'fallocate by another user clears setuid and setgid': limit['no-fallocate'],
  ...Object.fromEntries(
    ['4755', '2755', '6755'].map((bits) => [
      `fallocate by its owner clears the bits ${bits} of a file that is in the upper already`,
      limit['no-fallocate'],
    ]),
  ),
  'fallocate makes room, longer or not': limit['no-fallocate'],
  'fallocate punches holes in lower and new files': limit['no-fallocate'],
  'truncation is seen in a map, and what comes back after it is zero': limit['no-fallocate'],
  'utimens of every kind, lower and new, to the nanosecond': limit['utimens-milliseconds'],
  'times before 1970 and after 2038, omitted ones, and now': limit['utimens-both'],
  'symlinks themselves, descriptors, directories': limit['utimens-milliseconds'],
  'any time is for the owner; now for who may write': limit['utimens-milliseconds'],
  'mtime set after a write stays as it was set': limit['utimens-milliseconds'],
  'a new file': limit['no-fallocate'],
  'attributes of an unlinked lower file change through its descriptor': limit['utimens-milliseconds'],
  'SEEK_DATA and SEEK_HOLE tell the holes of lower and new files': limit['no-seek-hole'],
  'a sparse lower file stays sparse when it is copied up': limit['no-seek-hole'],
  'the names of trusted attributes are listed for root alone, of lower and upper files':
    limit['trusted-names-listed'],
  'an ACL of a lower file is enforced and survives copy-up': limit['acl-not-enforced'],
  'setting an ACL sets the mode, chmod changes its mask, and removing it leaves the mode':
    limit['acl-not-enforced'],
  'the default ACL of a directory becomes that of what is made in it, in place of the umask':
    limit['acl-not-enforced'],
  'all names of a file are locked as one, and a lock does not outlive its descriptors':
    limit['hardlink-cache'],
};
