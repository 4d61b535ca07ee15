/** Registries that mean harm, or are broken so that it comes to the same. */
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { copyImage } from '../../../src/image/copy/copy.js';
import { tagImage } from '../../../src/image/tag.js';
import { parseReference } from '../../../src/oci/reference.js';
import { HttpClient, readBody } from '../../../src/registry/http.js';
import { printable, printableJson } from '../../../src/registry/printable.js';
import { pullAllTags } from '../../../src/registry/pull.js';
import { searchRegistry } from '../../../src/registry/search.js';
import { requireTls, tokenServer } from '../../../src/registry/tokens.js';
import { makeCertificates } from '../../helpers/docker-registry.js';
import { fakeImage, FakeRegistry, notFound, sha256 } from '../../helpers/fake-registry.js';
import type { FakeImage } from '../../helpers/fake-registry.js';
import { needs } from '../../helpers/require.js';
import { FAST, Place } from './support.js';

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const ESCAPE = '\u001b[2J\u009b31m\u202e';

let place: Place;
let registry: FakeRegistry;
let image: FakeImage;
let name: string;

beforeEach(async () => {
  place = new Place();
  registry = await FakeRegistry.start();
  image = await fakeImage([{ a: 'a' }]);
  registry.add('some/image:1', image);
  name = `${registry.domain}/some/image:1`;
});

afterEach(async () => {
  await place.close();
  await registry.close();
});

/** The one image of the store gets another name. */
async function tag(to: string): Promise<void> {
  const [image] = place.store.snapshot().images;
  await tagImage(place.store, image!.imageId, to);
}

function answer(pattern: RegExp, respond: (response: ServerResponse) => void): void {
  registry.hook = (request, response) => {
    if (!pattern.test(request.url!)) return false;
    respond(response);
    return true;
  };
}

describe('tokens', () => {
  let tokens: Server;
  let realm: string;
  let given: object;
  const asked: { url: string; authorization: string | undefined }[] = [];

  beforeEach(async () => {
    asked.length = 0;
    given = {};
    tokens = createServer((request, response) => {
      asked.push({ url: request.url!, authorization: request.headers.authorization });
      response.end(JSON.stringify({ token: `token-${asked.length}`, expires_in: 300, ...given }));
    });
    await new Promise<void>((resolve) => tokens.listen(0, '127.0.0.1', resolve));
    realm = `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`;
  });

  afterEach(async () => {
    tokens.closeAllConnections();
    await new Promise((resolve) => tokens.close(resolve));
  });

  const challenge = (of: FakeRegistry): void => {
    of.hook = (request, response) => {
      if (request.headers.authorization !== undefined) return false;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="same"` }).end('{}');
      return true;
    };
  };

  test('a token that one registry was given is not shown to another that names the same server', async () => {
    const evil = await FakeRegistry.start();
    try {
      challenge(registry);
      challenge(evil);
      const client = place.client();
      await copyImage(place.store, `docker://${name}`, `docker://${evil.domain}/some/image:1`, {
        sourceClient: async () => client,
        targetClient: async () => client,
      });
      // Reads there as well, with the scope that was asked for here.
      await place.pull(`${evil.domain}/some/image:1`, {}, client);
      const of = (one: FakeRegistry): Set<string> =>
        new Set(one.requests.flatMap(({ headers }) => headers.authorization ?? []));
      expect(of(registry).size).toBeGreaterThan(0);
      expect(of(evil).size).toBeGreaterThan(0);
      for (const token of of(registry)) expect(of(evil)).not.toContain(token);
    } finally {
      await evil.close();
    }
  });

  test.each([
    ['a fraction', { expires_in: 60.00001 }],
    ['without end', { expires_in: 1e300 }],
    ['past', { expires_in: -5 }],
  ])('that last for %s are used', async (_, answered) => {
    given = answered;
    challenge(registry);
    await place.pull(name);
    expect(asked.length).toBeGreaterThan(0);
  });

  test('that are no text of a header are refused, and not shown', async () => {
    given = { token: 'secret\r\nx-injected: yes' };
    challenge(registry);
    await expect(place.pull(name)).rejects.toMatchObject({
      code: 'EAUTH',
      message: expect.not.stringContaining('secret') as string,
    });
  });

  test('what is insecure of a registry is not so of another host that it names', () => {
    const endpoint = { domain: 'reg.lan', url: new URL('https://reg.lan/'), isUnverified: true };
    const settings = { insecure: ['trusted.lan'], mirrors: new Map() };
    const ask = (where: string): void => {
      const { url, isUnverified } = tokenServer(endpoint, where, settings);
      requireTls(url, isUnverified);
    };
    expect(() => ask('http://evil.example/token')).toThrow(/without TLS/);
    expect(tokenServer(endpoint, 'https://evil.example/token', settings).isUnverified).toBe(false);
    ask('http://reg.lan:5001/token');
    ask('http://trusted.lan/token');
    for (const bad of ['file:///etc/passwd', 'nothing', undefined, 'ftp://reg.lan/'])
      expect(() => tokenServer(endpoint, bad, settings)).toThrow(/names no token server/);
  });
});

