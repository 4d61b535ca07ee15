/**
 * Reads a mounted tree through ordinary system calls, twice over: against the model of what it must hold, and as a
 * canonical dump (FORMAT.md). The dump's last field is left out: Node has no call for extended attributes.
 */
import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';

const SLASH = Buffer.from('/');
const buffer = Buffer.allocUnsafe(1 << 20);

function digestOf(path) {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  try {
    for (let count; (count = readSync(fd, buffer)) > 0;) hash.update(buffer.subarray(0, count));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

const TYPES = [
  ['isFile', 'f'],
  ['isDirectory', 'd'],
  ['isSymbolicLink', 'l'],
  ['isCharacterDevice', 'c'],
  ['isBlockDevice', 'b'],
  ['isFIFO', 'p'],
  ['isSocket', 's'],
];

/** Everything below `root`, depth first, names in byte order: { path (Latin-1, '' for the root), stat, type, digest, target }. */
export function* walk(root) {
  const start = Buffer.from(root);
  yield describe(start, '');
  yield* below(start, '');
}

function* below(directory, path) {
  for (const name of readdirSync(directory, { encoding: 'buffer' }).sort(Buffer.compare)) {
    const full = Buffer.concat([directory, SLASH, name]);
    const entry = describe(full, `${path}/${name.toString('latin1')}`);
    yield entry;
    if (entry.type === 'd') yield* below(full, entry.path);
  }
}

function describe(full, path) {
  const stat = lstatSync(full, { bigint: true });
  const type = TYPES.find(([is]) => stat[is]())?.[1] ?? '?';
  return {
    path,
    stat,
    type,
    digest: type === 'f' ? digestOf(full) : undefined,
    target: type === 'l' ? readlinkSync(full, { encoding: 'buffer' }).toString('latin1') : undefined,
  };
}

const escape = (bytes) =>
  bytes.replace(/[^\x21-\x5b\x5d-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** Lines of the canonical dump of what walk() gave, without the field of attributes. */
export function dumpLines(entries) {
  const first = new Map();
  return entries.map(({ path, stat, type, digest, target }) => {
    const shown = escape(path === '' ? '/' : path);
    if (type !== 'd') {
      const before = first.get(stat.ino);
      if (before !== undefined) return `${shown} h ${before}`;
      first.set(stat.ino, shown);
    }
    const seconds =
      stat.mtimeNs >= 0n ? stat.mtimeNs / 10n ** 9n : -((10n ** 9n - 1n - stat.mtimeNs) / 10n ** 9n);
    const content =
      digest === undefined ? (target === undefined ? '-' : `->${escape(target)}`) : `sha256:${digest}`;
    return [
      shown,
      type,
      (stat.mode & 0o7777n).toString(8).padStart(4, '0'),
      type === 'd' ? '-' : stat.nlink,
      `${stat.uid}:${stat.gid}`,
      type === 'c' || type === 'b' ? deviceNumber(stat.rdev) : '-',
      `${seconds}.${String(stat.mtimeNs - seconds * 10n ** 9n).padStart(9, '0')}`,
      type === 'f' ? stat.size : '-',
      content,
    ].join(' ');
  });
}

/** MAJOR:MINOR of Linux's packed dev_t (makedev(3)). */
function deviceNumber(rdev) {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** What differs between a mounted tree and the model of it, one line each; empty when they are equal. */
export function differences(entries, visible) {
  const links = new Map();
  for (const record of visible.values()) links.set(record, (links.get(record) ?? 0) + 1);
  const found = [];
  const seen = new Set();
  const letters = { dir: 'd', file: 'f', symlink: 'l' };
  for (const { path, stat, type, digest, target } of entries) {
    if (path === '') continue;
    const name = Buffer.from(path, 'latin1').toString('utf8').slice(1);
    seen.add(name);
    const record = visible.get(name);
    if (record === undefined) {
      found.push(`${name}: is there and should not be`);
      continue;
    }
    const facts = [
      ['type', letters[record.type], type],
      ['mode', record.mode, Number(stat.mode & 0o7777n)],
      ['time', BigInt(record.mtimeSec) * 10n ** 9n, stat.mtimeNs],
      ['digest', record.digest, digest],
      ['target', record.target, target],
      ...(type === 'd' ? [] : [['link count', links.get(record), Number(stat.nlink)]]),
    ];
    for (const [what, expected, actual] of facts)
      if (expected !== actual) found.push(`${name}: ${what} is ${actual}, should be ${expected}`);
  }
  for (const name of visible.keys()) if (!seen.has(name)) found.push(`${name}: is missing`);
  return found;
}
