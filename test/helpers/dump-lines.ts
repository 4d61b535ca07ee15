/** Canonical dumps (FORMAT.md), made by dump_directory.py of real directories, and what differs between two of them. */

export interface DumpLine {
  type: string;
  mode: string;
  nlink: string;
  owner: string;
  rdev: string;
  mtime: string;
  size: string;
  content: string;
  xattrs: string;
}

/** By path, escaped as in the dump. A further name of a file has the fields of its first. */
export function parseDump(dump: string): Map<string, DumpLine> {
  const lines = new Map<string, DumpLine>();
  for (const text of dump.split('\n')) {
    if (text === '') continue;
    const [path, type, ...rest] = text.split(' ');
    if (type === 'h') {
      lines.set(path!, lines.get(rest[0]!)!);
      continue;
    }
    const [mode, nlink, owner, rdev, mtime, size, content, xattrs] = rest;
    lines.set(path!, { type, mode, nlink, owner, rdev, mtime, size, content, xattrs } as DumpLine);
  }
  return lines;
}

/** `A PATH`, `D PATH` and `M PATH aspect,aspect` in the words of `lamina fs diff`, sorted. */
export function dumpDifferences(before: string, after: string): string[] {
  const [ours, theirs] = [parseDump(before), parseDump(after)];
  const found: string[] = [];
  for (const path of new Set([...ours.keys(), ...theirs.keys()])) {
    const [a, b] = [ours.get(path), theirs.get(path)];
    if (a === undefined || b === undefined) {
      found.push(`${a === undefined ? 'A' : 'D'} ${path}`);
      continue;
    }
    const isSame = a.type === b.type;
    const isLink = a.type === 'l' || b.type === 'l';
    const aspects: [string, boolean][] = [
      ['type', !isSame],
      ['content', isSame && a.type === 'f' && (a.content !== b.content || a.size !== b.size)],
      ['target', isSame && a.type === 'l' && a.content !== b.content],
      ['device', isSame && a.rdev !== b.rdev],
      ['mode', a.mode !== b.mode && !isLink],
      ['owner', a.owner !== b.owner],
      ['mtime', a.mtime !== b.mtime],
      ['xattrs', a.xattrs !== b.xattrs],
      ['nlink', a.type !== 'd' && b.type !== 'd' && a.nlink !== b.nlink],
    ];
    const changed = aspects.filter(([, differs]) => differs).map(([aspect]) => aspect);
    if (changed.length > 0) found.push(`M ${path} ${changed.join(',')}`);
  }
  return found.sort();
}
