import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parsePlatform } from '../../../src/oci/platform.js';
import { cutBlob, FakeRegistry, fakeImage, sendBlob, sha256 } from '../../helpers/fake-registry.js';
import type { FakeImage } from '../../helpers/fake-registry.js';
import { Place } from './support.js';

let registry: FakeRegistry;
let place: Place;
let image: FakeImage;
let name: string;

beforeEach(async () => {
  registry = await FakeRegistry.start();
  place = new Place();
  image = await fakeImage([{ 'etc/hello': 'hello' }, { 'usr/big': randomBytes(300_000) }]);
  registry.add('some/image:1', image);
  name = `${registry.domain}/some/image:1`;
});

afterEach(async () => {
  await registry.close();
  await place.close();
});

/** What every refusal leaves: nothing. */
function expectNothingKept(digests: readonly string[]): void {
  expect(place.store.snapshot().images).toEqual([]);
  for (const digest of digests) expect(place.store.blobs.has(digest)).toBe(false);
  expect(place.files('tmp')).toEqual([]);
}

describe('pull', () => {
  test('brings an image whose layers are inflated and looked into when it ends', async () => {
    const pulled = await place.pull(name);
    expect(pulled).toMatchObject({ imageId: image.imageId, digest: sha256(image.manifest), isNewer: true });
    for (const { digest, diffId, blob, tar } of image.layers) {
      expect(readFileSync(place.store.blobs.pathOf(digest)).equals(blob)).toBe(true);
      const derived = join(place.root, 'layers', diffId.replace(':', '-'));
      expect(readFileSync(join(derived, 'data')).equals(tar)).toBe(true);
      expect(JSON.parse(readFileSync(join(derived, 'facts.json'), 'utf8'))).toMatchObject({
        tarBytes: tar.length,
      });
    }
    const stored = place.store.snapshot().byId(image.imageId)!;
    expect(stored.tags).toEqual([name]);
    expect(stored.digestNames).toEqual([`${registry.domain}/some/image@${sha256(image.manifest)}`]);
    expect(stored.sizeBytes).toBe(300_005);
    expect(place.files('partial')).toEqual([]);
    expect(place.files('tmp')).toEqual([]);
  });

  test('fetches no layer a second time, and says when nothing is new', async () => {
    await place.pull(name);
    const next = await fakeImage([{ 'etc/hello': 'hello' }, { 'usr/other': 'other' }]);
    expect(next.layers[0]!.digest).toBe(image.layers[0]!.digest);
    registry.requests.length = 0;
    expect((await place.pull(name)).isNewer).toBe(false);
    expect(registry.seen(/blobs/)).toEqual([]);
    registry.add('some/image:1', next);
    expect((await place.pull(name)).isNewer).toBe(true);
    expect(registry.seen(/GET .*blobs/)).toHaveLength(2);
    // The tag moved; the digest still names the old one.
    const { images } = place.store.snapshot();
    expect(images.map(({ tags, digestNames }) => [tags.length, digestNames.length]).sort()).toEqual([
      [0, 1],
      [1, 1],
    ]);
  });

  test('by digest, and of an index in an index for the platform that is wanted', async () => {
    const arm = await fakeImage([{ arm: 'v7' }], { architecture: 'arm' });
    const index = (manifests: object[]): Buffer =>
      Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }),
      );
    const about = (bytes: Buffer, mediaType: string, platform?: object): object => ({
      mediaType,
      digest: registry.addManifest('some/image', undefined, mediaType, bytes),
      size: bytes.length,
      ...(platform === undefined ? {} : { platform }),
    });
    for (const [digest, bytes] of arm.blobs) registry.blobs.set(digest, bytes);
    const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
    const inner = index([
      about(Buffer.from('{}'), 'application/vnd.oci.image.manifest.v1+json', {
        os: 'unknown',
        architecture: 'unknown',
      }),
      about(arm.manifest, arm.mediaType, { os: 'linux', architecture: 'arm', variant: 'v6' }),
    ]);
    const outer = index([
      about(image.manifest, image.mediaType, { os: 'linux', architecture: 'amd64' }),
      about(inner, OCI_INDEX),
    ]);
    const digest = registry.addManifest('some/image', 'multi', OCI_INDEX, outer);
    const multi = `${registry.domain}/some/image:multi`;
    const options = { platform: parsePlatform('linux/arm/v7') };
    expect(await place.pull(multi, options)).toMatchObject({ imageId: arm.imageId, digest });
    expect(await place.pull(`${registry.domain}/some/image@${digest}`, options)).toMatchObject({
      imageId: arm.imageId,
    });
    await expect(place.pull(multi, { platform: parsePlatform('linux/s390x') })).rejects.toMatchObject({
      code: 'EPLATFORM',
    });
    await expect(place.pull(name, { platform: parsePlatform('linux/s390x') })).rejects.toMatchObject({
      code: 'EPLATFORM',
    });
  });

  test.each([
    ['plain', (tar: Buffer) => tar, 'sha256' as const],
    ['sha512', gzipSync, 'sha512' as const],
    ['plain sha512', (tar: Buffer) => tar, 'sha512' as const],
    [
      'gzip members and an end of zeros',
      (tar: Buffer) =>
        Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700)), Buffer.alloc(10)]),
      'sha256' as const,
    ],
  ])('takes layers that are %s', async (_, compress, algorithm) => {
    const other = await fakeImage([{ file: randomBytes(5000) }], { compress, algorithm });
    registry.add('other:1', other);
    await place.pull(`${registry.domain}/other:1`);
    const [{ digest, blob }] = other.layers as [FakeImage['layers'][0]];
    expect(readFileSync(place.store.blobs.pathOf(digest)).equals(blob)).toBe(true);
    expect(place.store.snapshot().byId(other.imageId)!.sizeBytes).toBe(5000);
  });

  test('goes on after cuts, asking for what is missing', async () => {
    const big = image.layers[1]!;
    let cuts = 0;
    registry.hook = (request, response) => {
      if (!request.url!.endsWith(big.digest) || cuts >= 4) return false;
      cuts++;
      cutBlob(request, response, big.blob, 50_000);
      return true;
    };
    await place.pull(name);
    expect(readFileSync(place.store.blobs.pathOf(big.digest)).equals(big.blob)).toBe(true);
    const ranges = registry.seen(new RegExp(`GET .*${big.digest}`)).map(({ headers }) => headers.range);
    expect(ranges).toHaveLength(5);
    expect(ranges[0]).toBeUndefined();
    for (const range of ranges.slice(1)) expect(range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  test('goes on in a later pull with what an earlier one left', async () => {
    const big = image.layers[1]!;
    registry.hook = (request, response) => {
      if (!request.url!.endsWith(big.digest)) return false;
      if (request.headers.range === undefined) cutBlob(request, response, big.blob, 100_000);
      else response.destroy();
      return true;
    };
    await expect(place.pull(name)).rejects.toMatchObject({ code: 'ENETWORK' });
    expect(place.store.snapshot().images).toEqual([]);
    // The other layer is whole, and waits for its image.
    expect(place.files('partial')).toHaveLength(2);
    registry.hook = () => false;
    registry.requests.length = 0;
    await place.pull(name);
    const fetched = registry.seen(/GET .*blobs/).filter(({ url }) => !url.endsWith(image.imageId));
    expect(fetched.map(({ url }) => url.endsWith(big.digest))).toEqual([true]);
    expect(fetched[0]!.headers.range).toMatch(/^bytes=\d+-$/);
    expect(readFileSync(place.store.blobs.pathOf(big.digest)).equals(big.blob)).toBe(true);
    expect(place.files('partial')).toEqual([]);
  });

  test('does not trust what an earlier pull left', async () => {
    const big = image.layers[1]!;
    let isCut = true;
    registry.hook = (request, response) => {
      if (!isCut || !request.url!.endsWith(big.digest)) return false;
      if (request.headers.range === undefined)
        cutBlob(request, response, Buffer.alloc(big.blob.length, 7), 100_000);
      else response.destroy();
      return true;
    };
    await expect(place.pull(name)).rejects.toThrow();
    isCut = false;
    await expect(place.pull(name)).rejects.toMatchObject({ code: 'EDIGEST' });
    await place.pull(name);
    expect(readFileSync(place.store.blobs.pathOf(big.digest)).equals(big.blob)).toBe(true);
  });

  test('skips what it has where the server knows no ranges', async () => {
    const big = image.layers[1]!;
    let cuts = 0;
    registry.hook = (request, response) => {
      if (!request.url!.endsWith(big.digest)) return false;
      if (cuts++ === 0) cutBlob(request, response, big.blob, 70_000);
      else {
        delete request.headers.range;
        sendBlob(request, response, big.blob);
      }
      return true;
    };
    await place.pull(name);
    expect(readFileSync(place.store.blobs.pathOf(big.digest)).equals(big.blob)).toBe(true);
  });

  test.each([
    ['other bytes of the same length', (blob: Buffer) => Buffer.alloc(blob.length, 1)],
    [
      'one bit that is wrong',
      (blob: Buffer) =>
        Buffer.concat([blob.subarray(0, 1000), Buffer.from([blob[1000]! ^ 1]), blob.subarray(1001)]),
    ],
    ['a body that is too short', (blob: Buffer) => blob.subarray(0, -1)],
    ['a body that is too long', (blob: Buffer) => Buffer.concat([blob, Buffer.alloc(5)])],
    ['an empty body', () => Buffer.alloc(0)],
  ])('refuses %s, and keeps nothing', async (_, change) => {
    const big = image.layers[1]!;
    registry.blobs.set(big.digest, change(big.blob));
    await expect(place.pull(name)).rejects.toMatchObject({ code: 'EDIGEST' });
    expectNothingKept([big.digest]);
    expect(place.files('partial')).not.toContain(big.digest.replace(':', '-'));
  });

  test('refuses a layer that is not what the config says', async () => {
    const liar = await fakeImage([{ a: 'a' }], { compress: () => gzipSync(Buffer.alloc(1024)) });
    registry.add('liar:1', liar);
    await expect(place.pull(`${registry.domain}/liar:1`)).rejects.toMatchObject({ code: 'EDIGEST' });
    expectNothingKept([liar.layers[0]!.digest]);
    expect(place.files('partial')).toEqual([]);
  });

  test('refuses a layer that inflates without end', async () => {
    const bomb = await fakeImage([{ zeros: Buffer.alloc(2_000_000) }]);
    registry.add('bomb:1', bomb);
    await expect(
      place.pull(`${registry.domain}/bomb:1`, { maxInflatedBytes: 1_000_000 }),
    ).rejects.toMatchObject({ code: 'ELIMIT' });
    expectNothingKept([bomb.layers[0]!.digest]);
  });

  test('refuses a manifest that is another than was asked for, or calls itself so', async () => {
    const digest = sha256(image.manifest);
    registry.manifests.set(`some/image/${digest}`, { mediaType: image.mediaType, bytes: Buffer.from('{}') });
    await expect(place.pull(`${registry.domain}/some/image@${digest}`)).rejects.toMatchObject({
      code: 'EDIGEST',
    });
    registry.manifests.set('some/image/1', {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      bytes: image.manifest,
    });
    await expect(place.pull(name)).rejects.toMatchObject({ code: 'EBADIMAGE' });
  });

  test('obeys a registry that asks for patience', async () => {
    let refusals = 0;
    registry.hook = (request, response) => {
      if (!request.url!.includes('/blobs/') || refusals >= 2) return false;
      refusals++;
      response.writeHead(429, { 'retry-after': '1' });
      response.end(JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] }));
      return true;
    };
    const begun = Date.now();
    await place.pull(name);
    expect(Date.now() - begun).toBeGreaterThan(1900);
  });

  test('gives up on a registry that asks for too much, in its words', async () => {
    registry.hook = (request, response) => {
      if (!request.url!.includes('/manifests/')) return false;
      response.writeHead(429, { 'retry-after': '3600' });
      response.end(
        JSON.stringify({
          errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' }],
        }),
      );
      return true;
    };
    const begun = Date.now();
    await expect(place.pull(name)).rejects.toThrow(
      /toomanyrequests: You have reached your pull rate limit\./,
    );
    expect(Date.now() - begun).toBeLessThan(2000);
  });

  test('says in docker’s words what is not there', async () => {
    await expect(place.pull(`${registry.domain}/some/image:nope`)).rejects.toMatchObject({
      code: 'EREGISTRY',
      message: `manifest for ${registry.domain}/some/image:nope not found: manifest unknown: manifest unknown`,
    });
    registry.hook = (_, response) => {
      response.writeHead(403);
      response.end(
        JSON.stringify({
          errors: [{ code: 'DENIED', message: 'requested access to the resource is denied' }],
        }),
      );
      return true;
    };
    await expect(place.pull(name)).rejects.toMatchObject({
      code: 'EAUTH',
      message: `pull access denied for ${registry.domain}/some/image, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    });
  });

  test('takes a foreign layer from where its manifest says', async () => {
    const other = await FakeRegistry.start();
    try {
      const foreign = await fakeImage([{ windows: 'base' }], {
        edit: ({ layers }) => {
          layers[0]!.mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
          layers[0]!.urls = [`http://${other.domain}/v2/base/blobs/${layers[0]!.digest}`];
        },
      });
      registry.add('foreign:1', foreign);
      const { digest, blob } = foreign.layers[0]!;
      registry.blobs.delete(digest);
      other.blobs.set(digest, blob);
      await place.pull(`${registry.domain}/foreign:1`);
      expect(place.store.blobs.has(digest)).toBe(true);
    } finally {
      await other.close();
    }
  });

  test('from a mirror, and from the registry itself when the mirror fails', async () => {
    const mirror = await FakeRegistry.start();
    try {
      mirror.add('some/image:1', image);
      mirror.blobs.delete(image.layers[1]!.digest);
      const settings = { insecure: [], mirrors: new Map([[registry.domain, [`http://${mirror.domain}`]]]) };
      await place.pull(name, {}, place.client({ settings }));
      expect(mirror.seen(/GET .*manifests/)).toHaveLength(1);
      expect(registry.seen(/manifests/)).toEqual([]);
      expect(registry.seen(/GET .*blobs/)).toHaveLength(1);
    } finally {
      await mirror.close();
    }
  });

  test('many at once into one store', async () => {
    const pulls = await Promise.all(Array.from({ length: 6 }, () => place.pull(name)));
    expect(new Set(pulls.map(({ imageId }) => imageId))).toEqual(new Set([image.imageId]));
    for (const { digest, blob } of image.layers)
      expect(readFileSync(place.store.blobs.pathOf(digest)).equals(blob)).toBe(true);
    expect(place.files('partial')).toEqual([]);
  });
});

