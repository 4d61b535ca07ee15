/**
 * What the store holds and what `save` writes is read by skopeo, umoci and podman, and what they write is read by `load`, with every
 * digest as it was. The image is a real one (helpers/real-images.ts).
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, LAMINA_MAIN, lamina, laminaOk } from '../helpers/lamina.js';
import { canMakeRealImage, REAL_IMAGE_COMMANDS, realImage } from '../helpers/real-images.js';
import type { RealImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';

const execute = promisify(execFile);

const able =
  needs('root', 'command podman', ...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const)) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native')) &&
  requirement('the Debian mirror, or the image made before', await canMakeRealImage());

interface Manifest {
  config: { digest: string };
  layers: { digest: string }[];
}

describe.skipIf(!able)('the store and other tools', { timeout: 300_000 }, () => {
  let base: string;
  let root: string;
  let image: RealImage;
  const at = (name: string): string => join(base, name);

  beforeAll(async () => {
    image = await realImage();
    base = mkdtempSync(join(tmpdir(), 'lamina-store-'));
    root = at('store');
    await laminaOk(['load', '-q', '-i', image.paths['docker-archive']], root);
  }, 600_000);

  afterAll(() => rmSync(base, { recursive: true, force: true }));

  async function run(program: string, ...args: string[]): Promise<string> {
    return (await execute(program, args, { maxBuffer: 1 << 26 })).stdout;
  }

  async function rawManifest(transport: string): Promise<Manifest> {
    return JSON.parse(await run('skopeo', 'inspect', '--raw', transport)) as Manifest;
  }

  async function sha256(file: string): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
    return hash.digest('hex');
  }

  it('shows skopeo the image under the name that people type', async () => {
    const config = JSON.parse(await run('skopeo', 'inspect', '--config', `oci:${root}:lamina/real:1`)) as {
      rootfs: { diff_ids: string[] };
    };
    const [described] = JSON.parse(
      await run('tar', '-xOf', image.paths['docker-archive'], 'manifest.json'),
    ) as { Config: string; Layers: string[] }[];
    expect(config.rootfs.diff_ids).toHaveLength(described!.Layers.length);
    const manifest = await rawManifest(`oci:${root}:lamina/real:1`);
    // skopeo names the config of a docker archive by its digest.
    expect(manifest.config.digest).toBe(`sha256:${described!.Config.replace('.json', '')}`);
  });

  it('is unpacked in place by umoci as it is mounted here', async () => {
    await run('umoci', 'unpack', '--image', `${root}:lamina/real:1`, at('bundle'));
    await run('mkdir', at('mnt'));
    await laminaOk(['mount', '-o', 'suid,dev', 'lamina/real:1', at('mnt')], root);
    try {
      const [ours, theirs] = [await dumpDirectory(at('mnt')), await dumpDirectory(at('bundle/rootfs'))];
      expect(ours.split('\n').length).toBeGreaterThan(3000);
      expect(ours === theirs).toBe(true);
    } finally {
      await laminaOk(['umount', at('mnt')], root);
    }
  });

  it('saves the same images in the same bytes, to a file and to a pipe', async () => {
    await laminaOk(['tag', 'lamina/real:1', 'second/name:tag'], root);
    await laminaOk(['save', '-o', at('one.tar'), 'lamina/real:1', 'second/name:tag'], root);
    await laminaOk(['save', '-o', at('two.tar'), 'lamina/real:1', 'second/name:tag'], root);
    const out = openSync(at('three.tar'), 'w');
    const env = { ...process.env, LAMINA_ROOT: root };
    const child = spawn(process.execPath, [LAMINA_MAIN, 'save', 'lamina/real:1', 'second/name:tag'], {
      env,
      stdio: ['ignore', out, 'inherit'],
    });
    await new Promise((resolve) => child.once('exit', resolve));
    const digests = await Promise.all(['one', 'two', 'three'].map((name) => sha256(at(`${name}.tar`))));
    expect(new Set(digests).size).toBe(1);
  });

  it('saves what podman and skopeo read, with both names and unchanged layers', async () => {
    const before = await rawManifest(`oci:${root}:lamina/real:1`);
    const store = ['--root', at('podman'), '--runroot', at('podman-run'), '--storage-driver', 'vfs'];
    const said = await run('podman', ...store, 'load', '-i', at('one.tar'));
    expect(said).toContain('lamina/real:1');
    expect(said).toContain('second/name:tag');
    const id = await run('podman', ...store, 'image', 'inspect', '-f', '{{.Id}}', 'lamina/real:1');
    expect(`sha256:${id.trim()}`).toBe(before.config.digest);
    for (const form of ['docker-archive', 'oci-archive']) {
      const reference = form === 'docker-archive' ? ':lamina/real:1' : ':1';
      const config = await run('skopeo', 'inspect', '--config', `${form}:${at('one.tar')}${reference}`).catch(
        // skopeo takes the tag alone only where one image has it.
        () => run('skopeo', 'inspect', '--config', `${form}:${at('one.tar')}:tag`),
      );
      expect(config).toContain('diff_ids');
    }
    await run('skopeo', 'copy', '-q', `docker-archive:${at('one.tar')}:second/name:tag`, `dir:${at('dir')}`);
    const copied = JSON.parse(readFileSync(at('dir/manifest.json'), 'utf8')) as Manifest;
    expect(copied.layers.map(({ digest }) => digest)).toEqual(before.layers.map(({ digest }) => digest));
  });

  it('loads what podman saves, in both of its forms', async () => {
    const store = ['--root', at('podman'), '--runroot', at('podman-run'), '--storage-driver', 'vfs'];
    const before = await rawManifest(`oci:${root}:lamina/real:1`);
    for (const form of ['docker-archive', 'oci-archive']) {
      const file = at(`podman-${form}.tar`);
      const other = at(`store-${form}`);
      await run('podman', ...store, 'save', '-q', '--format', form, '-o', file, 'lamina/real:1');
      expect(await laminaOk(['load', '-q', '-i', file], other)).toMatch(
        /^Loaded image(: localhost\/lamina\/real:1| ID: sha256:)/,
      );
      const [id] = readdirSync(join(other, 'blobs/sha256')).filter(
        (hex) => `sha256:${hex}` === before.config.digest,
      );
      // podman rewrites the config of an OCI archive no more than that of a docker archive.
      expect(id).toBeDefined();
    }
  });

  it.each(['oci', 'oci-archive-gzip', 'oci-archive-zstd'] as const)(
    'keeps manifest and compressed layers of %s as they are',
    async (form) => {
      const transport = `${form === 'oci' ? 'oci' : 'oci-archive'}:${image.paths[form]}:1`;
      const theirs = await run('skopeo', 'inspect', '--raw', transport);
      const other = at(`kept-${form}`);
      const said = await laminaOk(['load', '-q', '-i', image.paths[form]], other);
      const id = /^Loaded image ID: (sha256:[0-9a-f]{64})\n$/.exec(said)![1]!;
      await laminaOk(['tag', id, 'kept:1'], other);
      expect(await run('skopeo', 'inspect', '--raw', `oci:${other}:kept:1`)).toBe(theirs);
      await laminaOk(['save', '-o', at(`${form}.tar`), 'kept:1'], other);
      const again = at(`again-${form}`);
      expect(await laminaOk(['load', '-q', '-i', at(`${form}.tar`)], again)).toBe('Loaded image: kept:1\n');
      expect(await run('skopeo', 'inspect', '--raw', `oci:${again}:kept:1`)).toBe(theirs);
      expect(await laminaOk(['fs', 'cat', 'kept:1', '/etc/debian_version'], again)).toBe('changed\n');
    },
  );

  it('takes what skopeo copies into the store', async () => {
    const other = at('by-skopeo');
    await run(
      'skopeo',
      'copy',
      '-q',
      `docker-archive:${image.paths['docker-archive']}`,
      `oci:${other}:theirs:7`,
    );
    expect(await laminaOk(['fs', 'cat', 'theirs:7', '/etc/debian_version'], other)).toBe('changed\n');
    await laminaOk(['tag', 'theirs:7', 'ours'], other);
    expect(await run('skopeo', 'inspect', '--raw', `oci:${other}:ours:latest`)).toBe(
      await run('skopeo', 'inspect', '--raw', `oci:${other}:theirs:7`),
    );
  });

  it('reads an archive from a pipe and from a file on standard input', async () => {
    for (const [name, command] of [
      ['pipe', 'cat "$1" | "$2" "$3" load'],
      ['file', '"$2" "$3" load < "$1"'],
    ] as const) {
      const env = { ...process.env, LAMINA_ROOT: at(`stdin-${name}`) };
      const args = ['-c', command, 'sh', image.paths['docker-archive'], process.execPath, LAMINA_MAIN];
      const { stdout } = await execute('sh', args, { env });
      expect(stdout).toBe('Loaded image: lamina/real:1\n');
      expect(readdirSync(join(at(`stdin-${name}`), 'tmp'))).toEqual([]);
    }
  });

  it.each(['gzip', 'bzip2', 'xz', 'zstd'])(
    'reads an archive that %s has compressed as a whole',
    async (program) => {
      const small = at('small.tar');
      await run(
        'sh',
        '-c',
        `mkdir -p ${at('tree')} && echo hi > ${at('tree/file')} && tar -C ${at('tree')} -cf ${at('tree.tar')} .`,
      );
      await laminaOk(['import', at('tree.tar'), 'small:1'], at('small-store'));
      await laminaOk(['save', '-o', small, 'small:1'], at('small-store'));
      await run('sh', '-c', `${program} -c ${small} > ${small}.${program}`);
      const other = at(`by-${program}`);
      expect(await laminaOk(['load', '-i', `${small}.${program}`], other)).toBe('Loaded image: small:1\n');
      expect(await laminaOk(['fs', 'cat', 'small:1', '/file'], other)).toBe('hi\n');
    },
  );

  it('leaves nothing of an archive that is cut short or damaged', async () => {
    const whole = readFileSync(image.paths['docker-archive']);
    const other = at('refusing');
    await laminaOk(['load', '-q', '-i', at('small.tar')], other);
    const files = (): string[] => readdirSync(other, { recursive: true, encoding: 'utf8' }).sort();
    const before = [files(), readFileSync(join(other, 'index.json'), 'utf8')];
    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1]! ^= 0xff;
    for (const [name, bytes, code] of [
      ['cut', whole.subarray(0, whole.length >> 1), /EBADTAR|EBLOB|EIO/],
      ['flipped', flipped, /EDIGEST/],
    ] as const) {
      writeFileSync(at(`${name}.tar`), bytes);
      const { exitCode, stdout, stderr } = await lamina(['load', '-i', at(`${name}.tar`)], other);
      expect([exitCode, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(code);
      expect([files(), readFileSync(join(other, 'index.json'), 'utf8')]).toEqual(before);
    }
  });
});
