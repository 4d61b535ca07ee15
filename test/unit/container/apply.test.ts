/** `lamina-fuse scan` and `apply`: what one reads the other makes, byte for byte, and no link leads either out of its root. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Applier } from '../../../src/container/apply.js';
import type { AppliedAttributes } from '../../../src/container/apply.js';
import { fromDisk } from '../../../src/container/copy-source.js';
import { ScanParser, scanDirectory } from '../../../src/container/scan.js';
import { serverBinary } from '../../../src/server-binary.js';
import { dumpDirectory } from '../../helpers/dump-directory.js';
import { isLaminaBuilt } from '../../helpers/lamina.js';
import { isRoot, requirement } from '../../helpers/require.js';
import { dir, file, fifo, hardlink, symlink, chardev } from '../../helpers/stack.js';
import { unpackFlat } from '../../helpers/unpack.js';

const FILE: AppliedAttributes = {
  type: 'file',
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  sizeBytes: 1,
  mtimeSec: 1_600_000_000,
  mtimeNsec: 1,
  rdevMajor: 0,
  rdevMinor: 0,
  target: '',
  xattrs: undefined,
};
const X = [Buffer.from('x')];

let base: string;
let root: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-apply-'));
  root = join(base, 'root');
  mkdirSync(root);
  mkdirSync(join(base, 'outside'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** Puts one file at each path. */
async function put(paths: readonly string[], options: { noLinks?: boolean } = {}): Promise<void> {
  const applier = new Applier(root, options);
  for (const path of paths) await applier.put(path, FILE, X);
  await applier.finish('cannot copy to');
}

describe.skipIf(!requirement('the native server', isLaminaBuilt('native')))('apply', () => {
  test.skipIf(!requirement('root', isRoot()))('makes what scan reads', async () => {
    const source = join(base, 'source');
    await unpackFlat(
      [
        [
          dir('.', { mode: 0o751, uid: 3, mtime: [-2, 500_000_000] }),
          dir('d', { mode: 0, gid: 70_000 }),
          file('d/\xff\xfe', 'bytes', {
            mode: 0o4711,
            uid: 3_000_000,
            mtime: [1_600_000_000, 123_456_789],
            xattrs: [
              ['user.k', '\0\n\xff'],
              ['trusted.e', ''],
            ],
          }),
          hardlink('d/again', 'd/\xff\xfe'),
          symlink('d/link', '/etc/\xffx', { uid: 9, mtime: [5, 6], xattrs: [['trusted.l', 'v']] }),
          fifo('fifo', { mode: 0o600 }),
          chardev('null', [1, 3]),
          file('n'.repeat(255), 'x'.repeat(300_000)),
        ],
      ],
      source,
    );
    const disk = await fromDisk(source, false);
    const applier = new Applier(root, { chown: true });
    const first = new Map<string, string>();
    for (const { path, file: attributes, identity, content } of disk.items()) {
      const made = identity === undefined ? undefined : first.get(identity);
      if (made !== undefined) await applier.link(path, made);
      else await applier.put(path, attributes, content());
      if (identity !== undefined) first.set(identity, path);
    }
    disk.close();
    expect(await applier.finish('cannot copy to')).toEqual({ lostXattrs: 0 });
    expect(await dumpDirectory(root)).toBe(await dumpDirectory(source));
  });

  test('follows links inside its root only', async () => {
    symlinkSync('/inner', join(root, 'absolute'));
    symlinkSync('../../../../inner', join(root, 'climbing'));
    symlinkSync(join(base, 'outside'), join(root, 'out'));
    mkdirSync(join(root, 'inner'));
    await put(['absolute/a', 'climbing/b', '../inner/c', '/inner/d']);
    expect(readdirSync(join(root, 'inner')).sort()).toEqual(['a', 'b', 'c', 'd']);
    // A link that leads nowhere inside is not made to.
    await expect(put(['out/x'])).rejects.toMatchObject({ path: 'out/x' });
    expect(readdirSync(join(base, 'outside'))).toEqual([]);
  });

  test('replaces a link at the end, whatever it leads to', async () => {
    writeFileSync(join(base, 'outside/file'), 'untouched');
    symlinkSync(join(base, 'outside/file'), join(root, 'link'));
    await put(['link']);
    expect(readFileSync(join(base, 'outside/file'), 'utf8')).toBe('untouched');
    expect(readFileSync(join(root, 'link'), 'utf8')).toBe('x');
  });

  test('refuses links on the way where it is asked to', async () => {
    mkdirSync(join(root, 'd'));
    symlinkSync('d', join(root, 'link'));
    await expect(put(['link/x'], { noLinks: true })).rejects.toMatchObject({ code: 'ELOOP' });
    await expect(put(['../outside/x'], { noLinks: true })).rejects.toMatchObject({ errno: 'EXDEV' });
    expect(readdirSync(join(root, 'd'))).toEqual([]);
  });

  test('makes parents, keeps directories, and never puts one kind over the other', async () => {
    await put(['a/b/c']);
    expect(existsSync(join(root, 'a/b/c'))).toBe(true);
    await expect(put(['a/b'])).rejects.toMatchObject({ code: 'EISDIR', path: 'a/b' });
    const applier = new Applier(root);
    await applier.put('a/b/c', { ...FILE, type: 'dir', sizeBytes: 0 });
    await expect(applier.finish('cannot copy to')).rejects.toMatchObject({ code: 'EEXIST' });
    for (const path of ['', '.', '..', 'a/..'])
      await expect(put([path])).rejects.toMatchObject({ errno: 'EINVAL' });
  });

  test('notices content that is too short or too long', async () => {
    const applier = new Applier(root);
    await expect(applier.put('f', { ...FILE, sizeBytes: 2 }, X)).rejects.toMatchObject({ code: 'EIO' });
    await applier.abort();
  });

  test.each([
    ['', 'cut'],
    ['no stream', 'no'],
    ['LAMAPPL1', 'cut'],
    ['LAMAPPL1\x05\0\0\0', 'cut'],
    ['LAMAPPL1\xff\xff\xff\xff', 'cut'],
    [`LAMAPPL1${'\x48\0\0\0'.padEnd(72, '\xff')}`, 'cut'],
  ])('refuses the stream %j', (stream) => {
    const { status, stderr } = spawnSync(serverBinary(), ['apply', root], {
      input: Buffer.from(stream, 'latin1'),
    });
    expect([status, stderr.toString()]).toEqual([1, expect.stringMatching(/^errno=74 EBADMSG stdin: /)]);
  });
});

