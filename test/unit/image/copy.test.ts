/** What `copy` asks of registries, and what is left when it fails. */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { copyImage } from '../../../src/image/copy/copy.js';
import type { CopiedImage, CopyOptions } from '../../../src/image/copy/copy.js';
import { knownGzip } from '../../../src/registry/gzip-layer.js';
import { cutBlob, digestOf, fakeImage, FakeRegistry, sha256 } from '../../helpers/fake-registry.js';
import type { FakeImage } from '../../helpers/fake-registry.js';
import { writeLayout } from '../../helpers/oci-layout.js';
import { Place } from '../registry/support.js';

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let base: string;
let place: Place;
let source: FakeRegistry;
let target: FakeRegistry;
let image: FakeImage;
let from: string;

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'lamina-copy-'));
  place = new Place();
  [source, target] = [await FakeRegistry.start(), await FakeRegistry.start()];
  image = await fakeImage([{ small: 'small' }, { big: randomBytes(6 << 20) }]);
  source.add('some/image:1', image);
  from = `docker://${source.domain}/some/image:1`;
});

afterEach(async () => {
  await place.close();
  await source.close();
  await target.close();
  rmSync(base, { recursive: true, force: true });
});

function copy(src: string, dst: string, options: Partial<CopyOptions> = {}): Promise<CopiedImage> {
  const client = place.client();
  return copyImage(place.store, src, dst, {
    maxInflatedBytes: 1 << 30,
    sourceClient: async () => client,
    targetClient: async () => client,
    ...options,
  });
}

const files = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort() : [];

