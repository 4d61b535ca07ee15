/** How registries are reached, and who may see what is said on the way: certificates, proxies, terminals, process lists. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeCertificates, startDockerRegistry } from '../helpers/docker-registry.js';
import { fakeImage, FakeRegistry } from '../helpers/fake-registry.js';
import { HttpProxy } from '../helpers/http-proxy.js';
import { isLaminaBuilt, lamina, LAMINA_MAIN, laminaOk } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const isBuilt = requirement('the built command', isLaminaBuilt('native'));
const SECRET = 'open sesame, dear 7d1f';
const BASIC = `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`;

let base: string;
let root: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-e2e-access-'));
  root = join(base, 'root');
  mkdirSync(join(base, 'docker'));
  writeFileSync(join(base, 'docker', 'config.json'), '{}');
  vi.stubEnv('DOCKER_CONFIG', join(base, 'docker'));
  vi.stubEnv('XDG_CONFIG_HOME', join(base, 'config'));
  vi.stubEnv('XDG_RUNTIME_DIR', join(base, 'run'));
  vi.stubEnv('REGISTRY_AUTH_FILE', '');
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'])
    vi.stubEnv(name, '');
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true, force: true });
});

describe.skipIf(!isBuilt || !needs('command openssl'))('client certificates', () => {
  test('are shown from certs.d of docker and of containers, and from --cert-dir', async () => {
    const keys = makeCertificates(join(base, 'keys'));
    const registry = await FakeRegistry.start({
      cert: readFileSync(keys.certificate),
      key: readFileSync(keys.key),
      ca: readFileSync(keys.authority),
      requestCert: true,
      rejectUnauthorized: true,
      // Where the handshake itself fails: in TLS 1.3 it seems to succeed, and is tried again.
      maxVersion: 'TLSv1.2',
    });
    const image = await fakeImage([{ a: 'a' }]);
    registry.add('app:1', image);
    const name = `${registry.domain}/app:1`;
    const put = (directory: string, ...which: ('ca' | 'client')[]): void => {
      mkdirSync(directory, { recursive: true });
      if (which.includes('ca')) copyFileSync(keys.authority, join(directory, 'ca.crt'));
      if (!which.includes('client')) return;
      copyFileSync(keys.client.certificate, join(directory, 'client.cert'));
      copyFileSync(keys.client.key, join(directory, 'client.key'));
    };
    let count = 0;
    /** Into a store of its own, so that there is something to fetch. */
    const pull = (...options: string[]): ReturnType<typeof lamina> =>
      lamina(['pull', '-q', '--tls-verify', ...options, name], join(base, `root-${count++}`));
    const places = [
      join(base, 'docker', 'certs.d', registry.domain),
      join(base, 'config', 'containers', 'certs.d', registry.domain),
    ];
    try {
      expect((await pull()).stderr).toContain('ENETWORK');
      for (const place of places) {
        // Its authority alone is not enough.
        put(place, 'ca');
        expect(await pull()).toMatchObject({ exitCode: 1, stdout: '' });
        put(place, 'client');
        expect(await pull()).toMatchObject({ exitCode: 0, stderr: '' });
        rmSync(place, { recursive: true });
      }
      put(join(base, 'own'), 'ca', 'client');
      expect(await pull('--cert-dir', join(base, 'own'))).toMatchObject({ exitCode: 0 });
      expect((await pull('--cert-dir', join(base, 'none'))).stderr).toContain('ENOENT');
      const pushed = `docker://${registry.domain}/pushed:1`;
      await laminaOk(
        [
          'copy',
          '--src-cert-dir',
          join(base, 'own'),
          '--dest-cert-dir',
          join(base, 'own'),
          `docker://${name}`,
          pushed,
        ],
        root,
      );
      expect(registry.manifests.get('pushed/1')?.bytes.equals(image.manifest)).toBe(true);
      // A certificate without its key is a mistake that is told.
      put(places[0]!, 'ca', 'client');
      rmSync(join(places[0]!, 'client.key'));
      expect((await pull()).stderr).toContain('missing key');
    } finally {
      await registry.close();
    }
  });
});

