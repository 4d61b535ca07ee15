/** Debian's docker-registry on loopback, in all the ways in which it asks who is there; and what stands between. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSign, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RunningRegistry {
  /** `127.0.0.1:PORT` */
  domain: string;
  /** Its own, for keys and other files of a test. */
  directory: string;
  stop(): Promise<void>;
}

export interface RegistryOptions {
  tls?: { certificate: string; key: string };
  htpasswd?: { user: string; password: string };
  token?: { realm: string; certificate: string };
}

export async function startDockerRegistry(options: RegistryOptions = {}): Promise<RunningRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'lamina-docker-registry-'));
  const port = await freePort();
  const { tls, htpasswd, token } = options;
  const lines = [
    'version: 0.1',
    'log: {level: error, accesslog: {disabled: true}}',
    'storage:',
    `  filesystem: {rootdirectory: ${directory}/data}`,
    '  delete: {enabled: true}',
    'http:',
    `  addr: 127.0.0.1:${port}`,
    ...(tls === undefined ? [] : [`  tls: {certificate: ${tls.certificate}, key: ${tls.key}}`]),
  ];
  if (htpasswd !== undefined) {
    const file = join(directory, 'htpasswd');
    writeFileSync(file, execFileSync('htpasswd', ['-nbB', htpasswd.user, htpasswd.password]));
    lines.push('auth:', `  htpasswd: {realm: tests, path: ${file}}`);
  }
  if (token !== undefined)
    lines.push(
      'auth:',
      `  token: {realm: "${token.realm}", service: tests, issuer: tests, rootcertbundle: ${token.certificate}}`,
    );
  writeFileSync(join(directory, 'config.yml'), `${lines.join('\n')}\n`);
  const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'ignore'],
    // REGISTRY_AUTH_FILE and the like would be settings of its own.
    env: { PATH: process.env['PATH'] ?? '' },
  });
  await untilListening(port, child);
  return {
    domain: `127.0.0.1:${port}`,
    directory,
    async stop() {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('docker-registry does not listen');
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface Certificates {
  authority: string;
  /** Of the server. */
  certificate: string;
  key: string;
  /** Of a client, of the same authority. */
  client: { certificate: string; key: string };
}

/** Files: an authority, and certificates of it for a server, by default at 127.0.0.1, and for a client. */
export function makeCertificates(directory: string, subjectAltName = 'IP:127.0.0.1'): Certificates {
  mkdirSync(directory, { recursive: true });
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const key = ['-newkey', 'rsa:2048', '-nodes'];
  const self = ['-subj', '/CN=tests', '-days', '2'];
  openssl('req', '-x509', ...key, '-keyout', at('ca.key'), '-out', at('ca.crt'), ...self);
  const signed = (name: string, extension: string): { certificate: string; key: string } => {
    const request = ['-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${name}`];
    openssl('req', ...key, ...request);
    writeFileSync(at(`${name}.ext`), `${extension}\n`);
    const by = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2'];
    const files = ['-in', at(`${name}.csr`), '-extfile', at(`${name}.ext`), '-out', at(`${name}.crt`)];
    openssl('x509', '-req', ...files, ...by);
    return { certificate: at(`${name}.crt`), key: at(`${name}.key`) };
  };
  const server = signed('server', `subjectAltName=${subjectAltName}`);
  return { authority: at('ca.crt'), ...server, client: signed('client', 'extendedKeyUsage=clientAuth') };
}

export interface TokenServer {
  realm: string;
  /** What it was asked for: scopes, joined. */
  asked: string[];
  close(): Promise<void>;
}

/** Gives tokens (distribution, docs/content/spec/auth/jwt.md) to one user; others may pull nothing. */
export async function startTokenServer(
  user: string,
  password: string,
  keys: { certificate: string; key: string },
): Promise<TokenServer> {
  const asked: string[] = [];
  const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const key = readFileSync(keys.key, 'utf8');
  const x5c = [new X509Certificate(readFileSync(keys.certificate)).raw.toString('base64')];
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const server = createServer((request, response) => {
    const query = new URL(request.url!, 'http://x').searchParams;
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    asked.push(scopes.join(' '));
    if (request.headers.authorization !== basic) {
      response.writeHead(401).end('{}');
      return;
    }
    const access = scopes.filter(Boolean).map((scope) => {
      const [type, ...rest] = scope.split(':');
      return { type, name: rest.slice(0, -1).join(':'), actions: rest.at(-1)!.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: 'tests',
      sub: user,
      aud: 'tests',
      exp: now + 300,
      nbf: now - 10,
      iat: now,
      jti: String(Math.random()),
      access,
    };
    const signed = `${encode({ typ: 'JWT', alg: 'RS256', x5c })}.${encode(claims)}`;
    const token = `${signed}.${createSign('RSA-SHA256').update(signed).sign(key).toString('base64url')}`;
    response.end(JSON.stringify({ token, expires_in: 300 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    asked,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Passes connections on, and cuts one each time that so many bytes came from the other side. */
export class CuttingProxy {
  readonly cutAfter: number[] = [];
  cuts = 0;
  #server: net.Server | undefined;
  readonly #sockets = new Set<net.Socket>();

  static async start(target: string): Promise<CuttingProxy> {
    const proxy = new CuttingProxy();
    const [host, port] = target.split(':');
    proxy.#server = net.createServer((client) => {
      const upstream = net.connect(Number(port), host!);
      for (const socket of [client, upstream]) {
        proxy.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => proxy.#sockets.delete(socket));
      }
      client.pipe(upstream);
      client.on('close', () => upstream.destroy());
      let left = Infinity;
      upstream.on('data', (chunk) => {
        // Only what is large is cut; a limit is taken when it begins.
        if (left === Infinity && chunk.length > 8192) left = proxy.cutAfter.shift() ?? Infinity;
        if (chunk.length > left) {
          proxy.cuts++;
          client.write(chunk.subarray(0, left), () => client.destroy());
          upstream.destroy();
          return;
        }
        left -= chunk.length;
        if (!client.write(chunk)) {
          upstream.pause();
          client.once('drain', () => upstream.resume());
        }
      });
      upstream.on('end', () => client.end());
    });
    await new Promise<void>((resolve) => proxy.#server!.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get domain(): string {
    return `127.0.0.1:${(this.#server!.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server!.close(resolve));
  }
}
