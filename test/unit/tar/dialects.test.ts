/**
 * Tars as GNU tar writes them, in every format it knows, of a tree with all that a layer may hold. Three opinions are
 * compared: ours, Python's tarfile, and the tree itself as GNU tar unpacks it (names, sizes, content) or lists it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesToBuffer } from '../../../src/bytes.js';
import type { TarEntry } from '../../../src/tar/scan.js';
import { hasCommand, isRoot, requirement } from '../../helpers/require.js';
import {
  blocks,
  contentOf,
  floorTime,
  listWithPython,
  scanFile,
  sha256,
  temporaryDirectory,
} from './support.js';

const dir = temporaryDirectory();
afterAll(dir.remove);

const canTar = requirement(
  'GNU tar',
  spawnSync('tar', ['--version'], { encoding: 'utf8' }).stdout?.includes('GNU tar') ?? false,
);
const hasPython = requirement('python3', spawnSync('python3', ['--version']).status === 0);
/** Owners, devices and attributes of all kinds need root. */
const canAll = canTar && hasPython && requirement('root', isRoot());

const MAKE_TREES = `
import os, sys
os.chdir(sys.argv[1])
os.umask(0)

def put(path, data=b"", mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)

os.makedirs("plain/sub")
put("plain/a", b"hello\\n")
put("plain/empty")
put("plain/block", b"b" * 512, 0o755)
put("plain/more", b"m" * 513, 0o600)
put(b"plain/caf\\xe9", b"not UTF-8")
os.symlink("a", "plain/symlink")
os.link("plain/a", "plain/hard")

os.makedirs("sparse")
def holes(path, size, runs):
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, data in runs:
            f.seek(offset)
            f.write(data)
holes("sparse/middle", 5000000, [(1000000, b"mid"), (4999990, b"end")])
holes("sparse/tail", 3000000, [(0, b"head" * 2000)])
holes("sparse/hole", 1000000, [])
holes("sparse/many", 60 * 65536, [(n * 65536, b"%d" % n * 700) for n in range(60)])

if os.geteuid() == 0:
    long = "/".join(["directory-%02d" % n for n in range(30)])
    os.makedirs("rich/" + long)
    put("rich/" + long + "/" + "f" * 200, b"long")
    put("rich/" + "n" * 101, b"101")
    put("rich/" + "n" * 99, b"99")
    put(b"rich/" + b"\\xff" * 130, b"bytes")
    os.symlink("t/" * 150 + "end", "rich/symlink")
    os.link("rich/" + long + "/" + "f" * 200, "rich/hard")
    os.mkfifo("rich/fifo")
    os.mknod("rich/char", 0o20666, os.makedev(5, 1))
    os.mknod("rich/block", 0o60660, os.makedev(259, 70000))
    put("rich/owned", b"o")
    os.chown("rich/owned", 3000000, 4000000000)
    put("rich/setuid", b"s", 0o4755)
    put("rich/nothing-allowed", b"0", 0)
    put("rich/time", b"t")
    os.utime("rich/time", ns=(0, 1234567890123456789))
    put("rich/before", b"t")
    os.utime("rich/before", ns=(0, -1500000000))
    put("rich/attributes", b"x")
    os.mkdir("rich/sticky")
    os.chmod("rich/sticky", 0o1777)
`;

beforeAll(() => {
  if (canTar && hasPython) execFileSync('python3', ['-c', MAKE_TREES, dir.path]);
});

const formats = ['v7', 'oldgnu', 'gnu', 'ustar', 'posix'] as const;

function makeTar(name: string, ...args: string[]): string {
  const path = join(dir.path, name);
  execFileSync('tar', ['-C', dir.path, '-cf', path, ...args]);
  return path;
}

/** What we find against what Python finds, entry by entry. */
function compareWithPython(path: string, entries: readonly TarEntry[]): void {
  const listed = listWithPython(path);
  expect(entries).toHaveLength(listed.length);
  entries.forEach((entry, index) => {
    const other = listed[index]!;
    const time = floorTime(other.mtime);
    const { type, linkName, mode, uid, gid, sizeBytes, devMajor, devMinor } = entry;
    const name = entry.name.replace(/\/$/, '');
    const { mtimeSec, mtimeNsec } = entry;
    expect({
      type,
      name,
      linkName,
      mode,
      uid,
      gid,
      sizeBytes,
      devMajor,
      devMinor,
      mtimeSec,
      mtimeNsec,
    }).toEqual({
      type: other.type,
      name: other.name,
      linkName: other.linkName,
      mode: other.mode,
      uid: other.uid,
      gid: other.gid,
      sizeBytes: other.sizeBytes,
      devMajor: other.devMajor,
      devMinor: other.devMinor,
      mtimeSec: time.sec,
      mtimeNsec: time.nsec,
    });
    if (type === 'file') expect(sha256(contentOf(path, entry))).toBe(other.sha256);
    if (other.runs !== undefined) {
      expect(entry.extents?.map(({ logical, length }) => [logical, length])).toEqual(other.runs);
    }
  });
}

