/** `copy` between every two places, with skopeo, umoci and podman as readers of what comes of it. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startDockerRegistry } from '../helpers/docker-registry.js';
import type { RunningRegistry } from '../helpers/docker-registry.js';
import { fakeImage, FakeRegistry, sha256 } from '../helpers/fake-registry.js';
import type { FakeImage } from '../helpers/fake-registry.js';
import { isLaminaBuilt, lamina, LAMINA_MAIN, laminaOk } from '../helpers/lamina.js';
import { writeLayout } from '../helpers/oci-layout.js';
import { needs, requirement } from '../helpers/require.js';

const canRun =
  requirement('the built command', isLaminaBuilt('native')) &&
  needs('command docker-registry', 'command skopeo', 'command umoci');

let base: string;
let root: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-e2e-copy-'));
  root = join(base, 'root');
  mkdirSync(join(base, 'docker'));
  writeFileSync(join(base, 'docker', 'config.json'), '{}');
  vi.stubEnv('DOCKER_CONFIG', join(base, 'docker'));
  vi.stubEnv('XDG_CONFIG_HOME', join(base, 'config'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(base, 'run'));
  vi.stubEnv('REGISTRY_AUTH_FILE', '');
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true, force: true });
});

/** Raises when it fails; its standard output, byte by byte. */
function run(command: string, ...args: string[]): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    execFile(command, args, { maxBuffer: 1 << 26, encoding: 'buffer' }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${command} ${args.join(' ')}: ${stderr}`)),
    ),
  );
}

const skopeo = (...args: string[]): Promise<Buffer> => run('skopeo', '--insecure-policy', ...args);
const insecure = (name: string): string[] => (name.startsWith('docker://') ? ['--tls-verify=false'] : []);
/** The manifest that a reader is given, and the config. */
const rawOf = (name: string): Promise<Buffer> => skopeo('inspect', '--raw', ...insecure(name), name);
const configOf = (name: string): Promise<Buffer> =>
  skopeo('inspect', '--config', '--raw', ...insecure(name), name);

describe.skipIf(!canRun)('copy', () => {
  let registry: RunningRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry();
  });
  afterAll(async () => registry.stop());

  const PLACES = ['registry', 'oci', 'oci-archive', 'docker-archive', 'dir', 'store'] as const;
  type Place = (typeof PLACES)[number];

  /** As lamina names it, and as skopeo does. */
  function named(place: Place, name: string): { lamina: string; skopeo: string } {
    const file = join(base, name);
    const same = (text: string): { lamina: string; skopeo: string } => ({ lamina: text, skopeo: text });
    switch (place) {
      case 'registry':
        return same(`docker://${registry.domain}/${name}:1`);
      case 'oci':
        return same(`oci:${file}:1`);
      case 'oci-archive':
        return same(`oci-archive:${file}.tar:1`);
      case 'docker-archive':
        return same(`docker-archive:${file}.tar:some/image:1`);
      case 'dir':
        return same(`dir:${file}`);
      case 'store':
        return { lamina: `store:${name}:1`, skopeo: `oci:${root}:${name}:1` };
    }
  }

  /** Every blob is read and hashed by skopeo on its way; returns what it found, by name. */
  async function verifiedBy(name: string, all: string[] = []): Promise<string[]> {
    const directory = mkdtempSync(join(base, 'read-'));
    const tls = name.startsWith('docker://') ? ['--src-tls-verify=false'] : [];
    await skopeo('copy', '-q', ...all, ...tls, name, `dir:${directory}`);
    return readdirSync(directory).sort();
  }

  test.each(PLACES)('from %s to every place', { timeout: 120_000 }, async (from) => {
    const image = await fakeImage([{ 'etc/hello': 'hello\n' }, { big: randomBytes(300_000) }]);
    const source = named(from, `from-${from}`);
    const layout = `oci:${writeLayout(join(base, 'layout'), image)}:1`;
    if (from === 'store') {
      // The image comes into the store by another of our commands.
      await laminaOk(['load', '-i', join(base, 'layout')], root);
      await laminaOk(['tag', image.imageId, 'from-store:1'], root);
    } else {
      const tls = from === 'registry' ? ['--dest-tls-verify=false'] : [];
      await skopeo('copy', '-q', ...tls, layout, source.skopeo);
    }
    for (const to of PLACES) {
      const target = named(to, `to-${to}`);
      const digestfile = join(base, 'digest');
      await laminaOk(['copy', '-q', '--digestfile', digestfile, source.lamina, target.lamina], root);
      const what = `${from} to ${to}`;
      const written = readFileSync(digestfile, 'utf8');
      expect(written, what).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(sha256(await configOf(target.skopeo)), what).toBe(image.imageId);
      // skopeo makes a manifest of its own for a docker archive.
      if (to !== 'docker-archive') {
        expect(sha256(await rawOf(target.skopeo)), what).toBe(written);
        if (from !== 'docker-archive') expect(written, what).toBe(sha256(image.manifest));
      }
      const found = await verifiedBy(target.skopeo);
      if (from !== 'docker-archive' && to !== 'docker-archive')
        for (const { digest } of image.layers) expect(found, what).toContain(digest.slice(7));
      expect(
        found.filter((name) => /^[0-9a-f]{64}$/.test(name)),
        what,
      ).toHaveLength(3);
    }
    expect(readdirSync(base).filter((name) => name.includes('lamina-tmp'))).toEqual([]);
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });

  test('what it writes is unpacked by umoci and loaded by podman', async () => {
    const image = await fakeImage([{ 'etc/hello': 'hello\n' }, { other: 'other\n' }]);
    const layout = `oci:${writeLayout(join(base, 'layout'), image)}:1`;
    await laminaOk(['copy', layout, `docker://${registry.domain}/read:1`], root);
    await laminaOk(['copy', `docker://${registry.domain}/read:1`, `oci:${join(base, 'copied')}:2`], root);
    await run('umoci', 'unpack', '--rootless', '--image', `${join(base, 'copied')}:2`, join(base, 'bundle'));
    expect(readFileSync(join(base, 'bundle', 'rootfs', 'etc', 'hello'), 'utf8')).toBe('hello\n');
    await laminaOk(['copy', layout, `docker-archive:${join(base, 'archive.tar')}:a.example/b:3`], root);
    if (!needs('command podman', 'root')) return;
    const podman = ['--root', join(base, 'podman'), '--runroot', join(base, 'podman-run')];
    await run('podman', ...podman, '--storage-driver', 'vfs', 'load', '-q', '-i', join(base, 'archive.tar'));
    const listed = await run(
      ...(['podman', ...podman, '--storage-driver', 'vfs'] as [string, ...string[]]),
      ...['images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}'],
    );
    expect(listed.toString().trim()).toBe(`${image.imageId} a.example/b:3`);
  });

  test('plain layers are gzipped into a registry, and stay plain with --preserve-digests', async () => {
    const image = await fakeImage([{ big: Buffer.alloc(100_000, 'plain ') }], { compress: (tar) => tar });
    const layout = `oci:${writeLayout(join(base, 'layout'), image)}:1`;
    const gzipped = `docker://${registry.domain}/gzipped:1`;
    await laminaOk(['copy', layout, gzipped], root);
    const manifest = JSON.parse((await rawOf(gzipped)).toString()) as { layers: { mediaType: string }[] };
    expect(manifest.layers.map(({ mediaType }) => mediaType)).toEqual([
      'application/vnd.oci.image.layer.v1.tar+gzip',
    ]);
    expect(sha256(await configOf(gzipped))).toBe(image.imageId);
    await verifiedBy(gzipped);
    const plain = `docker://${registry.domain}/plain:1`;
    await laminaOk(['copy', '--preserve-digests', layout, plain], root);
    expect(sha256(await rawOf(plain))).toBe(sha256(image.manifest));
    await verifiedBy(plain);
    await laminaOk(['copy', plain, `oci:${join(base, 'again')}:1`], root);
    expect(sha256(await rawOf(`oci:${join(base, 'again')}:1`))).toBe(sha256(image.manifest));
  });

  describe('--all', () => {
    let images: FakeImage[];
    let index: Buffer;
    let source: string;

    beforeEach(async () => {
      images = [
        await fakeImage([{ shared: 'shared' }, { amd: 'amd64' }]),
        await fakeImage([{ shared: 'shared' }, { arm: 'arm64' }], { architecture: 'arm64' }),
      ];
      const directory = writeLayout(join(base, 'layout'), images[0]!);
      writeLayout(directory, images[1]!);
      index = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests: images.map(({ manifest, mediaType }, position) => ({
            mediaType,
            digest: sha256(manifest),
            size: manifest.length,
            platform: { os: 'linux', architecture: ['amd64', 'arm64'][position] },
          })),
          annotations: { 'example.kept': 'yes' },
        }),
      );
      writeFileSync(join(directory, 'blobs', 'sha256', sha256(index).slice(7)), index);
      const top = {
        mediaType: 'application/vnd.oci.image.index.v1+json',
        digest: sha256(index),
        size: index.length,
        annotations: { 'org.opencontainers.image.ref.name': 'all' },
      };
      writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [top] }));
      source = `oci:${directory}:all`;
    });

    test('takes every image of an index, and the index, byte by byte', { timeout: 60_000 }, async () => {
      const first = `docker://${registry.domain}/all/first:1`;
      const places = [
        first,
        `docker://${registry.domain}/all/second:1`,
        `oci:${join(base, 'all')}:1`,
        `oci-archive:${join(base, 'all.tar')}:1`,
        `dir:${join(base, 'all-dir')}`,
      ];
      let from = source;
      for (const to of places) {
        await laminaOk(['copy', '-q', '--all', from, to], root);
        expect(sha256(await rawOf(to)), to).toBe(sha256(index));
        const found = await verifiedBy(to, ['--all']);
        for (const { manifest, layers, imageId } of images) {
          expect(found, to).toContain(`${sha256(manifest).slice(7)}.manifest.json`);
          for (const digest of [imageId, ...layers.map((layer) => layer.digest)])
            expect(found, to).toContain(digest.slice(7));
        }
        from = to;
      }
    });

    test('without it one image is taken: for this host, or the one that is asked for', async () => {
      const to = `oci:${join(base, 'one')}:arm`;
      await laminaOk(['copy', '--platform', 'linux/arm64', source, to], root);
      expect(sha256(await configOf(to))).toBe(images[1]!.imageId);
      await laminaOk(['copy', '--platform', 'linux/arm64', source, 'store:arm'], root);
      expect(await laminaOk(['images', '-q', '--no-trunc', 'arm'], root)).toBe(`${images[1]!.imageId}\n`);
      const none = await lamina(
        ['copy', '--platform', 'linux/s390x', source, `oci:${join(base, 'no')}:1`],
        root,
      );
      expect(none.stderr).toContain('no matching manifest for linux/s390x in the manifest list entries');
      expect(readdirSync(base).filter((name) => /^\.?no/.test(name))).toEqual([]);
    });

    test('is refused where one image fits', async () => {
      for (const to of [`docker-archive:${join(base, 'a.tar')}:x`, 'store:all']) {
        const { stderr, exitCode } = await lamina(['copy', '--all', source, to], root);
        expect(exitCode).toBe(125);
        expect(stderr).toContain('has several images');
      }
      expect(readdirSync(base)).not.toContain('a.tar');
    });
  });

  test('--format gives docker’s and OCI’s manifests, which skopeo and umoci read', async () => {
    const image = await fakeImage([{ 'etc/hello': 'hello\n' }]);
    const layout = `oci:${writeLayout(join(base, 'layout'), image)}:1`;
    const docker = `docker://${registry.domain}/format:docker`;
    await laminaOk(['copy', '-f', 'docker', layout, docker], root);
    expect(JSON.parse((await rawOf(docker)).toString())).toMatchObject({
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json' },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    });
    await verifiedBy(docker);
    // What reads layouts reads OCI's manifests only; docker's stays when digests are to.
    await laminaOk(['copy', docker, `oci:${join(base, 'oci')}:1`], root);
    expect(JSON.parse((await rawOf(`oci:${join(base, 'oci')}:1`)).toString())).toEqual(
      JSON.parse(image.manifest.toString()),
    );
    await laminaOk(['copy', '--preserve-digests', docker, `oci:${join(base, 'kept')}:1`], root);
    const kept = join(base, 'kept', 'blobs', 'sha256', sha256(await rawOf(docker)).slice(7));
    expect(readFileSync(kept).equals(await rawOf(docker))).toBe(true);
    await run('umoci', 'unpack', '--rootless', '--image', `${join(base, 'oci')}:1`, join(base, 'bundle'));
    expect(readFileSync(join(base, 'bundle', 'rootfs', 'etc', 'hello'), 'utf8')).toBe('hello\n');
  });

  test('a layout that is there is added to; an archive or a directory is not', async () => {
    const [first, second] = [await fakeImage([{ a: 'a' }]), await fakeImage([{ b: 'b' }])];
    const one = `oci:${writeLayout(join(base, 'one'), first)}:1`;
    const two = `oci:${writeLayout(join(base, 'two'), second)}:1`;
    const target = join(base, 'target');
    await laminaOk(['copy', one, `oci:${target}:first`], root);
    await laminaOk(['copy', two, `oci:${target}:second`], root);
    for (const [name, image] of [
      ['first', first],
      ['second', second],
    ] as const)
      expect(sha256(await rawOf(`oci:${target}:${name}`))).toBe(sha256(image.manifest));
    await laminaOk(['copy', one, `oci-archive:${join(base, 'x.tar')}`], root);
    await laminaOk(['copy', one, `dir:${join(base, 'dir')}`], root);
    const hash = (): string =>
      createHash('sha256')
        .update(readFileSync(join(base, 'x.tar')))
        .digest('hex');
    const before = hash();
    for (const to of [`oci-archive:${join(base, 'x.tar')}`, `dir:${join(base, 'dir')}`]) {
      const { stderr, exitCode } = await lamina(['copy', two, to], root);
      expect(exitCode).toBe(1);
      expect(stderr).toContain('EEXIST');
    }
    expect(hash()).toBe(before);
    expect(statSync(join(base, 'dir', 'manifest.json')).size).toBe(first.manifest.length);
  });

  test('several at once into one new layout are all there', async () => {
    const images = await Promise.all(['a', 'b', 'c'].map((name) => fakeImage([{ [name]: name }])));
    const target = join(base, 'target');
    await Promise.all(
      images.map(async (image, index) => {
        const from = writeLayout(join(base, `from-${index}`), image);
        await laminaOk(
          ['copy', '-q', `oci:${from}:1`, `oci:${target}:${index}`],
          join(base, `root-${index}`),
        );
      }),
    );
    for (const [index, image] of images.entries())
      expect(sha256(await rawOf(`oci:${target}:${index}`))).toBe(sha256(image.manifest));
    expect(readdirSync(base).filter((name) => name.includes('lamina-tmp'))).toEqual([]);
    expect(readdirSync(target).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  test.each([
    ['killed leaves a layout as it was, and the next takes away what it left', 'SIGKILL' as const],
    ['interrupted leaves nothing', 'SIGINT' as const],
    ['ended leaves nothing', 'SIGTERM' as const],
  ])('one that is %s', async (_, signal) => {
    const there = await fakeImage([{ there: 'there' }]);
    const layout = writeLayout(join(base, 'there'), there);
    const visible = (): string[] =>
      readdirSync(layout, { recursive: true, encoding: 'utf8' }).filter((name) => !name.startsWith('.'));
    const [before, index] = [visible().sort(), readFileSync(join(layout, 'index.json'), 'utf8')];
    const image = await fakeImage([{ a: 'a' }, { big: randomBytes(3 << 20) }]);
    const fake = await FakeRegistry.start();
    try {
      fake.add('app:1', image);
      let isStuck = true;
      let begun = (): void => {};
      const sending = new Promise<void>((resolve) => (begun = resolve));
      fake.hook = (request, response) => {
        const { digest, blob } = image.layers[1]!;
        if (!isStuck || !request.url!.endsWith(digest)) return false;
        response.writeHead(200, { 'content-length': blob.length });
        response.write(blob.subarray(0, 2 << 20), () => begun());
        return true;
      };
      const args = ['copy', `docker://${fake.domain}/app:1`, `oci:${layout}:new`];
      const child = execFile(process.execPath, [LAMINA_MAIN, ...args], {
        env: { ...process.env, LAMINA_ROOT: root },
      });
      const ended = new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
      await sending;
      await vi.waitFor(() => expect(readdirSync(layout).some((name) => name.startsWith('.'))).toBe(true));
      child.kill(signal);
      expect(await ended).toBe(signal);
      const isLeft = readdirSync(layout).some((name) => name.startsWith('.'));
      expect(isLeft).toBe(signal === 'SIGKILL');
      expect(visible().sort()).toEqual(before);
      expect(readFileSync(join(layout, 'index.json'), 'utf8')).toBe(index);
      expect(sha256(await rawOf(`oci:${layout}:1`))).toBe(sha256(there.manifest));
      isStuck = false;
      await laminaOk(args, root);
      expect(sha256(await rawOf(`oci:${layout}:new`))).toBe(sha256(image.manifest));
      expect(readdirSync(layout).filter((name) => name.startsWith('.'))).toEqual([]);
    } finally {
      await fake.close();
    }
  });

  test('says what is wrong with a name', async () => {
    for (const [from, to, message] of [
      ['x', '/some/path', 'invalid destination'],
      ['docker:x', 'y', 'docker://'],
      ['docker://UPPER', 'y', 'must be lower case'],
      ['x', 'dir:', 'it has no path'],
      ['x', 'containers-storage:y', 'invalid destination'],
      ['x', 'store:y@sha256:' + '0'.repeat(64), 'digest reference'],
    ] as const) {
      const { stderr, exitCode } = await lamina(['copy', from, to], root);
      expect(stderr, to).toContain(message);
      expect(exitCode).toBe(125);
    }
    expect((await lamina(['copy', 'none:1', `oci:${join(base, 'y')}`], root)).stderr).toContain(
      'No such image: none:1',
    );
  });
});
