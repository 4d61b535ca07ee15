/** The container commands through the built program: docker's words, what two processes do at once, and what a killed one leaves. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MAIN } from '../helpers/fs-image.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, dockerArchive, file, ociLayout, symlink } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const STACK: Stack = [
  [dir('.'), dir('etc'), file('etc/passwd', 'root:x:0:0::/root:/bin/sh\n'), file('etc/gone', 'gone')],
  [dir('usr'), file('usr/tool', 'x'.repeat(5000)), symlink('bin', 'usr')],
];

const built = requirement('the built command (npm run build)', isLaminaBuilt('native'));
const capable = built && needs('root', '/dev/fuse');

describe.skipIf(!capable)('containers', () => {
  let scratch: Scratch;
  let root: string;
  let layout: string;
  let image: string;
  beforeAll(() => {
    scratch = new Scratch('containers');
    // A table of mounts of its own, so that no other test's are in it.
    process.env['LAMINA_RUN'] = scratch.directory('run');
    layout = join(scratch.directory('image'), 'layout');
    ociLayout(STACK, layout);
    image = `oci:${layout}`;
    root = scratch.directory('root');
  });
  afterAll(() => scratch.close());
  afterEach(async () => {
    const ids = (await laminaOk(['ps', '-aq', '--no-trunc'], root)).split('\n').filter(Boolean);
    if (ids.length > 0) await laminaOk(['rm', '-f', ...ids], root);
  });

  const run = (...args: string[]) => lamina(args, root);
  const ok = (...args: string[]): Promise<string> => laminaOk(args, root);
  /** What is in the store besides its lock. */
  const stored = (): string[] => readdirSync(join(root, 'containers')).filter((name) => name !== '.lock');

  test('create, list, inspect, rename, remove', async () => {
    const id = (await ok('create', '--name', 'web', image)).trim();
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    const other = (await ok('container', 'create', image)).trim();
    expect(await ok('ps')).toBe('CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n');
    const lines = (await ok('ps', '-a', '-f', 'name=^web$')).split('\n');
    expect(lines[0]).toMatch(/^CONTAINER ID {3}IMAGE +COMMAND {3}CREATED +STATUS {4}PORTS {5}NAMES$/);
    expect(lines[1]!.split(/ {2,}/)).toEqual([
      id.slice(0, 12),
      image,
      '""',
      expect.stringMatching(/ago$/),
      'Created',
      'web',
    ]);
    expect(await ok('container', 'ls', '-aq', '--no-trunc')).toBe(`${other}\n${id}\n`);
    expect(await ok('ps', '-l', '--format', '{{.ID}}\\t{{json .Names}}', '-f', 'id=' + id)).toBe(
      `${id.slice(0, 12)}\t"web"\n`,
    );
    expect(
      JSON.parse(await ok('container', 'list', '-a', '-f', 'since=web', '--format', 'json')),
    ).toMatchObject({
      ID: other.slice(0, 12),
      State: 'created',
    });
    expect(await ok('ps', '-a', '-f', 'status=mounted', '-q')).toBe('');
    const [inspected] = JSON.parse(await ok('container', 'inspect', 'web')) as Record<string, unknown>[];
    expect(inspected).toMatchObject({
      Id: id,
      Name: '/web',
      Platform: 'linux/amd64',
      State: { Status: 'created' },
      GraphDriver: { Data: { UpperDir: join(root, 'containers', id, 'upper') } },
    });
    expect(await ok('rename', 'web', 'renamed')).toBe('');
    expect(await ok('container', 'inspect', '-f', '{{.Name}} {{.State.Mounted}}', id.slice(0, 5))).toBe(
      '/renamed false\n',
    );
    expect(await ok('rm', 'renamed', other.slice(0, 10))).toBe(`renamed\n${other.slice(0, 10)}\n`);
    expect(stored()).toEqual([]);
  });

  test('errors are docker\u2019s', async () => {
    const id = (await ok('create', '--name', 'web', image)).trim();
    const conflict = `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`;
    for (const [args, code, message] of [
      [['create', '--name', 'web', image], 'ENAME', conflict],
      [
        ['create', '--name', '-x', image],
        '',
        'Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed',
      ],
      [['rm', 'none'], 'ENOCONTAINER', 'No such container: none'],
      [['container', 'inspect', 'none'], 'ENOCONTAINER', 'No such container: none'],
      [['diff', 'none'], 'ENOCONTAINER', 'No such container: none'],
      [['ps', '-f', 'x=y'], 'EFILTER', "invalid filter 'x'"],
      [
        ['ps', '-f', 'x'],
        '',
        'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)',
      ],
      [
        ['ps', '-a', '--format', '{{.Nope}}'],
        'EFIELD',
        'template parsing error: template: :1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type *formatter.ContainerContext',
      ],
      [
        ['container', 'inspect', '-f', '{{.Nope}}', 'web'],
        'EFIELD',
        'template parsing error: template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"',
      ],
      [
        ['commit', '-p', '--no-pause', 'web', 'oci:x'],
        '',
        'conflicting options: --no-pause and --pause cannot be used together',
      ],
      [['commit', '-c', 'RUN x', 'web', 'oci:x'], '', 'run is not a valid change command'],
      [['mount', '-o', 'rw', image, '/mnt'], 'EROFS', 'an image cannot be mounted writable'],
    ] as const) {
      const { exitCode, stderr } = await run(...args);
      expect([args.join(' '), stderr]).toEqual([args.join(' '), expect.stringContaining(message)]);
      if (code !== '') expect(stderr).toContain(`[${code}]`);
      expect(exitCode).toBe(code === '' ? 125 : 1);
    }
    // What can be done is done.
    const { stdout, exitCode } = await run('rm', 'none', 'web');
    expect([stdout, exitCode]).toEqual(['web\n', 1]);
    expect((await run('rm', '-f', 'none')).exitCode).toBe(0);
  });

  test('one of many that ask for one name gets it', async () => {
    const results = await Promise.all(
      Array.from({ length: 6 }, () => run('create', '--name', 'only', image)),
    );
    const made = results.filter(({ exitCode }) => exitCode === 0);
    expect(made).toHaveLength(1);
    for (const { exitCode, stderr } of results) if (exitCode !== 0) expect(stderr).toContain('[ENAME]');
    expect(stored()).toEqual([made[0]!.stdout.trim()]);
  });

  test('killed at any moment, creating and removing leave whole containers or none', async () => {
    const children = Array.from({ length: 12 }, (_, index) => {
      const args = ['create', '--name', `killed${index}`, image];
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: { ...process.env, LAMINA_ROOT: root },
        stdio: 'ignore',
      });
      setTimeout(() => child.kill('SIGKILL'), 150 + index * 60);
      return new Promise((resolve) => child.on('exit', resolve));
    });
    await Promise.all(children);
    await ok('create', '--name', 'whole', image);
    const ids = (await ok('ps', '-aq', '--no-trunc')).split('\n').filter(Boolean);
    expect(stored().sort()).toEqual(ids.sort());
    for (const id of ids) expect(await ok('diff', id)).toBe('');
    const child = spawn(process.execPath, [MAIN, 'rm', ...ids], {
      env: { ...process.env, LAMINA_ROOT: root },
      stdio: 'ignore',
    });
    setTimeout(() => child.kill('SIGKILL'), 300);
    await new Promise((resolve) => child.on('exit', resolve));
    await ok('create', '--name', 'after', image);
    expect(stored().sort()).toEqual((await ok('ps', '-aq', '--no-trunc')).split('\n').filter(Boolean).sort());
  });

  test('the image is found again, or it is said that it has gone or changed', async () => {
    const own = scratch.directory('moving');
    const [place, away] = [join(own, 'layout'), join(own, 'away')];
    ociLayout(STACK, place);
    await ok('create', '--name', 'web', `oci:${place}:latest`);
    // Another image takes the tag: the container's own is meant all the same.
    ociLayout([[file('other', 'x')]], away);
    execFileSync('cp', ['-r', join(away, 'blobs'), place]);
    const index = (of: string): { manifests: unknown[] } =>
      JSON.parse(readFileSync(join(of, 'index.json'), 'utf8'));
    const [mine, theirs] = [index(place), index(away)];
    const untagged = { ...(mine.manifests[0] as object), annotations: {} };
    writeFileSync(
      join(place, 'index.json'),
      JSON.stringify({ ...mine, manifests: [...theirs.manifests, untagged] }),
    );
    expect(await ok('diff', 'web')).toBe('');
    writeFileSync(join(place, 'index.json'), JSON.stringify(theirs));
    expect((await run('diff', 'web')).stderr).toMatch(
      /the image of container "web" (is no longer|has changed).*\[EBASE\]/,
    );
    renameSync(place, `${place}.gone`);
    expect((await run('diff', 'web')).stderr).toContain(
      `the image of container "web" is gone: ${place} [EBASE]`,
    );
    expect((await run('commit', 'web', `oci:${own}/x`)).exitCode).toBe(1);
    expect(existsSync(join(own, 'x'))).toBe(false);
  });

  describe('mounted', () => {
    let dirs: string[];
    beforeEach(() => {
      dirs = [scratch.directory('mnt'), scratch.directory('mnt')];
      return async () => {
        for (const directory of (await ok('mounts', '-q')).split('\n').filter(Boolean))
          await ok('umount', directory);
      };
    });

    test('keeps what is written, and is not mounted twice', async () => {
      const [one, two] = dirs as [string, string];
      await ok('create', '--name', 'web', image);
      await ok('mount', 'web', one);
      writeFileSync(join(one, 'etc/new'), 'new');
      for (const args of [
        ['mount', 'web', two],
        ['rm', 'web'],
        ['container', 'check', 'web'],
      ]) {
        const { exitCode, stderr } = await run(...args);
        expect([args[0], exitCode, stderr]).toEqual([
          args[0],
          1,
          expect.stringMatching(/is mounted.*\[EINUSE\]/),
        ]);
      }
      expect(JSON.parse(await ok('ps', '--format', 'json'))).toMatchObject({
        Names: 'web',
        State: 'mounted',
        Mounts: one,
        Status: expect.stringMatching(/^Mounted /),
      });
      // Read while it is mounted.
      expect(await ok('diff', 'web')).toBe('C /etc\nA /etc/new\n');
      await ok('rename', 'web', 'other');
      await ok('umount', one);
      await ok('mount', '-o', 'ro', 'other', two);
      expect(readFileSync(join(two, 'etc/new'), 'utf8')).toBe('new');
      expect(() => writeFileSync(join(two, 'etc/new'), '')).toThrow('EROFS');
      expect((await run('cp', join(two, 'etc/new'), 'other:/etc/x')).stderr).toContain('[EROFS]');
      expect(await ok('rm', '-f', 'other')).toBe('other\n');
      expect(readdirSync(two)).toEqual([]);
      expect(stored()).toEqual([]);
    });

    test('an image writable makes a container, unless it cannot be mounted', async () => {
      const [one] = dirs as [string];
      const id = (await ok('mount', '--rw', '--name', 'made', image, one)).trim();
      expect(stored()).toEqual([id]);
      rmSync(join(one, 'etc'), { recursive: true });
      expect(await ok('diff', 'made')).toBe('D /etc\n');
      expect((await run('mount', '--rw', image, join(one, 'none'))).stderr).toContain('[ENOENT]');
      expect((await run('mount', '--rw', '-o', 'ro', image, one)).exitCode).toBe(125);
      expect((await run('mount', '--name', 'x1', 'made', one)).exitCode).toBe(125);
      expect(stored()).toEqual([id]);
    });

    test('a file that is called as the beginning of an ID is the image', async () => {
      const [one] = dirs as [string];
      const id = (await ok('create', image)).trim();
      const files = scratch.directory('files');
      dockerArchive(STACK, join(files, id.slice(0, 4)));
      const mount = (name: string): void =>
        void execFileSync(process.execPath, [MAIN, 'mount', name, one], {
          cwd: files,
          env: { ...process.env, LAMINA_ROOT: root },
        });
      mount(id.slice(0, 4));
      expect(() => writeFileSync(join(one, 'x'), '')).toThrow('EROFS');
      await ok('umount', one);
      mount(id.slice(0, 6));
      writeFileSync(join(one, 'x'), '');
    });

    test('commit notices what changes meanwhile where it cannot be made to wait', async () => {
      if (!requirement('the package fuse-native', isLaminaBuilt('fuse-native'))) return;
      const [one] = dirs as [string];
      await ok('mount', '--driver', 'fuse-native', '--rw', '--name', 'busy', image, one);
      execFileSync('dd', ['if=/dev/zero', `of=${join(one, 'large')}`, 'bs=1M', 'count=64', 'status=none']);
      const writer = spawn('bash', ['-c', 'while true; do echo x >> "$1"; done', 'bash', join(one, 'log')]);
      try {
        while (!existsSync(join(one, 'log'))) await new Promise((resolve) => setTimeout(resolve, 10));
        const target = join(scratch.directory('target'), 'out');
        const { exitCode, stderr } = await run('commit', 'busy', `oci:${target}`);
        expect([exitCode, stderr]).toEqual([
          1,
          expect.stringMatching(/\/log changed while it was read \[EBUSY\]/),
        ]);
        expect(existsSync(target)).toBe(false);
        await ok('commit', '--no-pause', 'busy', `oci:${target}`);
      } finally {
        writer.kill('SIGKILL');
        await new Promise((resolve) => writer.on('exit', resolve));
      }
    });
  });

  test('without root: attributes for everybody, owners beside', async () => {
    if (!needs('command fusermount3', 'command setpriv', '/dev/fuse')) return;
    if (!requirement('/dev/fuse open to every user', (statSync('/dev/fuse').mode & 0o006) === 0o006)) return;
    const home = scratch.directory('user');
    chmodSync(scratch.path, 0o755);
    const owned = STACK.map((layer) => layer.map((entry) => ({ ...entry, uid: 65534, gid: 65534 })));
    ociLayout([...owned, [file('theirs', 'x')]], join(home, 'image'));
    mkdirSync(join(home, 'mnt'));
    execFileSync('chown', ['-R', '65534:65534', home]);
    const env = {
      ...process.env,
      HOME: home,
      LAMINA_ROOT: join(home, 'root'),
      LAMINA_RUN: join(home, 'run'),
    };
    const as = (...command: string[]): string =>
      execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', ...command], {
        encoding: 'utf8',
        env,
      });
    const by = (...args: string[]): string => as(process.execPath, MAIN, ...args);
    by('mount', '--rw', '--name', 'web', `oci:${home}/image`, join(home, 'mnt'));
    const script =
      'cd "$1"; rm etc/gone; mv usr usr2; chmod 4711 usr2/tool; mkfifo etc/fifo; ! rm -f theirs 2>&- || true';
    as('bash', '-e', '-c', script, 'bash', join(home, 'mnt'));
    expect(by('diff', 'web').trim().split('\n')).toEqual([
      'C /etc',
      'A /etc/fifo',
      'D /etc/gone',
      'D /theirs',
      'D /usr',
      'A /usr2',
      'A /usr2/tool',
    ]);
    by('commit', 'web', `oci:${home}/out:x`);
    expect(
      by('fs', 'stat', '-c', '%n %U:%G %a %F %s', `oci:${home}/out:x`, '/usr2/tool', '/etc/fifo'),
    ).toMatch(/^\/usr2\/tool .*4711 regular file 5000\n\/etc\/fifo .*fifo 0\n$/);
    by('umount', join(home, 'mnt'));
    writeFileSync(join(home, 'f'), 'x');
    by('cp', join(home, 'f'), 'web:/etc');
    expect(by('cp', 'web:/etc', '-')).toContain('etc/f');
    expect(by('container', 'check', 'web')).toBe('');
    by('rm', 'web');
  });
});