/** Every file's content against the tree that was packed. */
function compareWithTree(path: string, entries: readonly TarEntry[]): void {
  const files = entries.filter((entry) => entry.type === 'file');
  expect(files.length).toBeGreaterThan(2);
  for (const file of files) {
    const original = Buffer.concat([Buffer.from(`${dir.path}/`), bytesToBuffer(file.name)]);
    expect(contentOf(path, file).equals(readFileSync(original))).toBe(true);
  }
}

describe.runIf(canTar && hasPython)('GNU tar', () => {
  test.each(formats)('%s: a plain tree', (format) => {
    const path = makeTar(`plain-${format}.tar`, `--format=${format}`, '--sort=name', 'plain');
    const entries = scanFile(path);
    expect(entries.map((entry) => `${entry.type} ${entry.name} ${entry.linkName}`)).toEqual([
      'dir plain/ ',
      'file plain/a ',
      'file plain/block ',
      'file plain/caf\xe9 ',
      'file plain/empty ',
      'link plain/hard plain/a',
      'file plain/more ',
      'dir plain/sub/ ',
      'symlink plain/symlink a',
    ]);
    compareWithPython(path, entries);
    compareWithTree(path, entries);
  });

  const sparse: [format: string, args: string[]][] = [
    ['oldgnu', ['--format=oldgnu']],
    ['gnu', ['--format=gnu']],
    ['PAX 0.0', ['--format=posix', '--sparse-version=0.0']],
    ['PAX 0.1', ['--format=posix', '--sparse-version=0.1']],
    ['PAX 1.0', ['--format=posix', '--sparse-version=1.0']],
  ];
  test.each(sparse)('%s: sparse files', (name, args) => {
    const path = makeTar(`sparse-${name}.tar`, '--sparse', '--sort=name', ...args, 'sparse');
    const entries = scanFile(path);
    // Holes must have been found, or the case proves nothing.
    expect(entries.filter((entry) => entry.extents !== undefined).map((entry) => entry.name)).toContain(
      'sparse/many',
    );
    expect(entries.find((entry) => entry.name === 'sparse/many')?.extents?.length).toBeGreaterThanOrEqual(59);
    expect(entries.find((entry) => entry.name === 'sparse/hole')?.extents).toEqual([]);
    compareWithPython(path, entries);
    compareWithTree(path, entries);
  });
});

describe.runIf(canAll)('GNU tar, as root', () => {
  // ustar has no room for the long names, v7 for devices either; GNU tar leaves such files out.
  test.each(['oldgnu', 'gnu', 'posix'])('%s: long names, devices, owners and times', (format) => {
    const path = makeTar(`rich-${format}.tar`, `--format=${format}`, '--sort=name', 'rich');
    const entries = scanFile(path);
    compareWithPython(path, entries);
    compareWithTree(path, entries);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    expect(byName.get(`rich/${'\xff'.repeat(130)}`)?.type).toBe('file');
    expect(byName.get('rich/owned')).toMatchObject({ uid: 3_000_000, gid: 4_000_000_000 });
    expect(byName.get('rich/block')).toMatchObject({ devMajor: 259, devMinor: 70_000 });
    expect(byName.get('rich/before')).toMatchObject(
      format === 'posix' ? { mtimeSec: -2, mtimeNsec: 500_000_000 } : { mtimeSec: -2, mtimeNsec: 0 },
    );
    expect(byName.get('rich/nothing-allowed')?.mode).toBe(0);
  });

  test('tar tvf says the same of types, modes, owners, sizes and links', () => {
    const path = makeTar('listed.tar', '--format=posix', '--sort=name', 'plain', 'sparse', 'rich');
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
    const text = execFileSync('tar', ['-tvf', path, '--numeric-owner', '--quoting-style=literal'], { env });
    const letters = {
      file: '-',
      link: 'h',
      symlink: 'l',
      char: 'c',
      block: 'b',
      dir: 'd',
      fifo: 'p',
      socket: 's',
    };
    const arrows = { link: ' link to ', symlink: ' -> ' };
    const lines = scanFile(path).map((entry) => {
      const isDevice = entry.type === 'char' || entry.type === 'block';
      const size = isDevice ? `${entry.devMajor},${entry.devMinor}` : `${entry.sizeBytes}`;
      const link = entry.type in arrows ? arrows[entry.type as keyof typeof arrows] + entry.linkName : '';
      return `${letters[entry.type]} ${entry.uid}/${entry.gid} ${size} ${entry.name}${link}`;
    });
    const listed = text
      .toString('latin1')
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^(.)\S+ +(\S+) +(\S+) \S+ \S+ /, '$1 $2 $3 '));
    expect(lines).toEqual(listed);
  });

  test('--xattrs: values with NULs, newlines and high bytes, and a file capability', ({ skip }) => {
    const file = join(dir.path, 'rich/attributes');
    const set = (name: string, value: string): number | null =>
      spawnSync('setfattr', ['-n', name, '-v', value, file]).status;
    const wanted: [string, string][] = [
      ['security.capability', '0x0100000200200000000000000000000000000000'],
      ['trusted.overlay.opaque', '0x79'],
      ['user.bytes', '0x000a3dff0a203132'],
    ];
    const present = wanted.filter(([name, value]) => set(name, value) === 0);
    if (!requirement('a temporary directory with extended attributes', present.length > 0)) skip();
    const path = makeTar('xattrs.tar', '--format=posix', '--xattrs', '--xattrs-include=*', 'rich/attributes');
    const [entry] = scanFile(path);
    const own = entry!.xattrs!.filter(({ name }) => wanted.some(([other]) => other === name));
    expect(own.map(({ name, value }) => [name, `0x${value.toString('hex')}`])).toEqual(present);
    const listed = listWithPython(path)[0]!;
    expect(entry!.xattrs!.map(({ name, value }) => [name, value.toString('latin1')])).toEqual(listed.xattrs);
  });

  test('--acls: the text becomes what the kernel keeps', ({ skip }) => {
    const file = join(dir.path, 'rich/sticky');
    const acl = 'u:1234:rwx,g:4321:r-x,m::rwx,d:u:77:r--,d:g:88:-w-';
    if (!requirement('POSIX ACLs', spawnSync('setfacl', ['-m', acl, file]).status === 0)) skip();
    const path = makeTar('acls.tar', '--format=posix', '--acls', '--numeric-owner', 'rich/sticky');
    const xattrs = new Map(
      scanFile(path)[0]!.xattrs?.map(({ name, value }) => [name, value.toString('hex')]),
    );
    for (const name of ['system.posix_acl_access', 'system.posix_acl_default']) {
      const kernel = execFileSync('getfattr', ['-e', 'hex', '-n', name, '--absolute-names', file], {
        encoding: 'utf8',
      });
      expect(`0x${xattrs.get(name)}`).toBe(/=(0x\S+)/.exec(kernel)?.[1]);
    }
  });
});

