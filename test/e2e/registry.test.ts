/** pull and push against Debian's docker-registry, and with skopeo and podman on the other side. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  CuttingProxy,
  makeCertificates,
  startDockerRegistry,
  startTokenServer,
} from '../helpers/docker-registry.js';
import type { RunningRegistry } from '../helpers/docker-registry.js';
import { fakeImage, sha256 } from '../helpers/fake-registry.js';
import type { FakeImage } from '../helpers/fake-registry.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { writeLayout as writeLayoutAt } from '../helpers/oci-layout.js';
import { needs, requirement } from '../helpers/require.js';

const canRun =
  requirement('the built command', isLaminaBuilt('native')) &&
  needs('command docker-registry', 'command skopeo', 'command htpasswd', 'command openssl');
const SECRET = 'open sesame, dear 7d1f';

let base: string;
let root: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-e2e-registry-'));
  root = join(base, 'root');
  mkdirSync(join(base, 'docker'));
  // podman does not start without.
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

/** Raises when it fails; its standard output. */
function run(command: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) =>
    execFile(command, args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${command} ${args.join(' ')}: ${stderr}`)),
    ),
  );
}

/** What skopeo calls a layout of the image. */
function writeLayout(image: FakeImage): string {
  return `oci:${writeLayoutAt(join(base, 'layout'), image)}:1`;
}

const skopeo = (...args: string[]): Promise<string> => run('skopeo', '--insecure-policy', ...args);

describe.skipIf(!canRun)('a plain docker-registry', () => {
  let registry: RunningRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry();
  });
  afterAll(async () => registry.stop());

  test('gives what skopeo put there, in docker’s lines', async () => {
    const image = await fakeImage([{ 'etc/hello': 'hello\n' }, { big: randomBytes(200_000) }]);
    const name = `${registry.domain}/by/skopeo:1`;
    await skopeo('copy', '--dest-tls-verify=false', writeLayout(image), `docker://${name}`);
    const digest = sha256(image.manifest);
    const lines = (await laminaOk(['pull', name], root)).trimEnd().split('\n');
    expect(lines[0]).toBe('1: Pulling from by/skopeo');
    expect(lines.slice(-3)).toEqual([
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}`,
      name,
    ]);
    for (const layer of image.layers) {
      const short = layer.digest.slice(7, 19);
      const own = lines.filter((line) => line.startsWith(`${short}: `)).map((line) => line.slice(14));
      expect(own).toEqual(['Pulling fs layer', 'Verifying Checksum', 'Download complete', 'Pull complete']);
    }
    expect(await laminaOk(['pull', name], root)).toBe(
      `1: Pulling from by/skopeo\nDigest: ${digest}\nStatus: Image is up to date for ${name}\n${name}\n`,
    );
    expect(await laminaOk(['pull', '-q', name], root)).toBe(`${name}\n`);
    expect(await laminaOk(['fs', 'cat', name, '/etc/hello'], root)).toBe('hello\n');
    expect(await laminaOk(['images', '--digests'], root)).toContain(digest);
    // Another tool finds the store whole.
    expect(JSON.parse(await skopeo('inspect', '--raw', `oci:${root}:${name}`))).toEqual(
      JSON.parse(image.manifest.toString()),
    );
  });

  test('takes what skopeo and podman then pull, digests equal', async () => {
    const image = await fakeImage([{ a: 'a' }, { big: randomBytes(9 << 20) }]);
    const first = `${registry.domain}/source:1`;
    await skopeo('copy', '--dest-tls-verify=false', writeLayout(image), `docker://${first}`);
    await laminaOk(['pull', first], root);
    const name = `${registry.domain}/by/lamina:2`;
    await laminaOk(['tag', first, name], root);
    rmSync(join(root, 'registries'), { recursive: true });
    const said = await laminaOk(['push', name], root);
    expect(said).toContain(`The push refers to repository [${registry.domain}/by/lamina]\n`);
    expect(said.match(/: Pushed$/gm)).toHaveLength(2);
    expect(said).toMatch(
      new RegExp(`^2: digest: ${sha256(image.manifest)} size: ${image.manifest.length}$`, 'm'),
    );
    const inspected = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${name}`)) as {
      Digest: string;
    };
    expect(inspected.Digest).toBe(sha256(image.manifest));
    await skopeo('copy', '--src-tls-verify=false', `docker://${name}`, `oci:${join(base, 'copied')}:1`);
    for (const { digest, blob } of image.layers)
      expect(readFileSync(join(base, 'copied', 'blobs', 'sha256', digest.slice(7))).equals(blob)).toBe(true);
    if (!needs('command podman', 'root')) return;
    const podman = [
      '--root',
      join(base, 'podman'),
      '--runroot',
      join(base, 'podman-run'),
      '--storage-driver',
      'vfs',
    ];
    await run('podman', ...podman, 'pull', '-q', '--tls-verify=false', name);
    const id = await run('podman', ...podman, 'images', '--no-trunc', '-q');
    expect(id.trim()).toBe(image.imageId);
    const other = `${registry.domain}/by/podman:3`;
    await run('podman', ...podman, 'tag', name, other);
    await run('podman', ...podman, 'push', '-q', '--tls-verify=false', other);
    await laminaOk(['pull', other], join(base, 'other-root'));
    expect(await laminaOk(['images', '-q', '--no-trunc'], join(base, 'other-root'))).toBe(
      `${image.imageId}\n`,
    );
  });

  test('is asked when an image is used that is not here', async () => {
    vi.stubEnv('LAMINA_PULL', 'missing');
    const image = await fakeImage([{ 'etc/hello': 'hello\n' }]);
    const name = `${registry.domain}/on/demand`;
    await skopeo('copy', '--dest-tls-verify=false', writeLayout(image), `docker://${name}:latest`);
    const result = await lamina(['fs', 'cat', name, '/etc/hello'], root);
    expect(result).toMatchObject({ exitCode: 0, stdout: 'hello\n' });
    expect(result.stderr).toContain(`Unable to find image '${name}:latest' locally\n`);
    expect((await lamina(['fs', 'cat', name, '/etc/hello'], root)).stderr).toBe('');
    const none = await lamina(['create', `${registry.domain}/none`], root);
    expect(none.exitCode).toBe(1);
    expect(none.stderr).toMatch(
      /No such image: .*none:latest; pulling it failed: manifest for .* \[ENOIMAGE\]/,
    );
    const path = await lamina(['fs', 'cat', 'missing.tar', '/x'], root);
    expect(path.stderr).toContain('lamina: No such image');
  });

  test('is searched, listed and inspected; what is deleted is gone', async () => {
    const image = await fakeImage([{ x: 'x' }]);
    for (const tag of ['1', '2'])
      await skopeo(
        'copy',
        '--dest-tls-verify=false',
        writeLayout(image),
        `docker://${registry.domain}/found/here:${tag}`,
      );
    expect(await laminaOk(['search', '--format', '{{.Name}}', `${registry.domain}/found`], root)).toBe(
      `${registry.domain}/found/here\n`,
    );
    expect(
      JSON.parse(await laminaOk(['manifest', 'inspect', `${registry.domain}/found/here:1`], root)),
    ).toEqual(JSON.parse(image.manifest.toString()));
    const all = await laminaOk(['pull', '-a', `${registry.domain}/found/here`], root);
    expect(all.match(/: Pulling from found\/here$/gm)).toHaveLength(2);
    await skopeo('delete', '--tls-verify=false', `docker://${registry.domain}/found/here:1`);
    const gone = await lamina(['pull', `${registry.domain}/found/here:1`], root);
    expect(gone.exitCode).toBe(1);
    expect(gone.stderr).toContain(`manifest for ${registry.domain}/found/here:1 not found: manifest unknown`);
  });

  test('is found, and refused, where registries.conf says so, as by skopeo', async () => {
    const image = await fakeImage([{ x: 'x' }]);
    await skopeo(
      'copy',
      '--dest-tls-verify=false',
      writeLayout(image),
      `docker://${registry.domain}/moved/app:1`,
    );
    const file = join(base, 'registries.conf');
    writeFileSync(
      file,
      `
      [[registry]]
      prefix = "example.test/our"
      location = "${registry.domain}/moved"
      insecure = true
      [[registry]]
      location = "blocked.test"
      blocked = true
      `,
    );
    vi.stubEnv('CONTAINERS_REGISTRIES_CONF', file);
    const name = 'example.test/our/app:1';
    const raw = await skopeo('--registries-conf', file, 'inspect', '--raw', `docker://${name}`);
    expect(raw).toBe(image.manifest.toString());
    expect(await laminaOk(['pull', name], root)).toContain(`Digest: ${sha256(image.manifest)}\n`);
    expect(await laminaOk(['images', '--format', '{{.Repository}}:{{.Tag}}'], root)).toBe(`${name}\n`);
    const bad = 'blocked.test/app:1';
    await expect(skopeo('--registries-conf', file, 'inspect', `docker://${bad}`)).rejects.toThrow(/blocked/);
    expect((await lamina(['pull', bad], root)).stderr).toContain(`the registry is blocked in ${file}`);
  });

  test(
    'goes on where connections were cut, at random bytes of a large layer',
    { timeout: 120_000 },
    async () => {
      // 200 MB on the way, which takes little to compress and to decompress.
      const image = await fakeImage([{ big: randomBytes(200_000_000) }], {
        compress: (tar) => gzipSync(tar, { level: 0 }),
      });
      const { digest, blob } = image.layers[0]!;
      await skopeo(
        'copy',
        '--dest-tls-verify=false',
        writeLayout(image),
        `docker://${registry.domain}/cut:1`,
      );
      const proxy = await CuttingProxy.start(registry.domain);
      // Seeded: Park and Miller's generator.
      let seed = 20_251;
      const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
      try {
        for (let count = 0; count < 50; count++) proxy.cutAfter.push(1 + random(7 << 20));
        await laminaOk(['pull', `${proxy.domain}/cut:1`], root);
        expect(proxy.cuts).toBe(50);
        expect(readFileSync(join(root, 'blobs', 'sha256', digest.slice(7))).equals(blob)).toBe(true);
      } finally {
        await proxy.close();
      }
    },
  );

  test('goes on in another process after one was killed', { timeout: 60_000 }, async () => {
    const image = await fakeImage([{ big: randomBytes(24 << 20) }]);
    const { digest, blob } = image.layers[0]!;
    await skopeo(
      'copy',
      '--dest-tls-verify=false',
      writeLayout(image),
      `docker://${registry.domain}/killed:1`,
    );
    const partial = join(root, 'partial', digest.replace(':', '-'));
    const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
    let kills = 0;
    for (; kills < 5; kills++) {
      const child = execFile(process.execPath, [main, 'pull', `${registry.domain}/killed:1`], {
        env: { ...process.env, LAMINA_ROOT: root },
      });
      const ended = new Promise((resolve) => child.once('close', resolve));
      const wanted = ((kills + 1) * blob.length) / 6;
      while (child.exitCode === null && (statSync(partial, { throwIfNoEntry: false })?.size ?? 0) < wanted)
        await new Promise((resolve) => setTimeout(resolve, 1));
      child.kill('SIGKILL');
      await ended;
      // Nothing is mentioned that is not whole.
      if (
        existsSync(join(root, 'index.json')) &&
        readFileSync(join(root, 'index.json'), 'utf8').includes('killed')
      )
        break;
      expect(existsSync(join(root, 'blobs', 'sha256', digest.slice(7)))).toBe(false);
    }
    await laminaOk(['pull', `${registry.domain}/killed:1`], root);
    expect(readFileSync(join(root, 'blobs', 'sha256', digest.slice(7))).equals(blob)).toBe(true);
    expect(existsSync(partial)).toBe(false);
  });
});