describe('names and numbers', () => {
  test.each(['../../other/manifests/1', `x${ESCAPE}`, 'a/b', '', 'x?y=z'])(
    'the tag %j is none, and nothing is asked for by it',
    async (tag) => {
      answer(/\/tags\/list$/, (response) => response.end(JSON.stringify({ tags: ['1', tag] })));
      await expect(
        pullAllTags(
          place.store,
          place.client(),
          parseReference(`${registry.domain}/some/image`),
          { maxInflatedBytes: 1 << 30 },
          () => {},
        ),
      ).rejects.toMatchObject({
        code: 'EREGISTRY',
        message: expect.not.stringContaining('\u001b') as string,
      });
      expect(registry.seen(/manifests/)).toEqual([]);
    },
  );

  test('tags without end are not gathered', async () => {
    let pages = 0;
    answer(/\/tags\/list/, (response) => {
      response.setHeader('link', `</v2/some/image/tags/list?page=${++pages}>; rel="next"`);
      response.end(JSON.stringify({ tags: Array.from({ length: 30_000 }, (_, index) => `t${index}`) }));
    });
    const reference = parseReference(`${registry.domain}/some/image`);
    const options = { maxInflatedBytes: 1 };
    await expect(
      pullAllTags(place.store, place.client(), reference, options, () => {}),
    ).rejects.toMatchObject({ code: 'ELIMIT' });
    expect(pages).toBeLessThan(10);
  });

  test.each([
    ['sha256:../../../../etc/passwd'],
    [`sha256:${'A'.repeat(64)}`],
    [`md5:${'0'.repeat(32)}`],
    [`sha256:${'0'.repeat(64)}/../x`],
  ])('the digest %j of a layer leads nowhere', async (digest) => {
    const manifest = JSON.parse(image.manifest.toString()) as { layers: { digest: string }[] };
    manifest.layers[0]!.digest = digest;
    registry.addManifest('some/image', 'bad', image.mediaType, Buffer.from(JSON.stringify(manifest)));
    await expect(place.pull(`${registry.domain}/some/image:bad`)).rejects.toMatchObject({
      code: 'EBADIMAGE',
    });
    expect(registry.seen(/blobs/)).toEqual([]);
    expect(place.files('partial')).toEqual([]);
  });

  test('a layer that claims to be endless is not begun', async () => {
    const manifest = JSON.parse(image.manifest.toString()) as { layers: { size: number }[] };
    manifest.layers[0]!.size = 2 ** 50;
    registry.addManifest('some/image', 'big', image.mediaType, Buffer.from(JSON.stringify(manifest)));
    await expect(place.pull(`${registry.domain}/some/image:big`)).rejects.toMatchObject({ code: 'ELIMIT' });
    expect(registry.seen(new RegExp(image.layers[0]!.digest))).toEqual([]);
    expect(place.files('partial')).toEqual([]);
  });

  test('platforms of an index paint nothing', async () => {
    const platform = { os: 'linux', architecture: `arm${ESCAPE}` };
    const child = { mediaType: image.mediaType, digest: sha256(image.manifest), size: image.manifest.length };
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...child, platform }] };
    registry.addManifest('some/image', 'index', OCI_INDEX, Buffer.from(JSON.stringify(index)));
    const error = await place.pull(`${registry.domain}/some/image:index`).catch((raised: unknown) => raised);
    expect(error).toMatchObject({ code: 'EPLATFORM' });
    expect((error as { hint: string }).hint).toContain('linux/arm');

    expect((error as { hint: string }).hint).not.toMatch(/[\u0000-\u001f\u0080-\u009f\u202e]/);
  });

  test('what is searched for paints nothing', async () => {
    answer(/\/v1\/search/, (response) =>
      response.end(JSON.stringify({ results: [{ name: `x${ESCAPE}`, description: `d${ESCAPE}\n` }] })),
    );
    const [found] = await searchRegistry(place.client(), `${registry.domain}/x`, 5);
    expect(found!.name + found!.description).toMatch(/^[\x20-\x7e]*$/);
    answer(/\/v1\/search/, (response) => notFound(response, 'UNSUPPORTED'));
    const listing = registry.hook;
    registry.hook = (request, response) => {
      if (!request.url!.startsWith('/v2/_catalog')) return listing(request, response);
      response.end(JSON.stringify({ repositories: [`x${ESCAPE}`] }));
      return true;
    };
    const [listed] = await searchRegistry(place.client(), `${registry.domain}/x`, 5);
    expect(listed!.name).toMatch(/^[\x20-\x7e]*$/);
  });

  test('printable is one line of text, and printable JSON says the same', () => {
    expect(printable(`a${ESCAPE}b\r\n`)).toBe('a [2J 31m b  ');
    const value = { [`k${ESCAPE}`]: `v${ESCAPE}\n` };
    const json = printableJson(JSON.stringify(value, undefined, '\t'));
    expect(JSON.parse(json)).toEqual(value);
    expect(json).toMatch(/^[\x20-\x7e\n\t]*$/);
  });
});

