/** In what two files differ, but for their content. */
import type { FileAttributes, Xattrs } from '../../layer/tree.js';

/** What a file has that can differ. `nlink` is how many names it has, `device` the number of a device. */
export const ASPECTS = [
  'type',
  'content',
  'target',
  'device',
  'mode',
  'owner',
  'mtime',
  'xattrs',
  'nlink',
] as const;

export type Aspect = (typeof ASPECTS)[number];

/** In the order of ASPECTS, without content and nlink. Of two types nothing but owner, mode, time and attributes is compared. */
export function changedAttributes(a: FileAttributes, b: FileAttributes): Aspect[] {
  const isSameType = a.type === b.type;
  const found: [Aspect, boolean][] = [
    ['type', !isSameType],
    ['target', isSameType && a.target !== b.target],
    ['device', isSameType && (a.rdevMajor !== b.rdevMajor || a.rdevMinor !== b.rdevMinor)],
    // Linux knows no permission bits of symbolic links.
    ['mode', a.mode !== b.mode && a.type !== 'symlink' && b.type !== 'symlink'],
    ['owner', a.uid !== b.uid || a.gid !== b.gid],
    ['mtime', a.mtimeSec !== b.mtimeSec || a.mtimeNsec !== b.mtimeNsec],
    ['xattrs', !sameXattrs(a.xattrs, b.xattrs)],
  ];
  return found.filter(([, differs]) => differs).map(([aspect]) => aspect);
}

/** Both are in byte order of their names. */
function sameXattrs(a: Xattrs = [], b: Xattrs = []): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ name, value }, index) => name === b[index]!.name && value.equals(b[index]!.value));
}
