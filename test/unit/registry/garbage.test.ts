/** Whatever a registry answers, what comes of it is an image or an error of our own, in good time. The seed is printed on failure. */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LaminaError } from '../../../src/errors.js';
import { copyImage } from '../../../src/image/copy/copy.js';
import { parseReference } from '../../../src/oci/reference.js';
import { pullAllTags } from '../../../src/registry/pull.js';
import { retryAfterMs } from '../../../src/registry/http.js';
import { searchRegistry } from '../../../src/registry/search.js';
import { fakeImage, FakeRegistry } from '../../helpers/fake-registry.js';
import { Place } from './support.js';

const SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? randomBytes(4).readUInt32LE());
const ROUNDS = Number(process.env['LAMINA_DIFF_COUNT'] ?? 60);

let place: Place;
let registry: FakeRegistry;

beforeEach(async () => {
  place = new Place();
  registry = await FakeRegistry.start();
});

afterEach(async () => {
  await place.close();
  await registry.close();
});

/** mulberry32 */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const WORDS = [
  ...['null', '[]', '{}', '-1', '1e999', '"\\u0000"', 'true', '[[[[', '"sha256:x"', '""', '9007199254740993'],
  ...['"application/vnd.oci.image.index.v1+json"', `"sha256:${'0'.repeat(64)}"`, '{"digest":1}', '"../.."'],
];
const HEADERS: [string, readonly string[]][] = [
  ['content-type', ['', 'text/html', 'application/vnd.oci.image.index.v1+json', ';;;', 'x'.repeat(5000)]],
  ['docker-content-digest', ['', 'sha256:', `sha256:${'1'.repeat(64)}`, 'md5:1', '\u00ff']],
  [
    'www-authenticate',
    ['Bearer', 'Basic', 'Bearer realm="', 'Bearer realm="::"', 'Bearer realm="file:///x"', ',,,='],
  ],
  ['location', ['', '//', 'http://[', '/v2/', 'javascript:0', '?'.repeat(3000)]],
  ['link', ['<>; rel=next', '</v2/app/tags/list>; rel="next"', '<http://[>; rel=next', '<'.repeat(3000)]],
  ['content-range', ['bytes */*', 'bytes 0-0/1', 'x', 'bytes 99999999999999999999-1/2']],
  ['retry-after', ['0', '-1', 'x', 'Wed, 21 Oct 2015 07:28:00 GMT']],
];
const STATUSES = [200, 200, 200, 200, 201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 416, 418, 500, 599];

test(`of seed ${SEED}`, { timeout: 120_000 }, async () => {
  const image = await fakeImage([{ a: 'a' }, { b: 'b'.repeat(3000) }]);
  registry.add('app:1', image);
  const random = generator(SEED);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  /** Of a document, one of its parts becomes something else; of other bytes, some. */
  const damaged = (bytes: Buffer): Buffer => {
    const text = bytes.toString('latin1');
    const parts = [...text.matchAll(/"[^"]*"|\d+|[[\]{}:,]/g)];
    if (!/^\s*[[{]/.test(text) || parts.length === 0 || random(5) === 0) {
      const copy = Buffer.from(bytes);
      for (let count = 1 + random(4); count > 0 && copy.length > 0; count--)
        copy[random(copy.length)] = random(256);
      return random(4) === 0 ? copy.subarray(0, random(copy.length + 1)) : copy;
    }
    const part = pick(parts);
    return Buffer.from(
      text.slice(0, part.index) + pick(WORDS) + text.slice(part.index + part[0].length),
      'latin1',
    );
  };
  const originals = { blobs: new Map(registry.blobs), manifests: new Map(registry.manifests) };
  for (let round = 0; round < ROUNDS; round++) {
    registry.blobs.clear();
    registry.manifests.clear();
    for (const [digest, bytes] of originals.blobs)
      registry.blobs.set(digest, random(4) === 0 ? damaged(bytes) : bytes);
    for (const [name, { mediaType, bytes }] of originals.manifests)
      registry.manifests.set(name, { mediaType, bytes: random(2) === 0 ? damaged(bytes) : bytes });
    let answers = 0;
    registry.hook = (request, response) => {
      if (answers++ > 200) throw new Error('it asks for ever');
      if (random(3) > 0) return false;
      request.resume();
      const status = pick(STATUSES);
      for (let count = random(3); count > 0; count--) {
        const [header, values] = pick(HEADERS);
        response.setHeader(header, pick(values));
      }
      if (status === 401 && response.getHeader('www-authenticate') === undefined)
        response.setHeader('www-authenticate', `Bearer realm="http://${registry.domain}/token"`);
      response.writeHead(status);
      response.end(
        status === 204 ? undefined : damaged(Buffer.from(pick([...originals.manifests.values()]).bytes)),
      );
      return true;
    };
    const client = place.client({ findCredentials: async () => ({ username: 'me', password: 'x' }) });
    const options = { maxInflatedBytes: 1 << 20 };
    const works = [
      () => place.pull(`${registry.domain}/app:1`, options, client),
      () => pullAllTags(place.store, client, parseReference(`${registry.domain}/app`), options, () => {}),
      () => searchRegistry(client, `${registry.domain}/app`, 10),
      () =>
        copyImage(place.store, `docker://${registry.domain}/app:1`, `oci:${join(place.root, 'copied')}:1`, {
          ...options,
          isAll: random(2) === 0,
          sourceClient: async () => client,
          targetClient: async () => client,
        }),
    ];
    const work = pick(works);
    const outcome = await work().catch((error: unknown) => error as object);
    if (outcome instanceof Error && !(outcome instanceof LaminaError))
      throw new Error(`seed ${SEED}, round ${round}: ${outcome.stack}`);
    expect(answers).toBeLessThan(200);
    // Of what failed nothing is left, and of what did not all is there.
    expect(existsSync(join(place.root, 'copied'))).toBe(work === works[3] && !(outcome instanceof Error));
    rmSync(join(place.root, 'copied'), { recursive: true, force: true });
    expect(place.files('tmp')).toEqual([]);
    await client.close();
  }
  // And it is none the worse for it.
  registry.hook = () => false;
  for (const [digest, bytes] of originals.blobs) registry.blobs.set(digest, bytes);
  for (const [name, manifest] of originals.manifests) registry.manifests.set(name, manifest);
  expect((await place.pull(`${registry.domain}/app:1`)).imageId).toBe(image.imageId);
});

test.each([
  ['3', 3000],
  [' 0 ', 0],
  ['-1', undefined],
  ['soon', undefined],
  [undefined, undefined],
  ['Wed, 21 Oct 2015 07:28:00 GMT', 0],
])('Retry-After: %s', (text, expected) => {
  expect(retryAfterMs(text)).toBe(expected);
});

test('Retry-After may be a date to come', () => {
  const wait = retryAfterMs(new Date(Date.now() + 10_000).toUTCString())!;
  expect(wait).toBeGreaterThan(8000);
  expect(wait).toBeLessThanOrEqual(10_000);
});
