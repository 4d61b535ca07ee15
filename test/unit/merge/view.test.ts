/** Paths are resolved as path_resolution(7) says, inside the image: the expectations are the kernel's, made by hand. */
import {
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LaminaError } from '../../../src/errors.js';
import { ImageView } from '../../../src/merge/view.js';
import { dir, file, hardlink, symlink, whiteout } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';
import { withView } from '../../helpers/view.js';

/** `l1 -> l2 -> ... -> lN -> file`: N links to follow from l1. */
function chain(length: number): Stack[number] {
  return Array.from({ length }, (_, index) =>
    symlink(`l${index + 1}`, index + 1 === length ? 'file' : `l${index + 2}`),
  );
}

const STACK: Stack = [
  [
    dir('etc'),
    file('etc/passwd', 'root:x:0:0'),
    dir('usr'),
    dir('usr/bin'),
    file('usr/bin/tool', 'tool'),
    symlink('bin', 'usr/bin'),
    symlink('absolute', '/etc/passwd'),
    symlink('outside', '../../../../etc/passwd'),
    symlink('usr/up', '..'),
    symlink('usr/bin/etc', '/etc/'),
    symlink('dangling', 'nowhere'),
    symlink('loop-a', 'loop-b'),
    symlink('loop-b', 'loop-a'),
    symlink('self', 'self/x'),
    symlink('slashed', 'etc/passwd/'),
    file('caf\xc3\xa9', 'utf8'),
    file('\xff\xfe', 'bytes'),
  ],
];

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof LaminaError) return error.code;
    throw error;
  }
  return 'none';
}

