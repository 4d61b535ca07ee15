/** `lamina commit` through the built command, of a container that kernel overlayfs wrote: what is in the image, what other tools say, kills. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kernelContainer } from '../helpers/container.js';
import type { KernelContainer } from '../helpers/container.js';
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
const capable =
  built &&
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command python3', 'command skopeo', 'command zstd');

describe.skipIf(!capable)('lamina commit', () => {
  let scratch: Scratch;
  let container: KernelContainer;
  const inContainer = (...args: string[]): Promise<string> => laminaOk(args, container.root);
  beforeAll(async () => {
    scratch = new Scratch('commit');
    process.env['LAMINA_RUN'] = scratch.directory('run');
    container = await kernelContainer(scratch, STACK);
    const { merged } = container;
    rmSync(join(merged, 'etc/gone'));
    writeFileSync(join(merged, 'etc/new'), 'new\n');
    execFileSync('chmod', ['4711', join(merged, 'usr/tool')]);
    execFileSync('setfattr', ['-n', 'user.key', '-v', '0x00ff0a', join(merged, 'etc/new')]);
  });
  afterAll(async () => {
    await container.unmount();
    scratch.close();
  });

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
      {
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

  test.each(['gzip', 'zstd', 'docker-archive', 'gzipped docker-archive'])(
    'an image as %s is committed',
    async (form) => {
      const own = scratch.directory('form');
      const root = join(own, 'root');
      let base = `oci:${own}/layout`;
      if (form === 'gzip' || form === 'zstd') ociLayout(STACK, join(own, 'layout'), { compression: form });
      else {
        dockerArchive(STACK, join(own, 'image.tar'));
        base = join(own, 'image.tar');
        if (form.startsWith('gzipped')) execFileSync('gzip', [base]);
        if (form.startsWith('gzipped')) base += '.gz';
      }
      await laminaOk(['create', '--name', 'web', base], root);
      const upper = join(
        root,
        'containers',
        (await laminaOk(['ps', '-aq', '--no-trunc'], root)).trim(),
        'upper',
      );
      mkdirSync(join(upper, 'etc'), { mode: 0o755 });
      writeFileSync(join(upper, 'etc/new'), 'new');
      for (const target of [`oci:${own}/out:x`, `docker-archive:${own}/out.tar:x`]) {
        await laminaOk(['commit', 'web', target], root);
        expect(await laminaOk(['fs', 'cat', target, '/etc/new', '/etc/gone'], root)).toBe('newgone');
      }
      const raw = execFileSync('skopeo', ['inspect', '--raw', `oci:${own}/out:x`], { encoding: 'utf8' });
      const { layers } = JSON.parse(raw) as { layers: { mediaType: string }[] };
      const suffix = form === 'gzip' || form === 'zstd' ? `+${form}` : '';
      expect(layers.map(({ mediaType }) => mediaType.replace(/.*\.tar/, ''))).toEqual([suffix, suffix, '']);
    },
  );
});