describe('bodies', () => {
  const huge = Buffer.alloc(1 << 20, ' ');

  test.each([['with its length'], ['without']])('a manifest of 5 MiB is refused, %s', async (how) => {
    let sent = 0;
    answer(/\/manifests\//, (response) => {
      response.writeHead(200, {
        'content-type': image.mediaType,
        ...(how === 'without' ? {} : { 'content-length': 5 * huge.length }),
      });
      const more = (): void => {
        while (sent < 1000 && !response.destroyed) {
          sent++;
          if (!response.write(huge)) return void response.once('drain', more);
        }
      };
      more();
    });
    await expect(place.pull(name)).rejects.toMatchObject({ code: 'ELIMIT' });
    expect(sent).toBeLessThan(100);
  });

  test('a document that comes byte by byte for ever is given up', async () => {
    const timers: NodeJS.Timeout[] = [];
    answer(/\/v2\//, (response) => {
      response.writeHead(200);
      timers.push(setInterval(() => response.write(' '), 20));
    });
    const http = new HttpClient('tests', FAST);
    try {
      const response = await http.send({ method: 'GET', url: new URL(`http://${registry.domain}/v2/`) });
      const begun = Date.now();
      await expect(readBody(response, 1 << 20, 300)).rejects.toMatchObject({
        code: 'ENETWORK',
        message: expect.stringContaining('does not come to an end') as string,
      });
      expect(Date.now() - begun).toBeLessThan(2000);
    } finally {
      await http.close();
      for (const timer of timers) clearInterval(timer);
    }
  });

  test.each([
    ['another beginning', 'bytes 7-99/100', 'EREGISTRY'],
    ['no numbers', 'bytes x-y/z', 'EREGISTRY'],
    ['another length', undefined, 'EDIGEST'],
  ])('a part with %s is refused', async (_, range, code) => {
    const { digest, blob } = image.layers[0]!;
    let count = 0;
    answer(new RegExp(digest), (response) => {
      if (count++ === 0) {
        response.writeHead(200, { 'content-length': blob.length });
        response.write(blob.subarray(0, 20), () => response.destroy());
        return;
      }
      const said = range ?? `bytes 20-${blob.length}/${blob.length + 1}`;
      response.writeHead(206, { 'content-range': said }).end(blob.subarray(20));
    });
    await expect(place.pull(name)).rejects.toMatchObject({ code });
    expect(count).toBe(2);
    expect(place.store.snapshot().images).toEqual([]);
  });

  test('who decompresses to too much is not listened to any longer', async () => {
    // 100 MiB in 100 KiB, and then as much as the limit lets a layer have on its way.
    const rest = gzipSync(randomBytes(40 << 20), { level: 0 });
    const bomb = await fakeImage([{ zeros: Buffer.alloc(100 << 20) }], {
      compress: (tar) => Buffer.concat([gzipSync(tar), rest]),
    });
    registry.add('bomb:1', bomb);
    let sent = 0;
    answer(new RegExp(bomb.layers[0]!.digest), (response) => {
      const { blob } = bomb.layers[0]!;
      response.writeHead(200, { 'content-length': blob.length });
      const more = (): void => {
        while (sent < blob.length && !response.destroyed) {
          const chunk = blob.subarray(sent, sent + (64 << 10));
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    });
    const pulling = place.pull(`${registry.domain}/bomb:1`, { maxInflatedBytes: 45 << 20 });
    await expect(pulling).rejects.toMatchObject({ code: 'ELIMIT' });
    expect(sent).toBeLessThan(20 << 20);
    expect(place.files('partial')).toEqual([]);
  });
});

