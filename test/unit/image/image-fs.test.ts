/** ImageFs against Node's own fs on a real directory with the same files: shapes, values and errors must be the same. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageFs } from '../../../src/image/image-fs.js';
import { chardev, dir, file, hardlink, symlink } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';
import { withView } from '../../helpers/view.js';

const STACK: Stack = [
  [
    dir('.', { mode: 0o755 }),
    dir('d', { mode: 0o750 }),
    file('d/text', 'h\xc3\xa9llo\n', { mode: 0o640, mtime: [1_600_000_000, 123_456_789] }),
    hardlink('d/other', 'd/text'),
    dir('d/sub'),
    file('d/sub/deep', '0123456789'),
    file('empty', ''),
    symlink('link', 'd/text'),
    symlink('dirlink', 'd'),
    symlink('dangling', 'nowhere'),
  ],
];

const root = fs.mkdtempSync(join(tmpdir(), 'lamina-image-fs-'));

beforeAll(() => {
  fs.chmodSync(root, 0o755);
  fs.mkdirSync(join(root, 'd/sub'), { recursive: true });
  fs.writeFileSync(join(root, 'd/text'), 'h\u00e9llo\n');
  fs.chmodSync(join(root, 'd'), 0o750);
  fs.chmodSync(join(root, 'd/sub'), 0o755);
  fs.chmodSync(join(root, 'd/text'), 0o640);
  fs.linkSync(join(root, 'd/text'), join(root, 'd/other'));
  fs.writeFileSync(join(root, 'd/sub/deep'), '0123456789', { mode: 0o644 });
  fs.writeFileSync(join(root, 'empty'), '', { mode: 0o644 });
  fs.symlinkSync('d/text', join(root, 'link'));
  fs.symlinkSync('d', join(root, 'dirlink'));
  fs.symlinkSync('nowhere', join(root, 'dangling'));
});

afterAll(() => fs.rmSync(root, { recursive: true }));

const PATHS = [
  '/',
  '/d',
  '/d/',
  '/d/text',
  '/d/text/',
  '/d/other',
  '/empty',
  '/link',
  '/dirlink',
  '/dirlink/',
  '/dangling',
  '/nope',
  '/d/text/x',
  '/link/x',
  '/dirlink/text',
];

type Both = Pick<
  typeof fs.promises,
  'readFile' | 'readdir' | 'stat' | 'lstat' | 'readlink' | 'realpath' | 'access'
>;

/** What both say, or the code and the words of the error with the place taken out. */
async function compared(
  call: (fs: Both, path: (path: string) => string) => Promise<unknown>,
): Promise<[unknown, unknown]> {
  return withView(STACK, async (view) => {
    const ours = new ImageFs(view) as unknown as Both;
    const outcome = async (of: Both, at: (path: string) => string): Promise<unknown> => {
      try {
        return await call(of, at);
      } catch (error) {
        const { code, syscall, message } = error as NodeJS.ErrnoException;
        return {
          code,
          syscall, // Node leaves the path out where only a descriptor was read.
          message: message.replaceAll(root, '').replace(/, read '.*'$/, ', read'),
        };
      }
    };
    return [await outcome(ours, (path) => path), await outcome(fs.promises, (path) => root + path)];
  });
}

describe.each(PATHS)('%s', (path) => {
  test.each<[name: string, call: (fs: Both, path: string) => Promise<unknown>]>([
    ['readFile', (of, at) => of.readFile(at)],
    ['readFile as text', (of, at) => of.readFile(at, 'utf8')],
    ['readFile as hex', (of, at) => of.readFile(at, { encoding: 'hex' })],
    ['readdir', async (of, at) => (await of.readdir(at)).sort()],
    [
      'readdir, recursive',
      async (of, at) =>
        // Node goes through links to directories here, and for ever where they lead upwards; we do not.
        (await of.readdir(at, { recursive: true })).filter((name) => !name.startsWith('dirlink/')).sort(),
    ],
    [
      'readdir with types',
      async (of, at) =>
        (await of.readdir(at, { withFileTypes: true }))
          .map((entry) => [
            entry.name,
            entry.parentPath.replace(root, '') || '/',
            entry.isFile(),
            entry.isDirectory(),
            entry.isSymbolicLink(),
          ])
          .sort(),
    ],
    ['stat', async (of, at) => shape(await of.stat(at))],
    ['lstat', async (of, at) => shape(await of.lstat(at))],
    ['readlink', (of, at) => of.readlink(at)],
    ['realpath', async (of, at) => (await of.realpath(at)).replace(root, '') || '/'],
    ['access', (of, at) => of.access(at)],
  ])('%s', async (_, call) => {
    const [ours, theirs] = await compared((of, at) => call(of, at(path)));
    expect(ours).toEqual(theirs);
  });
});