describe.skipIf(!isBuilt || !needs('command openssl', 'command docker-registry', 'command htpasswd'))(
  'proxies',
  () => {
    test(
      'stand between where the environment says so, for http and https, with their own credentials',
      { timeout: 60_000 },
      async () => {
        const keys = makeCertificates(join(base, 'keys'), 'DNS:secure.test');
        const plain = await startDockerRegistry();
        const secure = await startDockerRegistry({ tls: keys, htpasswd: { user: 'me', password: SECRET } });
        const proxy = await HttpProxy.start({
          'plain.test:80': plain.domain,
          'secure.test:443': secure.domain,
        });
        try {
          const certificates = join(base, 'docker', 'certs.d', 'secure.test');
          mkdirSync(certificates, { recursive: true });
          copyFileSync(keys.authority, join(certificates, 'ca.crt'));
          const image = await fakeImage([{ a: 'a' }, { big: randomBytes(5 << 20) }]);
          const seed = await FakeRegistry.start();
          seed.add('app:1', image);
          // The proxy is not asked for what lies on this machine.
          vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:1');
          vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:1');
          await laminaOk(['pull', '-q', `${seed.domain}/app:1`], root);
          await seed.close();
          for (const to of ['plain.test/app:1', 'secure.test/app:1'])
            await laminaOk(['tag', image.imageId, to], root);

          proxy.credentials = `Basic ${Buffer.from('proxy user:pa:ss%word').toString('base64')}`;
          const at = `http://proxy%20user:pa:ss%25word@${proxy.host}`;
          vi.stubEnv('HTTP_PROXY', at);
          vi.stubEnv('HTTPS_PROXY', at);
          await laminaOk(['push', '--tls-verify=false', 'plain.test/app:1'], root);
          const login = ['login', '-u', 'me', '--password-stdin', 'secure.test'];
          await new Promise<void>((resolve, reject) => {
            const child = execFile(
              process.execPath,
              [LAMINA_MAIN, ...login],
              { env: { ...process.env, LAMINA_ROOT: root } },
              (error) => (error === null ? resolve() : reject(error)),
            );
            child.stdin!.end(SECRET);
          });
          await laminaOk(['push', 'secure.test/app:1'], root);
          const other = join(base, 'other');
          const digests = await Promise.all(
            ['plain.test', 'secure.test'].map(async (host) => {
              const tls = host === 'plain.test' ? ['--tls-verify=false'] : [];
              return /^Digest: (.*)$/m.exec(
                await laminaOk(['pull', ...tls, `${host}/app:1`], join(other, host)),
              )![1];
            }),
          );
          expect(new Set(digests).size).toBe(1);
          const methods = new Set(proxy.seen.map(({ method }) => method));
          expect([...methods].sort()).toEqual(['CONNECT', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT']);
          for (const { method, target, authorization } of proxy.seen) {
            expect(authorization).toBe(proxy.credentials);
            expect(target).toMatch(
              method === 'CONNECT' ? /^(secure|plain)\.test:443$/ : /^http:\/\/plain\.test\/v2\//,
            );
          }

          // Straight, there is nobody of that name.
          vi.stubEnv('NO_PROXY', 'plain.test, .secure.test');
          const { length } = proxy.seen;
          const straight = await lamina(
            ['pull', '--tls-verify=false', 'plain.test/app:1'],
            join(base, 'third'),
          );
          expect(straight.stderr).toMatch(/no such host|cannot be looked up/);
          expect(proxy.seen).toHaveLength(length);
          vi.stubEnv('NO_PROXY', '');

          // Who is not let through is told so, and no secret with it.
          for (const [variable, name] of [
            ['HTTP_PROXY', 'plain.test/app:1'],
            ['HTTPS_PROXY', 'secure.test/app:1'],
          ] as const) {
            vi.stubEnv(variable, `http://me:wrong-secret@${proxy.host}`);
            const tls = variable === 'HTTP_PROXY' ? ['--tls-verify=false'] : [];
            const refused = await lamina(['pull', ...tls, name], join(base, 'third'));
            expect(refused.exitCode).toBe(1);
            expect(refused.stderr).toContain('ENETWORK');
            expect(refused.stderr).toMatch(/proxy/i);
            expect(refused.stderr).not.toContain('wrong-secret');
          }
        } finally {
          await proxy.close();
          await plain.stop();
          await secure.stop();
        }
      },
    );
  },
);

/** Takes a name and a password, but only after a while; tells when it was asked. */
async function slowRegistry(ms: number): Promise<{ registry: FakeRegistry; asked: Promise<void> }> {
  const registry = await FakeRegistry.start();
  let tell = (): void => {};
  const asked = new Promise<void>((resolve) => (tell = resolve));
  registry.hook = async ({ headers, url }, response) => {
    if (headers.authorization === BASIC) {
      tell();
      await new Promise((resolve) => setTimeout(resolve, ms));
      return false;
    }
    response.writeHead(401, { 'www-authenticate': 'Basic realm="slow"' }).end('{}');
    return url !== '';
  };
  return { registry, asked };
}

/** Processes whose arguments or environment hold the text. */
function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) =>
      ['cmdline', 'environ'].flatMap((file) => {
        try {
          const content = readFileSync(`/proc/${pid}/${file}`, 'latin1');
          return content.includes(text) ? [`${pid} ${file}`] : [];
        } catch {
          return [];
        }
      }),
    );
}

