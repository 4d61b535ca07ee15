import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tagImage } from '../../../src/image/tag.js';
import { gzipLayer, knownGzip } from '../../../src/registry/gzip-layer.js';
import { referrersTag } from '../../../src/registry/referrers.js';
import { fakeImage, FakeRegistry, readAll, sha256 } from '../../helpers/fake-registry.js';
import type { FakeImage } from '../../helpers/fake-registry.js';
import { Place } from './support.js';

let source: FakeRegistry;
let registry: FakeRegistry;
let place: Place;

beforeEach(async () => {
  source = await FakeRegistry.start();
  registry = await FakeRegistry.start();
  place = new Place();
});

afterEach(async () => {
  await source.close();
  await registry.close();
  await place.close();
});

/** An image that is in the store, under a name of `registry`. */
async function stored(image: FakeImage, name = 'app:1'): Promise<string> {
  source.add('app:1', image);
  await place.pull(`${source.domain}/app:1`);
  await tagImage(place.store, `${source.domain}/app:1`, `${registry.domain}/${name}`);
  return `${registry.domain}/${name}`;
}

const small = (): Promise<FakeImage> => fakeImage([{ a: 'a' }, { b: randomBytes(100) }]);

describe('push', () => {
  test('sends the blobs as they are stored, and the manifest byte by byte', async () => {
    const image = await fakeImage([{ a: 'a' }, { b: randomBytes(6 << 20) }], {
      edit: (manifest) => (manifest.annotations = { kept: 'yes' }),
    });
    const name = await stored(image);
    const { digest } = await place.push(name);
    expect(digest).toBe(sha256(image.manifest));
    expect(registry.manifests.get('app/1')).toEqual({ mediaType: image.mediaType, bytes: image.manifest });
    for (const [blobDigest, bytes] of image.blobs)
      expect(registry.blobs.get(blobDigest)!.equals(bytes)).toBe(true);
    expect(place.store.snapshot().byId(image.imageId)!.digestNames).toContain(
      `${registry.domain}/app@${digest}`,
    );
  });

  test('sends nothing that the registry has', async () => {
    const name = await stored(await small());
    await place.push(name);
    registry.requests.length = 0;
    await place.push(name);
    expect(registry.seen(/^(POST|PATCH) /)).toEqual([]);
  });

  test('has the registry mount what another of its repositories has', async () => {
    const image = await small();
    await place.push(await stored(image));
    const other = await stored(image, 'other/app:2');
    registry.requests.length = 0;
    registry.hook = (request, response) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(404).end();
      return true;
    };
    await place.push(other);
    const mounts = registry.seen(/^POST .*mount=/).map(({ url }) => new URL(url, 'http://x').searchParams);
    expect(mounts.map((query) => query.get('from'))).toEqual(['app', 'app']);
    expect(new Set(mounts.map((query) => query.get('mount')))).toEqual(
      new Set(image.layers.map(({ digest }) => digest)),
    );
    expect(registry.manifests.has('other/app/2')).toBe(true);
  });

  test('goes on where a cut left the upload', async () => {
    const image = await fakeImage([{ big: randomBytes(20 << 20) }]);
    const name = await stored(image);
    registry.uploadCuts = { count: 3, afterBytes: 4 << 20 };
    await place.push(name);
    const [layer] = image.layers as [FakeImage['layers'][0]];
    expect(registry.blobs.get(layer.digest)!.equals(layer.blob)).toBe(true);
    expect(registry.uploadCuts.count).toBe(0);
    const ranges = registry.seen(/^PATCH /).map(({ headers }) => headers['content-range']);
    expect(ranges).toHaveLength(4);
    for (const range of ranges.slice(1))
      expect(range).toMatch(new RegExp(`^[1-9]\\d*-${layer.blob.length - 1}$`));
  });

  test.each([['POST'], ['PATCH'], ['PUT']])(
    'obeys a registry that asks for patience at %s',
    async (asked) => {
      const image = await fakeImage([{ big: randomBytes(6 << 20) }]);
      const name = await stored(image);
      let refusals = 0;
      registry.hook = (request, response) => {
        if (request.method !== asked || !request.url!.includes('/uploads/') || refusals >= 1) return false;
        refusals++;
        request.resume();
        response.writeHead(429, { 'retry-after': '1' }).end('{}');
        return true;
      };
      const begun = Date.now();
      await place.push(name);
      expect(registry.blobs.get(image.layers[0]!.digest)!.equals(image.layers[0]!.blob)).toBe(true);
      expect(refusals).toBe(1);
      expect(Date.now() - begun).toBeGreaterThan(950);
    },
  );

  test('begins anew when the registry has forgotten the upload', async () => {
    const image = await fakeImage([{ big: randomBytes(6 << 20) }]);
    const name = await stored(image);
    let isCut = false;
    registry.hook = (request, response) => {
      if (request.method !== 'PATCH' || isCut) return false;
      isCut = true;
      registry.uploads.clear();
      response.destroy();
      return true;
    };
    await place.push(name);
    expect(registry.seen(/^POST .*uploads/)).toHaveLength(3);
    expect(registry.blobs.has(image.layers[0]!.digest)).toBe(true);
  });

  test('compresses plain layers, always to the same bytes', async () => {
    const image = await fakeImage([{ a: Buffer.alloc(50_000, 'abc') }, { b: 'b' }], {
      compress: (tar) => tar,
    });
    const name = await stored(image);
    const { digest } = await place.push(name);
    const pushed = JSON.parse(registry.manifests.get('app/1')!.bytes.toString()) as {
      config: { digest: string };
      layers: { mediaType: string; digest: string; size: number }[];
    };
    expect(sha256(registry.manifests.get('app/1')!.bytes)).toBe(digest);
    expect(pushed.config.digest).toBe(image.imageId);
    for (const [index, layer] of pushed.layers.entries()) {
      const bytes = registry.blobs.get(layer.digest)!;
      expect(layer).toMatchObject({
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        size: bytes.length,
      });
      expect(sha256(gunzipSync(bytes))).toBe(image.layers[index]!.diffId);
    }
    // Another machine, which has nothing written down.
    registry.blobs.clear();
    for (const { diffId } of image.layers) {
      expect(knownGzip(place.root, diffId)).toBeDefined();
      rmSync(join(place.root, 'layers', diffId.replace(':', '-'), 'gzip.json'));
    }
    expect((await place.push(name)).digest).toBe(digest);
    registry.requests.length = 0;
    expect((await place.push(name)).digest).toBe(digest);
    expect(registry.seen(/^(POST|PATCH)/)).toEqual([]);
    expect(place.files('tmp')).toEqual([]);
    // What was pushed is the image that is here: pulling it fetches nothing.
    registry.requests.length = 0;
    await place.pull(`${registry.domain}/app@${digest}`);
    expect(registry.seen(/GET .*blobs/)).toEqual([]);
  });

  test('leaves foreign layers where they are', async () => {
    const image = await fakeImage([{ base: 'base' }, { own: 'own' }], {
      edit: ({ layers }) => {
        layers[0]!.mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
        layers[0]!.urls = [`http://${source.domain}/v2/app/blobs/${layers[0]!.digest}`];
      },
    });
    await place.push(await stored(image));
    expect(registry.blobs.has(image.layers[0]!.digest)).toBe(false);
    expect(registry.blobs.has(image.layers[1]!.digest)).toBe(true);
    expect(registry.manifests.get('app/1')!.bytes).toEqual(image.manifest);
  });

  test('tells a registry without referrers what a manifest is about', async () => {
    const subject = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${'5'.repeat(64)}`,
      size: 5,
    };
    const image = await fakeImage([{ a: 'a' }], { edit: (manifest) => (manifest.subject = subject) });
    await place.push(await stored(image));
    const listed = JSON.parse(registry.manifests.get(`app/sha256-${'5'.repeat(64)}`)!.bytes.toString()) as {
      manifests: object[];
    };
    expect(listed.manifests).toEqual([
      expect.objectContaining({
        digest: sha256(image.manifest),
        mediaType: image.mediaType,
        size: image.manifest.length,
      }),
    ]);
    expect(referrersTag(`sha512:${'a'.repeat(128)}`)).toBe(`sha512-${'a'.repeat(64)}`);
  });

  test('says in docker’s words what is missing or refused', async () => {
    await expect(place.push(`${registry.domain}/nothing:1`)).rejects.toMatchObject({
      code: 'ENOIMAGE',
      message: `An image does not exist locally with the tag: ${registry.domain}/nothing`,
    });
    const name = await stored(await small());
    registry.hook = (request, response) => {
      if (request.method === 'GET') return false;
      response.writeHead(403);
      response.end(
        JSON.stringify({
          errors: [{ code: 'DENIED', message: 'requested access to the resource is denied' }],
        }),
      );
      return true;
    };
    await expect(place.push(name)).rejects.toMatchObject({ code: 'EAUTH' });
  });
});

test('gzip without time or name: RFC 1952', async () => {
  const file = join(place.root, 'layer.tar');
  writeFileSync(file, Buffer.alloc(5000, 'x'));
  await place.store.stage().then((staging) => staging.dispose());
  const { openSync, closeSync } = await import('node:fs');
  const fd = openSync(file, 'r');
  await gzipLayer(
    place.root,
    `sha256:${'1'.repeat(64)}`,
    { fd, offset: 0, sizeBytes: 5000, name: file },
    join(place.root, 'out'),
  );
  closeSync(fd);
  const bytes = readFileSync(join(place.root, 'out'));
  expect([bytes[3], bytes.readUInt32LE(4)]).toEqual([0, 0]);
  expect(gunzipSync(bytes)).toEqual(await readAll([Buffer.alloc(5000, 'x')] as never));
});
