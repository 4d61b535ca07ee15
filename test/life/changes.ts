/** Changes of a conformance kit, one system call each, and how kits are compared after them. */

/** Each one call, which is done or not. */
export const CHANGES = [
  'chmod f 600',
  'chown f 5 6',
  'utimens f 1 2',
  'setxattr f user.k v',
  'removexattr xa user.one',
  'setxattr acl user.k v',
  'truncate big 100',
  'truncate big 0',
  'chmod big 600',
  'chown suid 7 8',
  'chmod d 700',
  'setxattr xd user.k v',
  'chmod d/sub/deep 600',
  'chown s 5 6',
  'chmod k/fifo 600',
  'chown k/char 5 6',
  'chmod l1 600',
  'chown d/l3 5 6',
  'truncate l2 3',
  'rename f g',
  'rename f d/sub/g',
  'rename big f',
  'rename d moved',
  'rename d m/sub/moved',
  'rename l1 d/sub/l4',
  'rename s d/s',
  'rename f d/sub/deep RENAME_EXCHANGE',
  'rename d m RENAME_EXCHANGE',
  'link f d/sub/linked',
  'link l1 d/sub/l4',
  'unlink f',
  'unlink l2',
  'unlink d/sub/deep',
  'rmdir e',
  'rmdir k/dir',
  'mkdir d/sub/new 755',
  'mkdir m/gone 755',
  'symlink x d/sub/new',
  'mknod d/sub/new fifo 600',
] as const;

/** The lines of each kit, its own name taken off, with `now` for times since `start`. */
export function kitsOf(dump: string, start: number): Map<string, string[]> {
  const kits = new Map<string, string[]>();
  for (const line of dump.split('\n')) {
    const name = /^\/([^/ ]+)/.exec(line)?.[1];
    if (name === undefined) continue;
    const fields = line
      .split(' ')
      .map((field) => (field.startsWith(`/${name}`) ? field.slice(name.length + 1) : field));
    if (Number(fields[6]) >= start) fields[6] = 'now';
    kits.set(name, [...(kits.get(name) ?? []), fields.join(' ')]);
  }
  return kits;
}
