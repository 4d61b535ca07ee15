/** What the writer writes, as GNU tar, Python's tarfile and tar-stream read it: none of them shares code with it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { afterAll, describe, expect, test } from 'vitest';
import type { TarEntryType } from '../../../src/tar/scan.js';
import { TarWriter, type TarHeaderInput } from '../../../src/tar/write.js';
import { isRoot, requirement } from '../../helpers/require.js';
import {
  contentOf,
  floorTime,
  listWithPython,
  scanBytes,
  scanFile,
  sha256,
  temporaryDirectory,
} from './support.js';

const dir = temporaryDirectory();
afterAll(dir.remove);

const hasPython = requirement('python3', spawnSync('python3', ['--version']).status === 0);
const canTar = requirement('GNU tar', spawnSync('tar', ['--version']).status === 0);

function entry(type: TarEntryType, name: string, fields: Partial<TarHeaderInput> = {}): TarHeaderInput {
  return {
    type,
    name,
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: 0,
    mtimeSec: 1_000_000_000,
    mtimeNsec: 0,
    ...fields,
  };
}

/** Headers and bodies -> a tar. */
async function write(entries: readonly [TarHeaderInput, Buffer?][]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const writer = new TarWriter((chunk) => void chunks.push(chunk));
  for (const [header, body] of entries) await writer.entry({ ...header, sizeBytes: body?.length ?? 0 }, body);
  await writer.finish();
  return Buffer.concat(chunks);
}

const deep = Array.from({ length: 30 }, (_, n) => `directory-${n}`).join('/');

const ENTRIES: readonly [TarHeaderInput, Buffer?][] = [
  [entry('dir', './', { mode: 0o755 })],
  [entry('dir', 'tmp', { mode: 0o1777, uid: 5, gid: 6 })],
  [entry('file', 'tmp/hello', { mode: 0o4711, mtimeNsec: 123_456_789 }), Buffer.from('hello\n')],
  [entry('file', 'tmp/nothing-allowed', { mode: 0 })],
  [entry('file', 'n'.repeat(100)), Buffer.from('100')],
  [entry('file', 'n'.repeat(101)), Buffer.from('101')],
  [entry('file', `${'p'.repeat(155)}/${'n'.repeat(100)}`), Buffer.from('256')],
  [entry('file', `${'p'.repeat(156)}/${'n'.repeat(100)}`), Buffer.from('257')],
  [entry('dir', `${'q'.repeat(120)}/`)],
  [entry('file', `${deep}/${'f'.repeat(255)}`), Buffer.from('deep')],
  [entry('file', 'caf\xc3\xa9'), Buffer.from('UTF-8')],
  [entry('file', '\xff\xfe\n'), Buffer.from('no UTF-8')],
  [entry('symlink', 'symlink', { linkName: '../absent', mode: 0o777 })],
  [entry('symlink', 'long-symlink', { linkName: `${'t/'.repeat(300)}caf\xe9`, mode: 0o777 })],
  [entry('link', 'hard', { linkName: 'tmp/hello', mode: 0o4711, mtimeNsec: 123_456_789 })],
  [entry('char', 'char', { devMajor: 5, devMinor: 1 })],
  [entry('block', 'block', { devMajor: 259, devMinor: 70_000 })],
  [entry('fifo', 'fifo')],
  [entry('file', 'owned', { uid: 2_097_151, gid: 2_097_152 })],
  [entry('file', 'owned-more', { uid: 4_000_000_000, gid: 3_000_000 })],
  [entry('file', 'before', { mtimeSec: -2, mtimeNsec: 500_000_000 })],
  [entry('file', 'just-before', { mtimeSec: -1, mtimeNsec: 999_999_999 })],
  [entry('file', 'far', { mtimeSec: 2 ** 33 + 1 })],
  [
    entry('file', 'attributes', {
      xattrs: [
        { name: 'user.z', value: Buffer.from('\n12 path=x\n\0\xff=', 'latin1') },
        { name: 'user.a', value: Buffer.alloc(0) },
        {
          name: 'security.capability',
          value: Buffer.from('0100000200200000000000000000000000000000', 'hex'),
        },
      ],
    }),
  ],
  [entry('file', 'whole-blocks'), Buffer.alloc(1024, 'w')],
  [entry('file', 'large'), Buffer.alloc(200_001, 'l')],
];

/** As the writer promises: a slash after a directory's name. */
const slashed = ({ type, name }: TarHeaderInput): string =>
  type === 'dir' ? name.replace(/\/?$/, '/') : name;