/** Every file below a directory, by its path. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

describe.skipIf(!canRun)('secrets', () => {
  /** As lamina(), with standard input; keeps what it and the process list say. */
  async function withInput(args: string[], input: string, said: string[]): Promise<number> {
    const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [main, ...args],
        { env: { ...process.env, LAMINA_ROOT: root } },
        (_, stdout, stderr) => {
          said.push(stdout, stderr);
          resolve(child.exitCode ?? 128);
        },
      );
      said.push(readFileSync(`/proc/${child.pid}/cmdline`, 'latin1'));
      child.stdin!.end(input);
    });
  }

  async function loginPullPush(registry: RunningRegistry, extra: string[] = []): Promise<void> {
    const said: string[] = [];
    const { domain } = registry;
    const image = await fakeImage([{ a: randomBytes(50) }]);
    const layout = writeLayout(image);
    const name = `${domain}/app:1`;
    const denied = await lamina(['pull', ...extra, name], root);
    expect(denied.stderr).toContain('EAUTH');
    expect(await withInput(['login', ...extra, '-u', 'me', '--password-stdin', domain], 'wrong', said)).toBe(
      1,
    );
    expect(
      await withInput(['login', ...extra, '-u', 'me', '--password-stdin', domain], `${SECRET}\n`, said),
    ).toBe(0);
    const config = join(base, 'docker', 'config.json');
    expect(statSync(config).mode & 0o777).toBe(0o600);
    const authentication = ['--dest-tls-verify=false', '--dest-creds', `me:${SECRET}`];
    await skopeo('copy', ...authentication, layout, `docker://${name}`);
    said.push(await laminaOk(['pull', ...extra, name], root));
    const copied = `${domain}/copied:3`;
    const tls = extra.length > 0 ? ['--src-tls-verify', '--dest-tls-verify'] : [];
    said.push(await laminaOk(['copy', ...tls, `docker://${name}`, `docker://${copied}`], root));
    said.push(await laminaOk(['copy', ...tls, `docker://${copied}`, `oci:${join(base, 'copied')}:1`], root));
    await laminaOk(['tag', name, `${domain}/other:2`], root);
    said.push(await laminaOk(['push', ...extra, `${domain}/other:2`], root));
    const pushed = await skopeo(
      'inspect',
      '--tls-verify=false',
      '--creds',
      `me:${SECRET}`,
      `docker://${domain}/other:2`,
    );
    expect(pushed).toContain(sha256(image.manifest));
    said.push(await laminaOk(['logout', domain], root));
    said.push((await lamina(['pull', ...extra, `${domain}/none:1`], root)).stderr);
    const encoded = Buffer.from(`me:${SECRET}`).toString('base64');
    for (const text of said) expect(text).not.toMatch(new RegExp(`${SECRET}|${encoded}`));
    for (const file of filesBelow(base)) {
      const content = readFileSync(file, 'latin1');
      expect(content.includes(SECRET) || content.includes(encoded), file).toBe(false);
    }
  }

  test('htpasswd', async () => {
    const registry = await startDockerRegistry({ htpasswd: { user: 'me', password: SECRET } });
    try {
      await loginPullPush(registry);
    } finally {
      await registry.stop();
    }
  });

  test('tokens', async () => {
    const keys = makeCertificates(join(base, 'keys'));
    const tokens = await startTokenServer('me', SECRET, { certificate: keys.certificate, key: keys.key });
    const registry = await startDockerRegistry({
      token: { realm: tokens.realm, certificate: keys.authority },
    });
    try {
      await loginPullPush(registry);
      expect(tokens.asked).toContain('repository:app:pull');
      expect(tokens.asked.some((scopes) => scopes.startsWith('repository:other:pull,push'))).toBe(true);
    } finally {
      await registry.stop();
      await tokens.close();
    }
  });

  test('TLS of an authority of one’s own', async () => {
    const keys = makeCertificates(join(base, 'keys'));
    const registry = await startDockerRegistry({ tls: keys, htpasswd: { user: 'me', password: SECRET } });
    try {
      const strict = await lamina(['pull', '--tls-verify', `${registry.domain}/app:1`], root);
      expect(strict.stderr).toMatch(/certificate/);
      expect(strict.stderr).toContain('ENETWORK');
      const certificates = join(base, 'docker', 'certs.d', registry.domain);
      mkdirSync(certificates, { recursive: true });
      writeFileSync(join(certificates, 'ca.crt'), readFileSync(keys.authority));
      await loginPullPush(registry, ['--tls-verify']);
      // Another authority for this host: nothing weaker is tried, although it is on loopback.
      const other = makeCertificates(join(base, 'other-keys'));
      writeFileSync(join(certificates, 'ca.crt'), readFileSync(other.authority));
      expect((await lamina(['pull', `${registry.domain}/app:1`], root)).stderr).toContain('ENETWORK');
    } finally {
      await registry.stop();
    }
  });

  test('a password on the command line is warned of', async () => {
    const held = await startDockerRegistry({ htpasswd: { user: 'me', password: SECRET } });
    try {
      const result = await lamina(['login', '-u', 'me', '-p', SECRET, held.domain], root);
      expect(result.exitCode).toBe(0);
      expect(result.stderr).toContain(
        'WARNING! Using --password via the CLI is insecure. Use --password-stdin.',
      );
    } finally {
      await held.stop();
    }
  });
});

test.skipIf(!canRun)('usage errors in docker’s words', async () => {
  for (const [args, message] of [
    [['pull', '-a', 'x:1'], "tag can't be used with --all-tags/-a"],
    [['login', '--password-stdin', 'x'], 'the --password-stdin option requires --username to be set'],
    [
      ['login', '-u', 'a', '-p', 'b', '--password-stdin'],
      'conflicting options: cannot specify both --password and --password-stdin',
    ],
    [['login', '-u', '', 'x'], 'username is empty'],
    [['pull', 'UPPER'], 'must be lower case'],
  ] as const) {
    const result = await lamina(args, root);
    expect(result.exitCode).toBe(125);
    expect(result.stderr).toContain(message);
  }
});
