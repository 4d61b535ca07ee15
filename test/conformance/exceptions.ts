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