/** Of a directory size, nlink and times are the filesystem's own business. */
function shape(stats: fs.Stats): unknown {
  return {
    mode: stats.mode,
    kind: [
      stats.isFile(),
      stats.isDirectory(),
      stats.isSymbolicLink(),
      stats.isFIFO(),
      stats.isSocket(),
      stats.isBlockDevice(),
      stats.isCharacterDevice(),
    ],
    ...(stats.isDirectory() ? {} : { size: stats.size, nlink: stats.nlink }),
  };
}

test('times are exact, devices have a number, layers are told', async () => {
  const stack: Stack = [
    STACK[0]!,
    [file('late', '', { mtime: [-2, 500_000_000] }), chardev('null', [1, 3]), chardev('big', [300, 70_000])],
  ];
  await withView(stack, async (view) => {
    const image = new ImageFs(view);
    expect((await image.stat('/d/text')).mtimeNs).toBe(1_600_000_000_123_456_789n);
    expect((await image.stat('/d/text')).mtime).toEqual(new Date(1_600_000_000_123));
    expect((await image.stat('/late')).mtimeNs).toBe(-1_500_000_000n);
    expect((await image.stat('/late')).mtimeMs).toBe(-1500);
    expect((await image.stat('/null')).rdev).toBe(fs.statSync('/dev/null').rdev);
    // python3 -c 'import os; print(os.makedev(300, 70000))'
    expect((await image.stat('/big')).rdev).toBe(286338160);
    expect([(await image.stat('/late')).layer, (await image.stat('/d')).layer]).toEqual([1, 0]);
    expect((await image.stat('/d/text')).ino).toBe((await image.stat('/d/other')).ino);
  });
});

test('streams ranges as Node does, and errors through the stream', async () => {
  await withView(STACK, async (view) => {
    const image = new ImageFs(view);
    for (const range of [
      {},
      { start: 2 },
      { start: 2, end: 5 },
      { end: 0 },
      { start: 9, end: 99 },
      { start: 50 },
      { highWaterMark: 3 },
    ]) {
      const [ours, theirs] = [
        image.createReadStream('/d/sub/deep', range),
        fs.createReadStream(join(root, 'd/sub/deep'), range),
      ];
      expect(await text(ours)).toBe(await text(theirs));
    }
    expect(await text(image.createReadStream('/d/text', { encoding: 'utf8' }))).toBe('h\u00e9llo\n');
    await expect(text(image.createReadStream('/nope'))).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'open',
    });
    await expect(text(image.createReadStream('/d'))).rejects.toMatchObject({ code: 'EISDIR' });
    expect(() => image.createReadStream('/d/text', { start: 5, end: 2 })).toThrow(RangeError);
  });
});

test('names that are not UTF-8 are reached by their bytes', async () => {
  const stack: Stack = [
    [file('x\xff', 'bytes', { xattrs: [['user.key', '\0\xff\n']] }), symlink('l', '\xfe')],
  ];
  await withView(stack, async (view) => {
    const image = new ImageFs(view);
    expect(await image.readdir('/')).toEqual(['l', 'x\ufffd']);
    const [, entry] = await image.readdir('/', { withFileTypes: true });
    expect(entry!.nameBytes).toEqual(Buffer.from([0x78, 0xff]));
    expect(await image.readFile(Buffer.from([0x78, 0xff]), 'utf8')).toBe('bytes');
    expect(await image.exists('/x\ufffd')).toBe(false);
    expect(await image.readlink('/l', 'buffer')).toEqual(Buffer.from([0xfe]));
    expect(await image.xattrs(Buffer.from([0x78, 0xff]))).toEqual(
      new Map([['user.key', Buffer.from([0, 0xff, 10])]]),
    );
    await expect(image.readFile(7 as never)).rejects.toThrow(TypeError);
  });
});