describe.runIf(canAll && requirement('umoci', hasCommand('umoci')))(
  "Go's archive/tar, by way of umoci",
  () => {
    test('a layer', ({ skip }) => {
      const layout = join(dir.path, 'layout');
      execFileSync('umoci', ['init', '--layout', layout]);
      execFileSync('umoci', ['new', '--image', `${layout}:x`]);
      const inserted = spawnSync('umoci', [
        'insert',
        '--image',
        `${layout}:x`,
        join(dir.path, 'rich'),
        '/rich',
      ]);
      if (!requirement('umoci that can insert', inserted.status === 0)) skip();
      const blobs = readdirSync(join(layout, 'blobs/sha256')).map((name) =>
        readFileSync(join(layout, 'blobs/sha256', name)),
      );
      const layer = gunzipSync(blobs.find((blob) => blob.readUInt16BE(0) === 0x1f8b)!);
      const path = join(dir.path, 'umoci.tar');
      writeFileSync(path, layer);
      const entries = scanFile(path);
      // umoci leaves out the padding of the last file and the end marker; Python wants the padding.
      writeFileSync(path, blocks(layer));
      compareWithPython(path, entries);
      compareWithTree(path, entries);
      const attributes = entries.find((entry) => entry.name === 'rich/attributes');
      expect(attributes?.xattrs?.map(({ name, value }) => [name, value.toString('latin1')]) ?? []).toEqual(
        listWithPython(path).find((entry) => entry.name === 'rich/attributes')?.xattrs,
      );
    });
  },
);

describe.runIf(hasPython)('Python tarfile', () => {
  const make = `
import io, sys, tarfile
with tarfile.open(sys.argv[1], "w", format=getattr(tarfile, sys.argv[2] + "_FORMAT")) as t:
    def add(name, data=b"", **fields):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        t.addfile(info, io.BytesIO(data))
    add("d", type=tarfile.DIRTYPE, mode=0o1777)
    add("d/" + "l" * 180, b"content", uid=2**21 + 5, gid=2**31)
    add("caf\\u00e9", b"utf-8", mtime=-1.5 if sys.argv[2] == "PAX" else -2)
    add("link" * 40, type=tarfile.SYMTYPE, linkname="t" * 300)
    add("hard", type=tarfile.LNKTYPE, linkname="d/" + "l" * 180)
    add("dev", type=tarfile.CHRTYPE, devmajor=5, devminor=2)
    add("last", b"z" * 10000, mtime=2**33 + 5)
`;
  test.each(['GNU', 'PAX'])('%s', (format) => {
    const path = join(dir.path, `python-${format}.tar`);
    execFileSync('python3', ['-c', make, path, format]);
    const entries = scanFile(path);
    expect(entries).toHaveLength(7);
    expect(entries[2]).toMatchObject({ mtimeSec: -2, mtimeNsec: format === 'PAX' ? 500_000_000 : 0 });
    compareWithPython(path, entries);
  });
});
