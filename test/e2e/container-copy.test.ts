/**
 * `lamina cp` through the built command: where docker puts things (docs/reference/commandline/container_cp.md), with and without a
 * mount, and that nothing of a hostile container or tar leads out of the root.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { MAIN } from '../helpers/fs-image.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { rawEntry, rawTar } from '../helpers/raw-tar.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file, hardlink, ociLayout, symlink } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const STACK: Stack = [
  [
    dir('.'),
    dir('etc', { mode: 0o750, uid: 5, gid: 6 }),
    file('etc/passwd', 'inside\n', {
      uid: 5,
      mtime: [1_600_000_000, 123_456_789],
      xattrs: [['user.k', '\0\xff']],
    }),
    hardlink('etc/same', 'etc/passwd'),
    symlink('etc/link', 'passwd'),
    dir('tmp', { mode: 0o1777 }),
    symlink('absolute', '/etc'),
    symlink('climbing', '../../../../../../../../etc'),
    symlink('outfile', '../../../../../../../../tmp/lamina-escape'),
    symlink('dangling', 'tmp/made'),
  ],
];

const capable =
  needs('root', '/dev/fuse', 'command python3') &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!capable)('lamina cp', () => {
  let scratch: Scratch;
  let root: string;
  let image: string;
  let work: string;
  beforeAll(() => {
    scratch = new Scratch('cp');
    // A table of mounts of its own, so that no other test's are in it.
    process.env['LAMINA_RUN'] = scratch.directory('run');
    image = join(scratch.directory('image'), 'layout');
    ociLayout(STACK, image);
    root = scratch.directory('root');
  });
  afterAll(async () => {
    await ok('rm', '-f', 'web');
    scratch.close();
  });
  beforeEach(async () => {
    await ok('rm', '-f', 'web');
    await ok('create', '--name', 'web', `oci:${image}`);
    work = scratch.directory('work');
  });

  const run = (...args: string[]) => lamina(args, root);
  const ok = (...args: string[]): Promise<string> => laminaOk(args, root);
  const at = (...names: string[]): string => join(work, ...names);
  const inside = async (path: string): Promise<string> => {
    const target = join(scratch.directory('inside'), 'x');
    await ok('cp', `web:${path}`, target);
    return readFileSync(target, 'utf8');
  };
  const withInput = (input: Buffer, ...args: string[]): { status: number | null; stderr: string } => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
      input,
      env: { ...process.env, LAMINA_ROOT: root },
    });
    return { status, stderr: stderr.toString() };
  };

  describe('out of a container', () => {
    test('puts things where docker does', async () => {
      mkdirSync(at('dir'));
      await ok('cp', 'web:/etc/passwd', at('dir'));
      await ok('cp', 'web:/etc/passwd', at('renamed'));
      await ok('cp', 'web:etc', at('dir'));
      await ok('cp', 'web:/etc', at('etc2'));
      await ok('cp', 'web:/etc/.', at('etc3'));
      mkdirSync(at('into'));
      await ok('cp', 'web:/etc/.', at('into'));
      await ok('cp', 'web:/etc/link', at('dir'));
      await ok('cp', '-L', 'web:/etc/link', at('into'));
      const found = readdirSync(work, { recursive: true, encoding: 'utf8' }).sort();
      const etc = (of: string): string[] => [
        of,
        ...['link', 'passwd', 'same'].map((name) => `${of}/${name}`),
      ];
      expect(found).toEqual(
        [
          'dir',
          ...etc('dir/etc'),
          'dir/link',
          'dir/passwd',
          'renamed',
          ...etc('etc2'),
          ...etc('etc3'),
          ...etc('into'),
        ].sort(),
      );
      expect(readlinkSync(at('dir/link'))).toBe('passwd');
      // A link that is followed keeps its name.
      expect(lstatSync(at('into/link')).isFile()).toBe(true);
      expect(statSync(at('etc2/passwd')).ino).toBe(statSync(at('etc2/same')).ino);
    });

    test('keeps attributes, and owners with -a', async () => {
      await ok('cp', 'web:/etc', at('plain'));
      await ok('cp', '-a', 'web:/etc', at('archive'));
      const lines = async (path: string): Promise<string[]> => (await dumpDirectory(path)).trim().split('\n');
      expect((await lines(at('archive')))[0]).toBe('/ d 0750 - 5:6 - 1700000000.000000000 - - -');
      expect((await lines(at('plain')))[0]).toBe('/ d 0750 - 0:0 - 1700000000.000000000 - - -');
      const [, passwd] = (await lines(at('archive'))).filter(
        (line) => line.startsWith('/') && !line.includes(' l '),
      );
      expect(passwd).toMatch(/^\/passwd f 0644 2 5:0 - 1600000000.123456789 7 sha256:\S+ user.k=00ff$/);
    });

    test('streams a tar', async () => {
      const tar = await ok('cp', 'web:/etc', '-');
      const names = execFileSync('tar', ['-t'], { input: Buffer.from(tar, 'latin1'), encoding: 'utf8' });
      expect(names.trim().split('\n')).toEqual(['etc/', 'etc/link', 'etc/passwd', 'etc/same']);
    });

    test('never follows a link out of the root', async () => {
      for (const [source, expected] of [
        ['/absolute/passwd', 'inside\n'],
        ['/climbing/passwd', 'inside\n'],
        ['/etc/../../../etc/passwd', 'inside\n'],
      ] as const)
        expect(await inside(source)).toBe(expected);
      expect((await run('cp', '-L', 'web:/outfile', at('x'))).stderr).toMatch(
        /Could not find the file .*\[ENOENT\]/,
      );
      // Nor into one that stands where things are copied to.
      mkdirSync(at('target/etc'), { recursive: true });
      mkdirSync(at('outside'));
      writeFileSync(at('outside/passwd'), 'untouched');
      symlinkSync(at('outside/passwd'), at('target/etc/passwd'));
      await ok('cp', 'web:/etc', at('target'));
      expect(readFileSync(at('outside/passwd'), 'utf8')).toBe('untouched');
      rmSync(at('target/etc'), { recursive: true });
      symlinkSync(at('outside'), at('target/etc'));
      expect((await run('cp', 'web:/etc', at('target'))).stderr).toContain('[EEXIST]');
      expect(readdirSync(at('outside'))).toEqual(['passwd']);
    });

    test.each([
      [['web:/none', 'x'], 'Could not find the file /none in container'],
      [['web:/etc/passwd', 'none/'], 'no such directory'],
      [['web:/etc/passwd', 'none/x'], 'invalid output path: directory'],
      [['web:/etc', 'file'], 'cannot copy directory'],
      [['web:/etc/passwd', 'web:/x'], 'copying between containers is not supported'],
      [['./a', './b'], 'must specify at least one container source'],
      [['none:/x', 'y'], 'No such container: none'],
    ])('%j is refused', async ([source, target], message) => {
      writeFileSync(at('file'), '');
      const place = target!.includes(':') || target!.startsWith('.') ? target! : `${work}/${target!}`;
      const { exitCode, stderr } = await run('cp', source!, place);
      expect(exitCode).not.toBe(0);
      expect(stderr).toContain(message);
    });
  });

  describe.each(['without a mount', 'through a mount'])('into a container, %s', (how) => {
    let mountpoint: string;
    beforeEach(async () => {
      mountpoint = scratch.directory('mnt');
      if (how === 'through a mount') await ok('mount', 'web', mountpoint);
      return async () => {
        if (how === 'through a mount') await ok('umount', mountpoint);
        expect(await ok('mounts', '-q')).toBe('');
        expect((await run('container', 'check', 'web')).stdout).toBe('');
      };
    });

    test('puts things where docker does', async () => {
      mkdirSync(at('src/sub'), { recursive: true });
      writeFileSync(at('src/one'), 'one');
      writeFileSync(at('src/sub/two'), 'two');
      await ok('cp', at('src/one'), 'web:/tmp');
      await ok('cp', at('src/one'), 'web:/tmp/renamed');
      await ok('cp', at('src/one'), 'web:/etc/passwd');
      await ok('cp', at('src'), 'web:/tmp');
      await ok('cp', at('src'), 'web:/tmp/new');
      await ok('cp', `${at('src')}/.`, 'web:/etc');
      await ok('cp', at('src/one'), 'web:/dangling');
      expect((await ok('diff', 'web')).trim().split('\n')).toEqual([
        'C /etc',
        'A /etc/one',
        'C /etc/passwd',
        'A /etc/sub',
        'A /etc/sub/two',
        'C /tmp',
        'A /tmp/made',
        'A /tmp/new',
        'A /tmp/new/one',
        'A /tmp/new/sub',
        'A /tmp/new/sub/two',
        'A /tmp/one',
        'A /tmp/renamed',
        'A /tmp/src',
        'A /tmp/src/one',
        'A /tmp/src/sub',
        'A /tmp/src/sub/two',
      ]);
      // The other name of what was replaced is what it was.
      expect([await inside('/etc/passwd'), await inside('/etc/same')]).toEqual(['one', 'inside\n']);
    });

    test('keeps attributes, and owners with -a', async () => {
      writeFileSync(at('f'), 'x', { mode: 0o640 });
      execFileSync('setfattr', ['-n', 'user.k', '-v', '0x00ff', at('f')]);
      execFileSync('ln', [at('f'), at('g')]);
      execFileSync('chown', ['7:8', at('f')]);
      execFileSync('touch', ['-d', '@1500000000.123456789', at('f')]);
      await ok('cp', `${work}/.`, 'web:/tmp');
      await ok('cp', '-a', at('f'), 'web:/tmp/a');
      await ok('cp', '-a', 'web:/tmp', at('out'));
      const dump = await dumpDirectory(at('out'));
      expect(dump).toMatch(/^\/f f 0640 2 0:0 - 1500000000.123456789 1 sha256:\S+ user.k=00ff$/m);
      expect(dump).toMatch(/^\/g h \/f$/m);
      expect(dump).toMatch(/^\/a f 0640 1 7:8 - 1500000000.123456789 1 sha256:\S+ user.k=00ff$/m);
    });

    test('unpacks a tar into a directory, and only there', async () => {
      const tar = rawTar([
        rawEntry({ name: 'd/', typeflag: '5', mode: 0o700 }),
        rawEntry({ name: '/d/absolute', typeflag: '0' }, Buffer.from('a')),
        rawEntry({ name: './d/linked', typeflag: '1', linkName: 'd/absolute' }),
        rawEntry({ name: 'escape', typeflag: '2', linkName: '/etc' }),
        rawEntry({ name: 'escape/through', typeflag: '0' }, Buffer.from('t')),
        rawEntry({ name: 'up', typeflag: '2', linkName: '../../../../../../../../../../tmp' }),
        rawEntry({ name: 'up/lamina-escape', typeflag: '0' }, Buffer.from('t')),
      ]);
      expect(withInput(tar, 'cp', '-', 'web:/tmp')).toEqual({ status: 0, stderr: '' });
      expect(withInput(gzipSync(tar), 'cp', '-', 'web:/tmp')).toEqual({ status: 0, stderr: '' });
      expect(withInput(gzipSync(tar).subarray(0, 150), 'cp', '-', 'web:/tmp').stderr).toContain('[EBADTAR]');
      expect((await ok('diff', 'web')).trim().split('\n')).toEqual([
        'C /etc',
        'A /etc/through',
        'C /tmp',
        'A /tmp/d',
        'A /tmp/d/absolute',
        'A /tmp/d/linked',
        'A /tmp/escape',
        'A /tmp/lamina-escape',
        'A /tmp/up',
      ]);
      expect(existsSync('/etc/through')).toBe(false);
      expect(existsSync('/tmp/lamina-escape')).toBe(false);
    });

    test('refuses a tar that leads out of it', async () => {
      const entry = (name: string, more: Partial<Parameters<typeof rawEntry>[0]> = {}): Buffer =>
        rawTar([rawEntry({ name, typeflag: '0', ...more })]);
      for (const tar of [
        entry('../x'),
        entry('a/../../x'),
        entry('..'),
        entry('x', { typeflag: '1', linkName: '../../etc/passwd' }),
      ]) {
        const { status, stderr } = withInput(tar, 'cp', '-', 'web:/tmp');
        expect([status, stderr]).toEqual([1, expect.stringContaining('[EBADPATH]')]);
      }
      expect(
        withInput(entry('x', { typeflag: '1', linkName: 'none' }), 'cp', '-', 'web:/tmp').stderr,
      ).toContain('[ENOENT]');
      expect(withInput(Buffer.from('no tar at all'.repeat(100)), 'cp', '-', 'web:/tmp').stderr).toContain(
        '[EBADTAR]',
      );
      expect(withInput(entry('x'), 'cp', '-', 'web:/etc/passwd').stderr).toContain(
        'destination "web:/etc/passwd" must be a directory',
      );
    });

    test('never follows a link out of the root', async () => {
      writeFileSync(at('f'), 'new');
      await ok('cp', at('f'), 'web:/absolute/one');
      await ok('cp', at('f'), 'web:/climbing/two');
      await ok('cp', at('f'), 'web:/outfile');
      await ok('cp', at('f'), 'web:/../../etc/three');
      expect((await ok('diff', 'web')).trim().split('\n')).toEqual([
        'C /etc',
        'A /etc/one',
        'A /etc/three',
        'A /etc/two',
        'C /tmp',
        'A /tmp/lamina-escape',
      ]);
      expect(existsSync('/tmp/lamina-escape')).toBe(false);
      expect(existsSync('/etc/one')).toBe(false);
    });

    test('replaces no directory by something else, and nothing by a directory', async () => {
      mkdirSync(at('src/passwd'), { recursive: true });
      expect((await run('cp', `${at('src')}/.`, 'web:/etc')).stderr).toContain('[EEXIST]');
      writeFileSync(at('src/tmp'), '');
      rmSync(at('src/passwd'), { recursive: true });
      expect((await run('cp', `${at('src')}/.`, 'web:/')).stderr).toContain('[EISDIR]');
      expect((await run('cp', at('src'), 'web:/etc/passwd')).stderr).toContain('cannot copy directory');
      expect((await run('cp', at('src/tmp'), 'web:/none/x')).stderr).toContain('[ENOENT]');
      expect((await run('cp', at('src/tmp'), 'web:/none/')).stderr).toContain('[ENOENT]');
    });
  });

  test('what a killed copy left mounted is taken down by the next', async () => {
    const large = at('large');
    execFileSync('truncate', ['-s', '3G', large]);
    const child = spawn(process.execPath, [MAIN, 'cp', large, 'web:/tmp'], {
      env: { ...process.env, LAMINA_ROOT: root },
      stdio: 'ignore',
    });
    while ((await ok('mounts', '-q')) === '') await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('exit', resolve));
    writeFileSync(at('small'), 'x');
    await ok('cp', at('small'), 'web:/tmp');
    expect(await ok('mounts', '-q')).toBe('');
    expect(await inside('/tmp/small')).toBe('x');
    await ok('rm', 'web');
  });
});