describe.skipIf(!isBuilt)('the list of processes', () => {
  const encoded = Buffer.from(`me:${SECRET}`).toString('base64');

  test('shows a password that was on the command line no longer than it takes to read it', async () => {
    const { registry, asked } = await slowRegistry(1000);
    try {
      const args = [LAMINA_MAIN, 'login', '-u', 'me', '-p', SECRET, registry.domain];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => (said += String(chunk)));
      const ended = new Promise((resolve) => child.once('close', resolve));
      await asked;
      expect(child.exitCode).toBeNull();
      expect(readFileSync(`/proc/${child.pid}/cmdline`, 'latin1')).toContain('lamina login');
      for (const text of [SECRET, encoded]) expect(processesWith(text)).toEqual([]);
      expect(await ended).toBe(0);
      expect(said).toContain('WARNING! Using --password via the CLI is insecure. Use --password-stdin.');
      expect(said).not.toContain(SECRET);
    } finally {
      await registry.close();
    }
  });

  test('never shows one of standard input, nor do helpers that keep it', async () => {
    const helpers = join(base, 'bin');
    mkdirSync(helpers);
    const kept = join(base, 'kept');
    writeFileSync(
      join(helpers, 'docker-credential-slow'),
      `#!/bin/sh\ncat > '${kept}'\n: > '${kept}.there'\nsleep 1\n[ "$1" = store ] || { echo credentials not found in native keychain; exit 1; }\n`,
    );
    chmodSync(join(helpers, 'docker-credential-slow'), 0o755);
    writeFileSync(join(base, 'docker', 'config.json'), JSON.stringify({ credsStore: 'slow' }));
    vi.stubEnv('PATH', `${helpers}:${process.env['PATH']}`);
    const { registry } = await slowRegistry(300);
    try {
      const args = [LAMINA_MAIN, 'login', '-u', 'me', '--password-stdin', registry.domain];
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => (said += String(chunk)));
      const ended = new Promise<number>((resolve) => child.once('close', resolve));
      let isOver = false;
      void ended.then(() => (isOver = true));
      child.stdin.end(`${SECRET}\n`);
      let looks = 0;
      for (; !isOver; looks++) {
        for (const text of [SECRET, encoded]) expect(processesWith(text)).toEqual([]);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(await ended).toBe(0);
      expect(looks).toBeGreaterThan(20);
      expect(said).not.toContain(SECRET);
      // It went where it was to go, and nowhere else.
      expect(JSON.parse(readFileSync(kept, 'utf8'))).toMatchObject({ Username: 'me', Secret: SECRET });
      expect(readFileSync(join(base, 'docker', 'config.json'), 'utf8')).not.toContain(SECRET);
      expect(readFileSync(join(base, 'docker', 'config.json'), 'utf8')).not.toContain(encoded);
    } finally {
      await registry.close();
    }
  });
});