describe.skipIf(!requirement('the native server', isLaminaBuilt('native')))('scan', () => {
  test('begins inside its root, links followed there or not', async () => {
    symlinkSync('/inner', join(root, 'link'));
    mkdirSync(join(root, 'inner'));
    writeFileSync(join(root, 'inner/f'), 'x');
    symlinkSync(join(base, 'outside'), join(root, 'out'));
    const names = async (options: Parameters<typeof scanDirectory>[1]): Promise<string[]> =>
      (await scanDirectory(root, options)).map(({ depth, name }) => `${depth}${name}`);
    expect(await names({ inRoot: 'link' })).toEqual(['0', '1f']);
    expect(await names({ inRoot: '/link/../inner' })).toEqual(['0', '1f']);
    expect(await names({ depth: 0 })).toEqual(['0']);
    const [link] = await scanDirectory(root, { inRoot: 'link', follow: false });
    expect(link).toMatchObject({ depth: 0, target: '/inner' });
    await expect(names({ inRoot: 'out' })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(names({ inRoot: '/proc/self/root' })).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('of a deep tree needs no more than there is', async () => {
    execFileSync('python3', [
      '-c',
      'import os, sys; os.chdir(sys.argv[1])\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")',
      root,
    ]);
    expect(await scanDirectory(root)).toHaveLength(3001);
    execFileSync('rm', ['-rf', join(root, 'd')]);
  });

  test('notices a stream that is cut short, wherever', () => {
    writeFileSync(join(root, 'file'), '');
    symlinkSync('target', join(root, 'link'));
    const { stdout } = spawnSync(serverBinary(), ['scan', root]);
    const parse = (bytes: Buffer, piece = bytes.length): number => {
      const parser = new ScanParser();
      for (let at = 0; at < bytes.length; at += piece) parser.push(bytes.subarray(at, at + piece));
      return parser.finish().length;
    };
    expect([parse(stdout), parse(stdout, 1), parse(stdout, 7)]).toEqual([3, 3, 3]);
    for (let length = 0; length < stdout.length; length++)
      expect(() => parse(stdout.subarray(0, length)), String(length)).toThrow('cut short');
    expect(() => parse(Buffer.from('LAMSCAN2'))).toThrow('damaged');
  });
});