test('our own scanner finds what was written', async () => {
  const bytes = await write(ENTRIES);
  const entries = scanBytes(bytes);
  expect(entries).toHaveLength(ENTRIES.length);
  entries.forEach((found, index) => {
    const [header, body] = ENTRIES[index]!;
    const { type, mode, uid, gid, mtimeSec, mtimeNsec } = header;
    expect(found).toMatchObject({ type, name: slashed(header), mode, uid, gid, mtimeSec, mtimeNsec });
    expect(found.linkName).toBe(header.linkName ?? '');
    expect([found.devMajor, found.devMinor]).toEqual([header.devMajor ?? 0, header.devMinor ?? 0]);
    const names = header.xattrs
      ?.map(({ name, value }) => [name, value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    expect(found.xattrs?.map(({ name, value }) => [name, value])).toEqual(names);
    const content = bytes.subarray(found.dataOffset, found.dataOffset + found.storedBytes);
    expect(content.equals(body ?? Buffer.alloc(0))).toBe(true);
  });
});

test.runIf(hasPython)("Python's tarfile finds what was written", async () => {
  const path = join(dir.path, 'python.tar');
  writeFileSync(path, await write(ENTRIES));
  const listed = listWithPython(path);
  expect(listed).toHaveLength(ENTRIES.length);
  listed.forEach((found, index) => {
    const [header, body] = ENTRIES[index]!;
    expect(found).toMatchObject({
      type: header.type,
      name: header.name.replace(/\/$/, ''),
      linkName: header.linkName ?? '',
      mode: header.mode,
      uid: header.uid,
      gid: header.gid,
      devMajor: header.devMajor ?? 0,
      devMinor: header.devMinor ?? 0,
    });
    expect(floorTime(found.mtime)).toEqual({ sec: header.mtimeSec, nsec: header.mtimeNsec });
    if (header.type === 'file') expect(found.sha256).toBe(sha256(body ?? Buffer.alloc(0)));
    const xattrs = (header.xattrs ?? []).map(({ name, value }) => [name, value.toString('latin1')]);
    expect(found.xattrs).toEqual(xattrs.sort((a, b) => (a[0]! < b[0]! ? -1 : 1)));
  });
});

test('tar-stream finds what was written, where names are text', async () => {
  const isText = ([header]: readonly [TarHeaderInput, Buffer?]): boolean =>
    Buffer.from(header.name + (header.linkName ?? ''), 'latin1')
      .toString('utf8')
      .includes('\ufffd') === false;
  const entries = ENTRIES.filter(isText);
  const found: string[] = [];
  const reader = extract();
  Readable.from([await write(entries)]).pipe(reader);
  for await (const item of reader) {
    let length = 0;
    for await (const piece of item) length += (piece as Buffer).length;
    found.push(`${item.header.name} ${item.header.type} ${item.header.mode} ${length}`);
  }
  const types: Record<string, string> = { dir: 'directory', char: 'character-device', block: 'block-device' };
  expect(found).toEqual(
    entries.map(([header, body]) => {
      const name = Buffer.from(slashed(header), 'latin1').toString('utf8');
      return `${name} ${types[header.type] ?? header.type} ${header.mode} ${body?.length ?? 0}`;
    }),
  );
});

test.runIf(canTar && requirement('root', isRoot()))('GNU tar unpacks what was written', async () => {
  const path = join(dir.path, 'gnu.tar');
  const out = join(dir.path, 'unpacked');
  writeFileSync(path, await write(ENTRIES));
  execFileSync('mkdir', [out]);
  const result = spawnSync(
    'tar',
    [
      '-C',
      out,
      '-xpf',
      path,
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=user.*',
      '--warning=no-unknown-keyword',
    ],
    { encoding: 'utf8' },
  );
  // It may call the times implausible; it must not call anything an error.
  expect(result.status, result.stderr).toBe(0);
  for (const [header, body] of ENTRIES) {
    const file = Buffer.concat([Buffer.from(`${out}/`), Buffer.from(header.name, 'latin1')]);
    const stat = lstatSync(file, { bigint: true });
    expect([Number(stat.uid), Number(stat.gid)]).toEqual([header.uid, header.gid]);
    if (header.type !== 'symlink') expect(Number(stat.mode) & 0o7777).toBe(header.mode);
    if (header.type !== 'dir' && header.name !== 'far')
      expect(stat.mtimeNs).toBe(BigInt(header.mtimeSec) * 1_000_000_000n + BigInt(header.mtimeNsec));
    if (header.type === 'file') expect(readFileSync(file).equals(body ?? Buffer.alloc(0))).toBe(true);
    if (header.type === 'symlink') expect(readlinkSync(file, 'latin1')).toBe(header.linkName);
  }
  expect(lstatSync(join(out, 'hard')).ino).toBe(lstatSync(join(out, 'tmp/hello')).ino);
  const device = execFileSync('stat', ['-c', '%t:%T', join(out, 'block')], { encoding: 'utf8' });
  expect(device.trim()).toBe(`${(259).toString(16)}:${(70_000).toString(16)}`);
});

test('a socket is an empty file to others and a socket to us', async () => {
  const bytes = await write([[entry('socket', 'run/socket')]]);
  expect(scanBytes(bytes)[0]).toMatchObject({ type: 'socket', name: 'run/socket', sizeBytes: 0 });
  const path = join(dir.path, 'socket.tar');
  writeFileSync(path, bytes);
  if (hasPython) expect(listWithPython(path)[0]).toMatchObject({ type: 'file', sizeBytes: 0 });
});

test('plain entries are plain ustar: no extended header', async () => {
  const bytes = await write([[entry('file', 'a'), Buffer.from('abc')]]);
  expect(bytes).toHaveLength(512 + 512 + 1024);
  expect(bytes.toString('latin1', 257, 265)).toBe('ustar\x0000');
});

test('a size above 8 GiB is a record, and names stay bytes there', async () => {
  // The header alone: nobody writes eight gibibytes for a test.
  const chunks: Buffer[] = [];
  const writer = new TarWriter((chunk) => void chunks.push(chunk));
  const header = entry('file', 'huge', { sizeBytes: 2 ** 33 });
  await expect(writer.entry(header, Buffer.alloc(0))).rejects.toMatchObject({ code: 'EIO' });
  await writer.finish();
  const text = Buffer.concat(chunks).toString('latin1');
  expect(text.slice(512, 512 + 19)).toBe('19 size=8589934592\n');
  expect(text.slice(1024 + 124, 1024 + 136)).toBe('00000000000\0');
});

test('records that count their own digits, around 100 and 1000 bytes', async () => {
  const lengths = [...Array(12).keys()].flatMap((n) => [75 + n, 970 + n]);
  const value = (length: number): Buffer => Buffer.alloc(length, 'v');
  const entries = lengths.map((length): [TarHeaderInput] => [
    entry('file', `file${length}`, { xattrs: [{ name: 'user.a', value: value(length) }] }),
  ]);
  const path = join(dir.path, 'records.tar');
  writeFileSync(path, await write(entries));
  expect(scanFile(path).map((found) => found.xattrs![0]!.value.length)).toEqual(lengths);
  if (hasPython) expect(listWithPython(path).map((found) => found.xattrs[0]![1].length)).toEqual(lengths);
});

describe('bodies', () => {
  async function* pieces(...sizes: number[]): AsyncGenerator<Buffer> {
    // One buffer for all: the writer must not keep what it was given.
    const buffer = Buffer.alloc(Math.max(...sizes));
    for (const [index, size] of sizes.entries()) {
      buffer.fill(index + 1);
      yield buffer.subarray(0, size);
    }
  }

  test('in pieces', async () => {
    const chunks: Buffer[] = [];
    const writer = new TarWriter((chunk) => void chunks.push(Buffer.from(chunk)));
    await writer.entry(entry('file', 'a', { sizeBytes: 100_310 }), pieces(10, 100_000, 300));
    await writer.finish();
    const path = join(dir.path, 'pieces.tar');
    writeFileSync(path, Buffer.concat(chunks));
    const content = contentOf(path, scanFile(path)[0]!);
    const expected = Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(100_000, 2), Buffer.alloc(300, 3)]);
    expect(content.equals(expected)).toBe(true);
  });

  const wrong: [what: string, sizeBytes: number, says: string][] = [
    ['shorter', 20, 'only 10'],
    ['longer', 5, 'got more'],
  ];
  test.each(wrong)('%s than promised', async (_, sizeBytes, says) => {
    const writer = new TarWriter(() => undefined);
    const result = writer.entry(entry('file', 'a', { sizeBytes }), pieces(10));
    await expect(result).rejects.toMatchObject({
      code: 'EIO',
      path: 'a',
      message: expect.stringContaining(says),
    });
  });

  test('of what is no file', async () => {
    const writer = new TarWriter(() => undefined);
    await expect(writer.entry(entry('dir', 'd'), Buffer.from('x'))).rejects.toMatchObject({ code: 'EIO' });
  });

  test('the sink is waited for, and its error comes out', async () => {
    let running = 0;
    let most = 0;
    const writer = new TarWriter(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
    });
    await writer.entry(entry('file', 'a', { sizeBytes: 300_000 }), pieces(100_000, 100_000, 100_000));
    await writer.finish();
    expect(most).toBe(1);
    const failing = new TarWriter(() => Promise.reject(new Error('no space')));
    await failing.entry(entry('dir', 'd'));
    await expect(failing.finish()).rejects.toThrow('no space');
  });
});

test('equal input gives equal bytes', async () => {
  const first = await write(ENTRIES);
  expect((await write(ENTRIES)).equals(first)).toBe(true);
});