describe('resolving', () => {
  test.each<[path: string, realpath: string]>([
    ['/', '/'],
    ['', 'ENOENT'],
    ['.', '/'],
    ['..', '/'],
    ['/../../etc', '/etc'],
    ['etc/passwd', '/etc/passwd'],
    ['//etc///passwd', '/etc/passwd'],
    ['/etc/./passwd', '/etc/passwd'],
    ['/bin', '/usr/bin'],
    ['/bin/', '/usr/bin'],
    ['/bin/tool', '/usr/bin/tool'],
    ['/bin/../bin/tool', '/usr/bin/tool'],
    ['/bin/../tool', 'ENOENT'],
    ['/bin/../../bin/tool', '/usr/bin/tool'],
    ['/absolute', '/etc/passwd'],
    ['/outside', '/etc/passwd'],
    ['/usr/up/etc', '/etc'],
    ['/usr/up/usr/up', '/'],
    ['/bin/etc/passwd', '/etc/passwd'],
    ['/dangling', 'ENOENT'],
    ['/loop-a', 'ELOOP'],
    ['/self', 'ELOOP'],
    ['/slashed', 'ENOTDIR'],
    ['/etc/passwd/', 'ENOTDIR'],
    ['/etc/passwd/.', 'ENOTDIR'],
    ['/etc/passwd/..', 'ENOTDIR'],
    ['/etc/passwd/x', 'ENOTDIR'],
    ['/nowhere/x', 'ENOENT'],
    ['/nowhere/..', 'ENOENT'],
    ['/etc\0/passwd', 'ENOENT'],
    ['/\xff\xfe', '/\xff\xfe'],
    ['/caf\xc3\xa9', '/caf\xc3\xa9'],
  ])('%j is %j', async (path, expected) => {
    await withView(STACK, (view) => {
      if (/^E[A-Z]+$/.test(expected)) expect(codeOf(() => view.realpath(path))).toBe(expected);
      else {
        expect(view.realpath(path)).toBe(expected);
        // Again, now that the directory is remembered.
        expect(view.realpath(path)).toBe(expected);
      }
    });
  });

  test('agrees with the kernel on a real directory', async () => {
    const root = mkdtempSync(join(tmpdir(), 'lamina-real-'));
    try {
      mkdirSync(join(root, 'a/b/c'), { recursive: true });
      writeFileSync(join(root, 'a/b/file'), '');
      symlinkSync('b/c', join(root, 'a/link'));
      symlinkSync('../../b', join(root, 'a/b/c/back'));
      symlinkSync('link/back/file', join(root, 'a/far'));
      const stack: Stack = [
        [
          dir('a/b/c'),
          file('a/b/file'),
          symlink('a/link', 'b/c'),
          symlink('a/b/c/back', '../../b'),
          symlink('a/far', 'link/back/file'),
        ],
      ];
      const names = ['a', 'b', 'c', 'file', 'link', 'back', 'far', '..', '.', ''];
      await withView(stack, (view) => {
        let tried = 0;
        for (const first of names)
          for (const second of names)
            for (const third of names)
              for (const fourth of ['', 'back/file', '..', 'link/..']) {
                const path = `a/${first}/${second}/${third}/${fourth}`;
                // What leads above the directory is another directory's there, and the root here.
                const depth = path.split('/').filter((name) => name === '..').length;
                if (depth > 1) continue;
                expect([path, attempt(() => view.realpath(path))]).toEqual([
                  path,
                  attempt(() => realpathSync.native(`${root}/${path}`).slice(root.length) || '/'),
                ]);
                tried++;
              }
        expect(tried).toBeGreaterThan(2000);
      });
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test('follows 40 links and not 41, as the kernel', async () => {
    const root = mkdtempSync(join(tmpdir(), 'lamina-chain-'));
    try {
      writeFileSync(join(root, 'file'), '');
      for (let link = 1; link <= 41; link++)
        symlinkSync(link === 41 ? 'file' : `l${link + 1}`, join(root, `l${link}`));
      await withView([[file('file'), ...chain(41)]], (view) => {
        for (const start of ['l1', 'l2', 'l3']) {
          expect(attempt(() => view.stat(start).type)).toBe(
            attempt(() => (statSync(join(root, start)).isFile() ? 'file' : 'other')),
          );
        }
        expect(codeOf(() => view.stat('l1'))).toBe('ELOOP');
        expect(view.stat('l2').type).toBe('file');
        expect(readlinkSync(join(root, 'l1'))).toBe(view.readlink('l1'));
      });
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test('counts links over the whole path, also where a directory is remembered', async () => {
    const links = Array.from({ length: 30 }, (_, index) =>
      symlink(`d${index + 1}`, index === 29 ? 'dir' : `d${index + 2}`),
    );
    const stack: Stack = [
      [
        dir('dir'),
        file('dir/file'),
        ...chain(20).map((link) => ({ ...link, path: `dir/${link.path}` })),
        ...links,
      ],
    ];
    await withView(stack, (view) => {
      for (let round = 0; round < 2; round++) {
        expect(codeOf(() => view.stat('d1/l1'))).toBe('ELOOP');
        expect(view.stat('d1/l11').type).toBe('file');
        expect(view.stat('dir/l1').type).toBe('file');
      }
    });
  });

  test('errors say what was tried on what, as those of Node', async () => {
    await withView(STACK, (view) => {
      expect(() => view.lstat('/no\nsuch')).toThrow(
        "ENOENT: no such file or directory, lstat '/no\\x0asuch'",
      );
      try {
        view.readlink('/etc');
        expect.unreachable();
      } catch (error) {
        expect(error).toMatchObject({ code: 'EINVAL', syscall: 'readlink', path: '/etc', errno: 'EINVAL' });
      }
      expect(codeOf(() => view.readdir('/etc/passwd'))).toBe('ENOTDIR');
    });
  });
});

describe('reading', () => {
  test('lstat sees a link, stat what it leads to', async () => {
    await withView(STACK, (view) => {
      expect(view.lstat('/absolute').type).toBe('symlink');
      expect(view.stat('/absolute').type).toBe('file');
      // A slash at the end asks for what is behind the link: path_resolution(7).
      expect(view.lstat('/bin/').type).toBe('dir');
      expect(view.lstat('/bin').type).toBe('symlink');
    });
  });

  test('holes are zeros, wherever a read begins and ends', async () => {
    const runs = [
      { offset: 3, data: 'abc' },
      { offset: 1000, data: 'x'.repeat(700) },
      { offset: 5000, data: 'end' },
    ];
    const expected = Buffer.alloc(6000);
    for (const { offset, data } of runs) expected.write(data, offset);
    await withView([[file('sparse', { sizeBytes: 6000, runs })]], (view) => {
      const ino = view.resolve('/sparse');
      const buffer = Buffer.alloc(6001, 0xee);
      expect(view.read(ino, buffer, 0)).toBe(6000);
      expect(buffer.subarray(0, 6000).equals(expected)).toBe(true);
      for (const [position, length] of [
        [0, 1],
        [2, 3],
        [5, 1200],
        [999, 2],
        [1699, 2],
        [1700, 10],
        [5998, 10],
        [6000, 10],
        [9999, 1],
      ] as const) {
        const part = Buffer.alloc(length, 0xee);
        const count = view.read(ino, part, position);
        expect(part.subarray(0, count)).toEqual(expected.subarray(position, position + length));
      }
      expect(Buffer.concat([...view.chunks(ino, 1, 5500, 37)])).toEqual(expected.subarray(1, 5500));
    });
  });

  test('a file of a lower layer keeps its content under its other name', async () => {
    const stack: Stack = [[file('one', 'old'), hardlink('two', 'one')], [file('one', 'new')]];
    await withView(stack, (view) => {
      const text = (path: string): string => Buffer.concat([...view.chunks(view.resolve(path))]).toString();
      expect([text('one'), text('two')]).toEqual(['new', 'old']);
    });
  });

  test('walks in byte order, a directory before what is in it, and not through links', async () => {
    const stack: Stack = [
      [
        dir('b'),
        file('b/z'),
        file('b/a'),
        symlink('c', 'b'),
        file('b.x'),
        file('\xff'),
        file('B'),
        file('gone'),
      ],
      [whiteout('gone')],
    ];
    await withView(stack, (view) => {
      const walked = [...view.walk()].map(({ path, depth }) => `${depth} ${path}`);
      expect(walked).toEqual(['0 /', '1 /B', '1 /b', '2 /b/a', '2 /b/z', '1 /b.x', '1 /c', '1 /\xff']);
      const shallow = [...view.walk(undefined, ({ depth }) => depth < 1)].map(({ name }) => name);
      expect(shallow).toEqual(['/', 'B', 'b', 'b.x', 'c', '\xff']);
    });
  });

  test('refuses what does not fit together', async () => {
    await withView(STACK, (view, layerTocs) => {
      expect(() => new ImageView(layerTocs[0]!, view.sources)).toThrow(TypeError);
      expect(() => new ImageView(view.toc, [])).toThrow(RangeError);
    });
  });
});

function attempt(run: () => string): string {
  try {
    return run();
  } catch (error) {
    return (error as { code: string }).code;
  }
}