describe.skipIf(!isBuilt || !needs('command python3'))('a terminal', () => {
  /** Runs lamina on a terminal of its own; what it shows, and the exit status. `answers`: prompt -> what is typed then. */
  async function onTerminal(
    args: string[],
    answers: [string, string][],
  ): Promise<{ shown: string; status: number }> {
    const script = `
import json, os, pty, re, select, sys
args, answers = json.load(sys.stdin)
pid, fd = pty.fork()
if pid == 0:
    os.execvp(args[0], args)
shown = b''
while True:
    ready, _, _ = select.select([fd], [], [], 30)
    if not ready:
        break
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    shown += data
    if answers and re.sub(rb'\\x1b\\[[0-9;]*[A-Za-z]', b'', shown).endswith(answers[0][0].encode()):
        os.write(fd, answers.pop(0)[1].encode())
_, status = os.waitpid(pid, 0)
print(json.dumps({'shown': shown.decode('utf8', 'replace'), 'status': os.waitstatus_to_exitcode(status)}))
`;
    return new Promise((resolve, reject) => {
      const child = execFile(
        'python3',
        ['-I', '-c', script],
        { env: { ...process.env, LAMINA_ROOT: root } },
        (error, stdout, stderr) =>
          error === null
            ? resolve(JSON.parse(stdout) as { shown: string; status: number })
            : reject(new Error(stderr)),
      );
      child.stdin!.end(JSON.stringify([[process.execPath, LAMINA_MAIN, ...args], answers]));
    });
  }

  test('is asked for name and password, and does not show the latter', async () => {
    const { registry } = await slowRegistry(0);
    try {
      const { shown, status } = await onTerminal(
        ['login', registry.domain],
        [
          ['Username: ', 'me\r'],
          ['Password: ', `${SECRET}\r`],
        ],
      );
      expect(shown).toMatch(/Username: .*me/);
      expect(shown).toContain('Login Succeeded');
      expect(status).toBe(0);
      expect(shown).not.toContain(SECRET);
      for (const word of SECRET.split(' ')) expect(shown).not.toContain(word);
      const kept = JSON.parse(readFileSync(join(base, 'docker', 'config.json'), 'utf8')) as {
        auths: Record<string, { auth: string }>;
      };
      expect(kept.auths[registry.domain]!.auth).toBe(BASIC.slice('Basic '.length));
      const known = await onTerminal(['login', registry.domain], []);
      expect(known.shown).toContain('Authenticating with existing credentials... [Username: me]');
      expect(known.status).toBe(0);
      // Refused: nothing is kept of it, and the shell's terminal is as it was.
      const wrong = await onTerminal(
        ['login', '-u', 'you', registry.domain],
        [['Password: ', 'wrong-secret\r']],
      );
      expect(wrong.status).toBe(1);
      expect(wrong.shown).not.toContain('wrong-secret');
      expect(readFileSync(join(base, 'docker', 'config.json'), 'utf8')).toContain(BASIC.slice(6));
      const interrupted = await onTerminal(
        ['login', '-u', 'you', registry.domain],
        [['Password: ', 'half\u0003']],
      );
      expect(interrupted.status).not.toBe(0);
      expect(interrupted.shown).not.toContain('half');
    } finally {
      await registry.close();
    }
  });

  test('is painted on by nobody who is asked', async () => {
    const paint = '\u001b[2J\u001b]0;title\u0007\u009b31m';
    const registry = await FakeRegistry.start();
    registry.hook = (_, response) => {
      response
        .writeHead(403)
        .end(JSON.stringify({ errors: [{ code: `DENIED${paint}`, message: `no${paint}` }] }));
      return true;
    };
    try {
      for (const args of [
        ['pull', `${registry.domain}/x`],
        ['manifest', 'inspect', `${registry.domain}/x`],
        ['search', `${registry.domain}/x`],
        ['login', '-u', 'me', '-p', 'x', registry.domain],
      ]) {
        const { shown, status } = await onTerminal(args, []);
        expect(status).toBe(1);
        expect(shown, args[0]).toMatch(/no/);

        expect(shown, args[0]).not.toMatch(/[\u0007\u009b]|\u001b\]|\u001b\[2J/);
      }
    } finally {
      await registry.close();
    }
  });
});

