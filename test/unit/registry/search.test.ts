/** Docker Hub's index as its API documents it, and what registries list of themselves. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { searchRegistry } from '../../../src/registry/search.js';
import { fakeImage, FakeRegistry } from '../../helpers/fake-registry.js';
import { Place } from './support.js';

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

test('Docker Hub’s names stay as it has them; its words may hold a slash', async () => {
  registry.hook = ({ url }, response) => {
    if (!url!.startsWith('/v1/search')) return false;
    response.end(
      JSON.stringify({
        ...{ num_pages: 1, num_results: 2, page: 1, page_size: 25, query: 'nginx' },
        results: [
          { name: 'nginx', description: 'Official build of Nginx.', star_count: 20_000, is_official: true },
          { name: 'bitnami/nginx', description: null, star_count: null, is_official: null },
        ],
      }),
    );
    return true;
  };
  const hub = `http://${registry.domain}/`;
  expect(await searchRegistry(place.client(), 'nginx', 25, hub)).toEqual([
    { name: 'nginx', description: 'Official build of Nginx.', stars: 20_000, isOfficial: true },
    { name: 'bitnami/nginx', description: '', stars: 0, isOfficial: false },
  ]);
  for (const term of ['bitnami/nginx', 'docker.io/nginx', 'index.docker.io/nginx'])
    await searchRegistry(place.client(), term, 3, hub);
  const asked = registry.requests.map(({ url }) => new URL(url, 'http://x').searchParams);
  expect(asked.map((query) => [query.get('q'), query.get('n')])).toEqual([
    ['nginx', '25'],
    ['bitnami/nginx', '3'],
    ['nginx', '3'],
    ['nginx', '3'],
  ]);
});

test('Docker Hub’s refusals are told in its words, and answers that are none of it', async () => {
  const hub = `http://${registry.domain}/`;
  registry.hook = (_, response) => {
    response
      .writeHead(400)
      .end(JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'come back later' }] }));
    return true;
  };
  await expect(searchRegistry(place.client(), 'x', 5, hub)).rejects.toMatchObject({
    code: 'EREGISTRY',
    message: 'cannot search docker.io: toomanyrequests: come back later',
  });
  registry.hook = (_, response) => {
    response.end('<html>');
    return true;
  };
  await expect(searchRegistry(place.client(), 'x', 5, hub)).rejects.toMatchObject({ code: 'EBADIMAGE' });
});

test('a plain registry’s catalog is looked through, page after page', async () => {
  registry.add('x:1', await fakeImage([{ a: 'a' }]));
  registry.hook = ({ url }, response) => {
    if (!url!.startsWith('/v2/_catalog')) return false;
    const { searchParams } = new URL(url!, 'http://x');
    const isSecond = searchParams.get('last') === 'b/nginx';
    if (!isSecond) response.setHeader('link', '</v2/_catalog?n=1000&last=b/nginx>; rel="next"');
    response.end(JSON.stringify({ repositories: isSecond ? ['c/nginx', 'd/other'] : ['a/x', 'b/nginx'] }));
    return true;
  };
  const found = await searchRegistry(place.client(), `${registry.domain}/nginx`, 25);
  expect(found.map(({ name }) => name)).toEqual([`${registry.domain}/b/nginx`, `${registry.domain}/c/nginx`]);
  expect(await searchRegistry(place.client(), `${registry.domain}/nginx`, 1)).toHaveLength(1);
});