describe('secrets', () => {
  const credentials = { username: 'me', password: 'open sesame' };

  test('a password goes to the registry, and not to where it redirects', async () => {
    const seen: (string | undefined)[] = [];
    const storage = createServer((request, response) => {
      seen.push(request.headers.authorization);
      sendBlob(request, response, registry.blobs.get(decodeURIComponent(request.url!.slice(1))));
    });
    await new Promise<void>((resolve) => storage.listen(0, '127.0.0.1', resolve));
    const basic = `Basic ${Buffer.from('me:open sesame').toString('base64')}`;
    registry.hook = (request, response) => {
      if (request.headers.authorization !== basic) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="here"' });
        response.end();
        return true;
      }
      const digest = /blobs\/(sha256:.*)$/.exec(request.url!)?.[1];
      if (digest === undefined) return false;
      response.writeHead(307, {
        location: `http://127.0.0.1:${(storage.address() as AddressInfo).port}/${digest}`,
      });
      response.end();
      return true;
    };
    try {
      await place.pull(name, {}, place.client({ findCredentials: async () => credentials }));
      expect(seen).toHaveLength(3);
      expect(new Set(seen)).toEqual(new Set([undefined]));
      await expect(place.pull(`${registry.domain}/x:1`, {}, place.client())).rejects.toMatchObject({
        code: 'EAUTH',
      });
    } finally {
      storage.closeAllConnections();
      storage.close();
    }
  });

  test('tokens are asked for once for each scope, with the password, and sent on', async () => {
    const asked: { url: string; authorization: string | undefined }[] = [];
    registry.hook = (request, response) => {
      const url = new URL(request.url!, 'http://x');
      if (url.pathname === '/token') {
        asked.push({ url: url.search, authorization: request.headers.authorization });
        response.end(
          JSON.stringify({ token: createHash('sha256').update(url.search).digest('hex'), expires_in: 300 }),
        );
        return true;
      }
      if (/^Bearer [0-9a-f]{64}$/.test(request.headers.authorization ?? '')) return false;
      const realm = `http://${registry.domain}/token`;
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="${realm}",service="tests",scope="repository:some/image:pull"`,
      });
      response.end();
      return true;
    };
    await place.pull(name, {}, place.client({ findCredentials: async () => credentials }));
    expect(asked).toHaveLength(1);
    expect(new URLSearchParams(asked[0]!.url).get('scope')).toBe('repository:some/image:pull');
    expect(asked[0]!.authorization).toMatch(/^Basic /);
    expect(
      registry.seen(/manifests|blobs/).filter(({ headers }) => headers.authorization === undefined),
    ).toHaveLength(1);
  });

  test('an identity token is changed for others by POST, and a token that ends is asked for anew', async () => {
    const bodies: string[] = [];
    let valid = 'none';
    registry.hook = async (request, response) => {
      if (request.url === '/token') {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        bodies.push(body);
        valid = `token-${bodies.length}`;
        response.end(JSON.stringify({ access_token: valid, expires_in: 300 }));
        return true;
      }
      if (request.headers.authorization === `Bearer ${valid}`) {
        if (request.url!.includes(image.layers[0]!.digest) && bodies.length === 1) valid = 'gone';
        else return false;
      }
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="http://${registry.domain}/token",service="tests"`,
      });
      response.end();
      return true;
    };
    const findCredentials = async (): Promise<object> => ({ identityToken: 'IDENTITY' });
    await place.pull(name, { concurrency: 1 }, place.client({ findCredentials }));
    expect(bodies.length).toBe(2);
    expect(Object.fromEntries(new URLSearchParams(bodies[0]))).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'IDENTITY',
      service: 'tests',
      scope: 'repository:some/image:pull',
    });
  });

  test('no error shows one', async () => {
    registry.hook = (request, response) => {
      if (request.url === '/v2/') return false;
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="http://me:open%20sesame@127.0.0.1:1/token?key=hidden"`,
      });
      response.end();
      return true;
    };
    const error = await place
      .pull(name, {}, place.client({ findCredentials: async () => credentials }))
      .catch((thrown: Error) => thrown);
    expect(JSON.stringify([error, (error as Error).message, (error as Error).stack])).not.toMatch(
      /sesame|hidden/,
    );
  });
});