test.skipIf(!isBuilt)('search shows what Docker Hub’s API says, with fields and filters', async () => {
  const registry = await FakeRegistry.start();
  const asked: URLSearchParams[] = [];
  registry.hook = (request, response) => {
    const url = new URL(request.url!, 'http://x');
    if (url.pathname !== '/v1/search') return false;
    asked.push(url.searchParams);
    // docs.docker.com/reference/api/hub, GET /v1/search: as `docker search` is answered.
    const one = (name: string, star_count: number, is_official: boolean, description: string): object => ({
      ...{ name, star_count, is_official, description, is_automated: false, is_trusted: false },
    });
    response.end(
      JSON.stringify({
        ...{ num_pages: 1, num_results: 3, page: 1, page_size: 25, query: 'nginx' },
        results: [
          one(
            'nginx',
            20_000,
            true,
            'Official build of Nginx.\nAnd a second line that is rather long, longer than 45',
          ),
          one('someone/nginx', 30, false, 'Another'),
          one('nobody/nginx', 0, false, ''),
        ],
      }),
    );
    return true;
  };
  const search = async (...args: string[]): Promise<string> =>
    Buffer.from(await laminaOk(['search', ...args, `${registry.domain}/nginx`], root), 'latin1').toString();
  try {
    const table = (await search()).split('\n');
    expect(table[0]).toMatch(/^NAME +DESCRIPTION +STARS +OFFICIAL$/);
    expect(table[1]).toMatch(/\/nginx +Official build of Nginx\. And a second line t… +20000 +\[OK\]$/);
    expect(table).toHaveLength(5);
    expect(asked[0]!.get('q')).toBe('nginx');
    expect(asked[0]!.get('n')).toBe('25');
    await search('--limit', '7');
    expect(asked.at(-1)!.get('n')).toBe('7');
    const format = ['--format', '{{.Name}}|{{.StarCount}}|{{.IsOfficial}}'];
    const at = `${registry.domain}/`;
    expect(await search(...format, '-f', 'stars=30')).toBe(`${at}nginx|20000|[OK]\n${at}someone/nginx|30|\n`);
    expect(await search(...format, '-f', 'is-official=true')).toBe(`${at}nginx|20000|[OK]\n`);
    expect(await search(...format, '-f', 'is-official=false', '-f', 'stars=1')).toBe(
      `${at}someone/nginx|30|\n`,
    );
    expect(await search('--no-trunc', '--format', '{{.Description}}')).toContain(
      'Official build of Nginx. And a second line that is rather long, longer than 45\n',
    );
    const json = (await search('--format', 'json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(json[0]).toMatchObject({ Name: `${at}nginx`, StarCount: '20000', IsOfficial: 'true' });
    for (const [args, status] of [
      [['--limit', '101'], 125],
      [['-f', 'stars=x'], 1],
      [['-f', 'nonsense=1'], 1],
    ] as const)
      expect((await lamina(['search', ...args, `${registry.domain}/nginx`], root)).exitCode).toBe(status);
  } finally {
    await registry.close();
  }
});
