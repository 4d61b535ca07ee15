/** Which prefix the attributes of an upper directory of ours have: see xattr(7), trusted extended attributes. */
import { readFileSync } from 'node:fs';

/** Whether this process may not set `trusted.` attributes: all but root, and root of a user namespace (user_namespaces(7) says how it is told). */
export function needsUserXattrs(): boolean {
  if (process.getuid?.() !== 0) return true;
  try {
    return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch {
    return false;
  }
}