describe('redirects', () => {
  test('in a circle end', async () => {
    answer(/\/manifests\//, (response) => response.writeHead(307, { location: '/v2/x/manifests/1' }).end());
    await expect(place.pull(name)).rejects.toMatchObject({
      code: 'EREGISTRY',
      message: expect.stringContaining('redirects too often') as string,
    });
    expect(registry.seen(/manifests/).length).toBeLessThan(15);
  });

  test.each(['file:///etc/passwd', 'ftp://127.0.0.1/', 'http://[', 'gopher://x'])(
    'to %s lead nowhere',
    async (to) => {
      answer(/\/manifests\//, (response) => response.writeHead(302, { location: to }).end());
      await expect(place.pull(name)).rejects.toMatchObject({ code: 'EREGISTRY' });
    },
  );
});

describe('foreign layers', () => {
  test('are looked for elsewhere only where the registry lacks them, and not without end', async () => {
    let status = 403;
    let elsewhere = 0;
    const foreign = await fakeImage([{ a: 'a' }], {
      edit: (manifest) =>
        (manifest.layers[0]!.urls = Array.from(
          { length: 500 },
          (_, index) => `http://${registry.domain}/elsewhere/${index}`,
        )),
    });
    registry.add('foreign:1', foreign);
    registry.hook = (request, response) => {
      if (request.url!.startsWith('/elsewhere/')) elsewhere++;
      else if (!request.url!.endsWith(foreign.layers[0]!.digest)) return false;
      response.writeHead(request.url!.startsWith('/elsewhere/') ? 404 : status).end();
      return true;
    };
    await expect(place.pull(`${registry.domain}/foreign:1`)).rejects.toMatchObject({ code: 'EAUTH' });
    expect(elsewhere).toBe(0);
    status = 404;
    await expect(place.pull(`${registry.domain}/foreign:1`)).rejects.toMatchObject({ code: 'EREGISTRY' });
    expect(elsewhere).toBeGreaterThan(0);
    expect(elsewhere).toBeLessThan(20);
  });
});

describe('uploads', () => {
  beforeEach(async () => {
    const big = await fakeImage([{ big: Buffer.alloc(6 << 20, 'big') }], {
      compress: (tar) => gzipSync(tar, { level: 0 }),
    });
    registry.add('big:1', big);
    await place.pull(`${registry.domain}/big:1`);
    await tag(`${registry.domain}/pushed:1`);
    registry.blobs.clear();
    rmSync(join(place.root, 'registries'), { recursive: true, force: true });
  });

  test.each([
    ['more than there is', () => 999_999_999],
    ['now this, now that', (count: number) => (count % 2 === 0 ? 4 : 4_000_000)],
  ])('a registry that has %s is not tried for ever', { timeout: 20_000 }, async (_, offset) => {
    let patches = 0;
    registry.hook = (request, response) => {
      const { method, url } = request;
      if (!url!.includes('/uploads/') || method === 'POST') return false;
      request.resume();
      if (method === 'PATCH') patches++;
      if (method === 'GET') response.writeHead(204, { location: url!, range: `0-${offset(patches)}` }).end();
      else response.writeHead(503).end();
      return true;
    };
    await expect(place.push(`${registry.domain}/pushed:1`)).rejects.toMatchObject({ name: 'LaminaError' });
    expect(patches).toBeLessThan(20);
  });

  test('what is mounted after all is given up there, and nowhere else', async () => {
    const other = await FakeRegistry.start();
    try {
      await place.push(`${registry.domain}/pushed:1`);
      registry.blobs.clear();
      registry.hook = (request, response) => {
        if (!request.url!.includes('mount=')) return false;
        request.resume();
        response.writeHead(202, { location: `http://${other.domain}/v2/x/blobs/uploads/1` }).end();
        return true;
      };
      await tag(`${registry.domain}/third:1`);
      await place.push(`${registry.domain}/third:1`);
      expect(registry.seen(/mount=/).length).toBeGreaterThan(0);
      expect(other.requests).toEqual([]);
    } finally {
      await other.close();
    }
  });
});

describe.skipIf(!needs('command openssl'))('TLS', () => {
  test('an upload stays where TLS is', async () => {
    const base = mkdtempSync(join(tmpdir(), 'lamina-tls-'));
    const keys = makeCertificates(join(base, 'keys'));
    const secure = await FakeRegistry.start({
      cert: readFileSync(keys.certificate),
      key: readFileSync(keys.key),
    });
    try {
      await place.pull(name);
      const to = `${secure.domain}/pushed:1`;
      await tag(to);
      let location = (url: string): string => url;
      secure.hook = (request, response) => {
        if (request.method !== 'POST') return false;
        const { writeHead } = response;
        response.writeHead = ((status: number, headers: Record<string, string>) =>
          writeHead.call(response, status, {
            ...headers,
            location: location(headers['location']!),
          })) as never;
        return false;
      };
      // The authority comes from a directory of its own, so that loopback is verified.
      const certDir = join(base, 'certs');
      mkdirSync(certDir);
      copyFileSync(keys.authority, join(certDir, 'ca.crt'));
      const client = place.client({
        certDir,
        settings: { insecure: [], mirrors: new Map(), tlsVerify: true },
      });
      location = (url) => `http://${registry.domain}${url}`;
      registry.requests.length = 0;
      await expect(place.push(to, client)).rejects.toMatchObject({
        code: 'ENETWORK',
        message: expect.stringContaining('without TLS') as string,
      });
      expect(registry.requests).toEqual([]);
      // A proxy that did not tell the registry of TLS: the same host is meant.
      location = (url) => `http://${secure.domain}${url}`;
      await place.push(to, client);
      expect(secure.manifests.has('pushed/1')).toBe(true);
    } finally {
      await secure.close();
      rmSync(base, { recursive: true, force: true });
    }
  });
});