describe('from registry to registry', () => {
  test('bytes stream through, and the store sees nothing of them', async () => {
    const { digest } = await copy(from, `docker://${target.domain}/other/name:2`);
    expect(digest).toBe(sha256(image.manifest));
    expect(target.manifests.get('other/name/2')).toEqual({ mediaType: OCI_MANIFEST, bytes: image.manifest });
    for (const [blob, bytes] of image.blobs) expect(target.blobs.get(blob)?.equals(bytes)).toBe(true);
    for (const directory of ['blobs/sha256', 'partial', 'tmp', 'layers'])
      expect(place.files(directory), directory).toEqual([]);
  });

  test('what is there is not sent: HEAD first; and of one registry it is mounted', async () => {
    await copy(from, `docker://${target.domain}/first:1`);
    target.requests.length = 0;
    source.requests.length = 0;
    await copy(from, `docker://${target.domain}/first:2`);
    expect(target.seen(/^(POST|PATCH|PUT) .*\/blobs\//)).toEqual([]);
    expect(source.seen(/\/blobs\//)).toEqual([]);
    target.hook = (request, response) => {
      // Blobs belong to repositories; here only the second has none.
      if (request.method !== 'HEAD' || !request.url!.startsWith('/v2/second/')) return false;
      response.writeHead(404).end();
      return true;
    };
    await copy(`docker://${target.domain}/first:1`, `docker://${target.domain}/second:1`);
    const mounts = target.seen(/^POST .*mount=/).map(({ url }) => new URL(url, 'http://x').searchParams);
    expect(mounts.map((query) => query.get('from'))).toEqual(['first', 'first', 'first']);
    expect(new Set(mounts.map((query) => query.get('mount')))).toEqual(new Set(image.blobs.keys()));
    expect(target.seen(/^(PATCH|PUT) .*\/blobs\//)).toEqual([]);
    expect(target.seen(/^GET .*\/blobs\//)).toEqual([]);
  });

  test('goes on where either side was cut', async () => {
    const big = image.layers[1]!;
    let cuts = 0;
    source.hook = (request, response) => {
      if (!request.url!.endsWith(big.digest) || cuts++ >= 3) return false;
      cutBlob(request, response, big.blob, 1 << 20);
      return true;
    };
    target.uploadCuts = { count: 2, afterBytes: 2 << 20 };
    await copy(from, `docker://${target.domain}/x:1`);
    expect(target.blobs.get(big.digest)?.equals(big.blob)).toBe(true);
    expect(target.uploadCuts.count).toBe(0);
    expect(cuts).toBeGreaterThanOrEqual(3);
  });

  test('artifacts, nested indexes, sha512 and unknown fields go byte by byte', async () => {
    const blob = Buffer.from('a chart');
    const config = Buffer.from('{}');
    for (const bytes of [blob, config]) source.blobs.set(sha256(bytes), bytes);
    const long = digestOf('sha512', blob);
    source.blobs.set(long, blob);
    const artifact = Buffer.from(
      JSON.stringify({
        ...{ schemaVersion: 2, mediaType: OCI_MANIFEST, artifactType: 'application/x.chart', 'x-own': [1] },
        config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256(config), size: 2 },
        layers: [{ mediaType: 'application/x.chart.tar', digest: long, size: blob.length }],
      }),
    );
    source.addManifest('some/image', undefined, OCI_MANIFEST, artifact);
    const indexOf = (bytes: Buffer, mediaType: string): Buffer =>
      Buffer.from(
        JSON.stringify({
          ...{ schemaVersion: 2, mediaType: OCI_INDEX },
          manifests: [{ mediaType, digest: sha256(bytes), size: bytes.length }],
        }),
      );
    const inner = indexOf(artifact, OCI_MANIFEST);
    source.addManifest('some/image', undefined, OCI_INDEX, inner);
    const outer = indexOf(inner, OCI_INDEX);
    source.addManifest('some/image', 'nested', OCI_INDEX, outer);
    const nested = `docker://${source.domain}/some/image:nested`;
    const { digest } = await copy(nested, `docker://${target.domain}/nested:1`, { isAll: true });
    expect(digest).toBe(sha256(outer));
    for (const [reference, bytes] of [
      ['1', outer],
      [sha256(inner), inner],
      [sha256(artifact), artifact],
    ] as const)
      expect(target.manifests.get(`nested/${reference}`)?.bytes.equals(bytes), reference).toBe(true);
    expect(target.blobs.get(long)?.equals(blob)).toBe(true);
    // And through a layout, which holds sha512 beside sha256.
    await copy(nested, `oci:${join(base, 'layout')}:x`, { isAll: true });
    expect(files(join(base, 'layout'))).toContain(join('blobs', 'sha512', long.slice(7)));
    await copy(`oci:${join(base, 'layout')}:x`, `docker://${target.domain}/again:1`, { isAll: true });
    expect(target.manifests.get('again/1')?.bytes.equals(outer)).toBe(true);
  });

  test('a foreign layer stays where its manifest says', async () => {
    const foreign = await fakeImage([{ a: 'a' }, { b: 'b' }], {
      edit: (manifest) => (manifest.layers[0]!.urls = ['http://127.0.0.1:1/layer']),
    });
    source.add('foreign:1', foreign);
    source.blobs.delete(foreign.layers[0]!.digest);
    const { digest } = await copy(
      `docker://${source.domain}/foreign:1`,
      `docker://${target.domain}/foreign:1`,
    );
    expect(digest).toBe(sha256(foreign.manifest));
    expect(target.blobs.has(foreign.layers[1]!.digest)).toBe(true);
    expect(target.blobs.has(foreign.layers[0]!.digest)).toBe(false);
  });

  test('a digest that the destination is named by must be the image’s', async () => {
    const right = `docker://${target.domain}/x@${sha256(image.manifest)}`;
    await copy(from, right);
    expect(target.manifests.has(`x/${sha256(image.manifest)}`)).toBe(true);
    await expect(copy(from, `docker://${target.domain}/x@sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({
      code: 'EDIGEST',
    });
  });
});

describe('nothing is left', () => {
  const damages: [string, (registry: FakeRegistry, image: FakeImage) => void][] = [
    [
      'a blob is another',
      (registry, { layers }) =>
        registry.blobs.set(layers[1]!.digest, Buffer.alloc(layers[1]!.blob.length, 1)),
    ],
    [
      'a blob is short',
      (registry, { layers }) => registry.blobs.set(layers[1]!.digest, layers[1]!.blob.subarray(1)),
    ],
    ['a blob is missing', (registry, { layers }) => void registry.blobs.delete(layers[1]!.digest)],
    [
      'connections are cut for good',
      (registry, { layers }) => {
        registry.hook = (request, response) => {
          if (!request.url!.endsWith(layers[1]!.digest)) return false;
          if (request.headers.range === undefined) cutBlob(request, response, layers[1]!.blob, 100_000);
          else response.destroy();
          return true;
        };
      },
    ],
  ];

  test.each(damages)('when %s', { timeout: 30_000 }, async (_, damage) => {
    const other = await fakeImage([{ other: 'other' }]);
    const layout = writeLayout(join(base, 'there'), other);
    const [listed, index] = [files(layout), readFileSync(join(layout, 'index.json'), 'utf8')];
    damage(source, image);
    for (const to of [
      `oci:${layout}:new`,
      `oci:${join(base, 'layout')}:1`,
      `oci-archive:${join(base, 'a.tar')}:1`,
      `docker-archive:${join(base, 'b.tar')}:x`,
      `dir:${join(base, 'dir')}`,
      `docker://${target.domain}/x:1`,
      'store:x',
    ])
      await expect(copy(from, to), to).rejects.toMatchObject({ name: 'LaminaError' });
    expect(files(layout)).toEqual(listed);
    expect(readFileSync(join(layout, 'index.json'), 'utf8')).toBe(index);
    expect(readdirSync(base)).toEqual(['there']);
    expect(target.manifests.size).toBe(0);
    expect(place.store.snapshot().images).toEqual([]);
    expect(place.files('tmp')).toEqual([]);
  });

  test('when an index lists what is not there', async () => {
    const layout = writeLayout(join(base, 'sparse'), image);
    const digest = `sha256:${'1'.repeat(64)}`;
    const index = Buffer.from(
      JSON.stringify({
        ...{ schemaVersion: 2, mediaType: OCI_INDEX },
        manifests: [
          {
            ...{ mediaType: OCI_MANIFEST, digest: sha256(image.manifest), size: image.manifest.length },
            platform: { os: 'linux', architecture: 'amd64' },
          },
          { mediaType: OCI_MANIFEST, digest, size: 7, platform: { os: 'linux', architecture: 'arm64' } },
        ],
      }),
    );
    writeFileSync(join(layout, 'blobs', 'sha256', sha256(index).slice(7)), index);
    const top = { mediaType: OCI_INDEX, digest: sha256(index), size: index.length };
    writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [top] }));
    await expect(copy(`oci:${layout}`, `oci:${join(base, 'new')}:1`, { isAll: true })).rejects.toMatchObject({
      code: 'EBLOB',
      digest,
    });
    expect(readdirSync(base)).toEqual(['sparse']);
    const platform = { os: 'linux', architecture: 'amd64', variant: undefined } as never;
    expect(await copy(`oci:${layout}`, `oci:${join(base, 'new')}:1`, { platform })).toEqual({
      digest: sha256(image.manifest),
    });
  });
});

test('a plain layer that is not what it promises is not compressed into something that is', async () => {
  const plain = await fakeImage([{ a: 'a' }], { compress: (tar) => tar });
  const layout = writeLayout(join(base, 'layout'), plain);
  // The store has the layer, and would note what it becomes.
  await copy(`oci:${layout}:1`, 'store:plain');
  const file = join(layout, 'blobs', 'sha256', plain.layers[0]!.digest.slice(7));
  writeFileSync(file, Buffer.alloc(readFileSync(file).length, 7));
  await expect(copy(`oci:${layout}:1`, `docker://${target.domain}/x:1`)).rejects.toMatchObject({
    code: 'EDIGEST',
  });
  expect(target.manifests.size).toBe(0);
  expect([...target.blobs.keys()].filter((digest) => digest !== plain.imageId)).toEqual([]);
  expect(knownGzip(place.root, plain.layers[0]!.diffId)).toBeUndefined();
  expect(place.files('tmp')).toEqual([]);
});

test('what a link in the place of a blob leads to is not sent, unless it is the blob', async () => {
  const layout = writeLayout(join(base, 'layout'), image);
  const secret = join(base, 'secret');
  const { digest, blob } = image.layers[1]!;
  const file = join(layout, 'blobs', 'sha256', digest.slice(7));
  writeFileSync(secret, Buffer.alloc(blob.length, 'secret'));
  rmSync(file);
  symlinkSync(secret, file);
  await expect(copy(`oci:${layout}:1`, `docker://${target.domain}/x:1`)).rejects.toMatchObject({
    code: 'EDIGEST',
  });
  // Unfinished uploads are kept with what came of them.
  expect([...target.uploads.values()].filter(({ bytes }) => bytes.includes('secret'))).toEqual([]);
  expect(target.manifests.size).toBe(0);
  // Layouts that share their blobs are made of links.
  writeFileSync(secret, blob);
  await copy(`oci:${layout}:1`, `docker://${target.domain}/x:1`);
  expect(target.blobs.get(digest)?.equals(blob)).toBe(true);
});

test('what has a transport is not looked for in the store, which may be unreadable', async () => {
  const layout = writeLayout(join(base, 'layout'), image);
  writeFileSync(join(place.root, 'index.json'), 'damaged');
  await copy(`oci:${layout}:1`, `dir:${join(base, 'dir')}`);
  expect(files(join(base, 'dir'))).toHaveLength(5);
});

test('--preserve-digests fails where something would change', async () => {
  await expect(
    copy(from, `docker://${target.domain}/x:1`, { format: 'docker', preservesDigests: true }),
  ).rejects.toMatchObject({ code: 'EDIGEST' });
  expect(target.manifests.size).toBe(0);
});

test('docker’s format has no zstd', async () => {
  const zstd = await fakeImage([{ a: 'a' }], {
    edit: (manifest) => (manifest.layers[0]!.mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd'),
  });
  source.add('zstd:1', zstd);
  await expect(
    copy(`docker://${source.domain}/zstd:1`, `docker://${target.domain}/x:1`, { format: 'docker' }),
  ).rejects.toMatchObject({ code: 'EMEDIATYPE' });
  expect(target.manifests.size).toBe(0);
});

test('what was compressed for a registry once is not compressed again', async () => {
  const plain = await fakeImage([{ big: Buffer.alloc(1 << 20, 'x') }], { compress: (tar) => tar });
  await copy(`oci:${writeLayout(join(base, 'plain'), plain)}:1`, 'store:plain');
  const first = await copy('store:plain', `docker://${target.domain}/x:1`);
  target.requests.length = 0;
  const again = await copy('plain', `docker://${target.domain}/x:2`);
  expect(again).toEqual(first);
  expect(target.seen(/^(POST|PATCH|PUT) .*\/blobs\//)).toEqual([]);
});
