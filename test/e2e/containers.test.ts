/** The container commands through the built program: docker's words, what two processes do at once, and what a killed one leaves. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { kernelContainer } from '../helpers/container.js';
import type { KernelContainer } from '../helpers/container.js';
import { MAIN } from '../helpers/fs-image.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file, ociLayout, symlink } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const STACK: Stack = [
  [dir('.'), dir('etc'), file('etc/passwd', 'root:x:0:0::/root:/bin/sh\n'), file('etc/gone', 'gone')],
  [dir('usr'), file('usr/tool', 'x'.repeat(5000)), symlink('bin', 'usr')],
];

const built = requirement('the built command (npm run build)', isLaminaBuilt('native'));
const capable = built && needs('root', 'kernel overlayfs', 'command python3');

describe.skipIf(!capable)('containers', () => {
  let scratch: Scratch;
  let root: string;
  let layout: string;
  let image: string;
  beforeAll(() => {
    scratch = new Scratch('containers');
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
      [['ps', '-f', 'x=y'], '', "invalid filter 'x'"],
      [['commit', 'web', 'name:tag'], '', 'invalid target "name:tag"'],
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

  describe('commit', () => {
    let container: KernelContainer;
    const inContainer = (...args: string[]): Promise<string> => laminaOk(args, container.root);
    beforeAll(async () => {
      container = await kernelContainer(scratch, STACK);
      const { merged } = container;
      rmSync(join(merged, 'etc/gone'));
      writeFileSync(join(merged, 'etc/new'), 'new\n');
      execFileSync('chmod', ['4711', join(merged, 'usr/tool')]);
      execFileSync('setfattr', ['-n', 'user.key', '-v', '0x00ff0a', join(merged, 'etc/new')]);
    });
    afterAll(() => container.unmount());

    const blob = (path: string, digest: string): string =>
      readFileSync(join(path, 'blobs', digest.replace(':', '/')), 'utf8');
    interface Json {
      [key: string]: any; // eslint-disable-line @typescript-eslint/no-explicit-any
    }
    const read = (path: string): { manifest: Json; config: Json } => {
      const index = JSON.parse(readFileSync(join(path, 'index.json'), 'utf8')) as Json;
      const manifest = JSON.parse(blob(path, index['manifests'].at(-1).digest)) as Json;
      return { manifest, config: JSON.parse(blob(path, manifest['config'].digest)) as Json };
    };

    test('adds one layer to the image and says who did it', async () => {
      const target = join(container.base, 'out');
      const id = await inContainer(
        'commit',
        '-a',
        'Ann <a@b>',
        '-m',
        'why',
        '-c',
        'CMD ["/x"]',
        '-c',
        'ENV A=b',
        container.name,
        `oci:${target}:new`,
      );
      const base = read(container.layout);
      const { manifest, config } = read(target);
      expect(id).toBe(`${manifest['config'].digest}\n`);
      expect(manifest['layers'].slice(0, 2)).toEqual(base.manifest['layers']);
      expect(manifest['layers']).toHaveLength(3);
      expect(config).toMatchObject({
        author: 'Ann <a@b>',
        architecture: 'amd64',
        config: { Cmd: ['/x'], Env: ['A=b'] },
        history: [{ created_by: '/x', author: 'Ann <a@b>', comment: 'why' }],
      });
      const names = execFileSync(
        'tar',
        ['-tf', join(target, 'blobs', manifest['layers'][2].digest.replace(':', '/'))],
        {
          encoding: 'utf8',
        },
      );
      expect(names.split('\n').filter((name) => name !== './')).toEqual([
        'etc/',
        'etc/.wh.gone',
        'etc/new',
        'usr/',
        'usr/tool',
        '',
      ]);
    });

    test('makes the same layer each time, and the same image with SOURCE_DATE_EPOCH', async () => {
      const [one, two] = [join(container.base, 'one'), join(container.base, 'two')];
      process.env['SOURCE_DATE_EPOCH'] = '1600000000';
      try {
        const first = await inContainer('commit', container.name, `oci:${one}`);
        expect(await inContainer('commit', container.name, `oci:${two}`)).toBe(first);
      } finally {
        delete process.env['SOURCE_DATE_EPOCH'];
      }
      const { config, manifest } = read(one);
      expect(config['created']).toBe('2020-09-13T12:26:40.000Z');
      const list = execFileSync('tar', [
        '--full-time',
        '--utc',
        '-tvf',
        join(one, 'blobs', manifest['layers'][2].digest.replace(':', '/')),
      ]);
      expect(list.toString()).toMatch(/2020-09-13 12:26:40 etc\/new/);
      expect(list.toString()).not.toContain('2026');
    });

    test('writes archives that other tools read', async () => {
      const shown = await laminaOk(['fs', 'dump', `oci:${join(container.base, 'out')}:new`], container.root);
      for (const [form, reference] of [
        ['oci-archive', 'x'],
        ['docker-archive', 'some/name:1'],
      ] as const) {
        const target = join(container.base, `${form}.tar`);
        await inContainer('commit', container.name, `${form}:${target}:${reference}`);
        expect(await inContainer('fs', 'dump', `${form}:${target}:${reference}`)).toBe(shown);
        expect(
          (await lamina(['commit', container.name, `${form}:${target}`], container.root)).stderr,
        ).toContain('[EEXIST]');
        if (needs('command skopeo')) {
          const inspected = execFileSync('skopeo', [
            'inspect',
            `${form}:${target}${form === 'oci-archive' ? ':x' : ''}`,
          ]);
          expect((JSON.parse(inspected.toString()) as Json)['Layers']).toHaveLength(3);
        }
      }
      const manifest = execFileSync('tar', [
        '-xOf',
        join(container.base, 'docker-archive.tar'),
        'manifest.json',
      ]);
      expect(JSON.parse(manifest.toString())).toMatchObject([{ RepoTags: ['some/name:1'] }]);
    });

    test('adds to a layout, copies nothing that is there, and moves a tag', async () => {
      const before = readdirSync(join(container.layout, 'blobs/sha256'));
      await inContainer('commit', '-m', 'one', container.name, `oci:${container.layout}:t`);
      await inContainer('commit', '-m', 'two', container.name, `oci:${container.layout}:t`);
      const index = JSON.parse(readFileSync(join(container.layout, 'index.json'), 'utf8')) as Json;
      expect(index['manifests']).toHaveLength(2);
      // A layer, and twice a config and a manifest.
      expect(readdirSync(join(container.layout, 'blobs/sha256'))).toHaveLength(before.length + 5);
      expect(read(container.layout).config['history'].at(-1).comment).toBe('two');
    });

    test('refuses what is no layout, and leaves it as it is', async () => {
      const target = join(container.base, 'directory');
      mkdirSync(target);
      writeFileSync(join(target, 'file'), '');
      const { stderr } = await lamina(['commit', container.name, `oci:${target}`], container.root);
      expect(stderr).toContain('[ENOTARCHIVE]');
      expect(readdirSync(target)).toEqual(['file']);
    });

    test('killed at any moment leaves no half image', async () => {
      // Large enough for the kill to come in the middle.
      const large = join(container.merged, 'large');
      execFileSync('dd', ['if=/dev/urandom', `of=${large}`, 'bs=1M', 'count=96', 'status=none']);
      const places = join(container.base, 'killed');
      mkdirSync(places);
      let killed = 0;
      const [layout, archive] = [join(places, 'layout'), join(places, 'archive')];
      for (let afterMs = 60; afterMs < 900; afterMs += 60) {
        for (const target of [`oci:${layout}`, `oci-archive:${archive}`]) {
          const child = spawn(process.execPath, [MAIN, 'commit', container.name, target], {
            env: { ...process.env, LAMINA_ROOT: container.root },
            stdio: 'ignore',
          });
          setTimeout(() => child.kill('SIGKILL'), afterMs);
          const signal = await new Promise((resolve) => child.on('exit', (_, by) => resolve(by)));
          if (signal !== null) killed++;
        }
        for (const place of [layout, archive]) {
          if (!existsSync(place)) continue;
          await laminaOk(['fs', 'ls', '--verify', place], container.root);
          rmSync(place, { recursive: true });
        }
      }
      expect(killed).toBeGreaterThan(4);
      // The next commit to the same place clears away what is left.
      rmSync(large);
      for (const target of [`oci:${layout}`, `oci-archive:${archive}`])
        await inContainer('commit', container.name, target);
      expect(readdirSync(places).sort()).toEqual(['archive', 'layout']);
      expect(readdirSync(join(container.root, 'tmp'))).toEqual([]);
    }, 120_000);
  });
});
