/** containers-registries.conf(5) */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseReference } from '../../../src/oci/reference.js';
import { readRegistriesConf } from '../../../src/registry/registries-conf.js';
import { domainRule, relocated, ruleFor } from '../../../src/registry/rules.js';
import { readSettings } from '../../../src/registry/settings.js';
import { fakeImage, FakeRegistry } from '../../helpers/fake-registry.js';
import type { FakeImage } from '../../helpers/fake-registry.js';
import { Place } from './support.js';

let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-registries-'));
  vi.stubEnv('XDG_CONFIG_HOME', join(base, 'config'));
  vi.stubEnv('CONTAINERS_REGISTRIES_CONF', '');
  vi.stubEnv('LAMINA_REGISTRIES', '');
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true, force: true });
});

/** The file that is named alone. */
function named(text: string): void {
  const file = join(base, 'registries.conf');
  writeFileSync(file, text);
  vi.stubEnv('CONTAINERS_REGISTRIES_CONF', file);
}

function write(name: string, text: string): void {
  const file = join(base, 'config', 'containers', name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Where a name is read, as text; undefined: no rule speaks of it. */
async function placeOf(text: string): Promise<string | undefined> {
  const name = parseReference(text);
  const rule = ruleFor(name, await readRegistriesConf());
  if (rule === undefined) return undefined;
  const { domain, path } = rule.location === undefined ? name : relocated(name, rule, rule.location);
  return `${domain}/${path}`;
}

describe('prefixes', () => {
  test('the longest counts, and ends where a part of the name ends', async () => {
    named(`
      [[registry]]
      location = "example.com"
      [[registry]]
      prefix = "example.com/foo"
      location = "internal.example.net/bar"
      [[registry]]
      prefix = "example.com/foo/app:2"
      location = "two.example.net/app:2"
      [[registry]]
      prefix = "docker.io/library"
      location = "hub.example.net:5000/official/"
    `);
    // The first is the manual's own example.
    expect(await placeOf('example.com/foo/myimage:latest')).toBe('internal.example.net/bar/myimage');
    expect(await placeOf('example.com/foobar/myimage')).toBe('example.com/foobar/myimage');
    expect(await placeOf('example.com/foo/app:2')).toBe('two.example.net/app');
    expect(await placeOf('example.com/foo/app:22')).toBe('internal.example.net/bar/app');
    expect(await placeOf('example.com:5000/foo')).toBeUndefined();
    expect(await placeOf('debian')).toBe('hub.example.net:5000/official/debian');
    expect(await placeOf('user/image')).toBeUndefined();
  });

  test('a star stands for subdomains, any number of them', async () => {
    named(`
      [[registry]]
      prefix = "*.example.com"
      insecure = true
    `);
    expect(await placeOf('bar.example.com/foo/x')).toBe('bar.example.com/foo/x');
    expect(await placeOf('foo.bar.example.com/x')).toBe('foo.bar.example.com/x');
    expect(await placeOf('example.com/x')).toBeUndefined();
    expect(domainRule('a.example.com', await readRegistriesConf())).toMatchObject({ isInsecure: true });
    expect(domainRule('example.com', await readRegistriesConf())).toBeUndefined();
  });

  test.each([
    ['[[registry]]\nprefix = "example.*.com"\nlocation = "x"', 'a * stands for subdomains'],
    ['[[registry]]\nprefix = "*.example.com/foo"\nlocation = "x"', 'a * stands for subdomains'],
    ['[[registry]]\ninsecure = true', 'neither a prefix nor a location'],
    ['[[registry]]\nprefix = "example.com"', 'it is missing for the prefix'],
    ['[[registry]]\nlocation = 7', 'is not a string'],
    ['[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation="b"\npull-from-mirror = "x"', 'is none of'],
    ['registry = ', 'line 1: it is no TOML'],
  ])('%j is an error that says so', async (text, message) => {
    named(text);
    await expect(readRegistriesConf()).rejects.toMatchObject({
      code: 'EBADIMAGE',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('files', () => {
  test('the user’s, then its drop-ins in the order of their names, which replace tables of the same prefix', async () => {
    write('registries.conf', '[[registry]]\nlocation = "a.example"\n[[registry]]\nlocation = "b.example"');
    write('registries.conf.d/20.conf', '[[registry]]\nprefix = "a.example"\nlocation = "second.example"');
    write('registries.conf.d/10.conf', '[[registry]]\nprefix = "a.example"\nlocation = "first.example"');
    write('registries.conf.d/30.toml', '[[registry]]\nprefix = "a.example"\nlocation = "third.example"');
    expect(await placeOf('a.example/x')).toBe('second.example/x');
    expect(await placeOf('b.example/x')).toBe('b.example/x');
    named('');
    expect(await placeOf('a.example/x')).toBeUndefined();
  });

  test('LAMINA_REGISTRIES leaves others aside, but for one that is named as well', async () => {
    write('registries.conf', '[[registry]]\nlocation = "a.example"');
    const own = join(base, 'own.json');
    writeFileSync(own, '{"insecure-registries": ["x.example"]}');
    expect((await readSettings()).rules).toHaveLength(1);
    vi.stubEnv('LAMINA_REGISTRIES', own);
    expect(await readSettings()).toMatchObject({ insecure: ['x.example'], rules: [] });
    named('[[registry]]\nlocation = "b.example"');
    expect((await readSettings()).rules).toMatchObject([{ prefix: 'b.example' }]);
  });

  test('one that is named must be there', async () => {
    vi.stubEnv('CONTAINERS_REGISTRIES_CONF', join(base, 'none'));
    await expect(readRegistriesConf()).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('the first version’s insecure and blocked registries', async () => {
    named(
      '[registries.insecure]\nregistries = ["a.example:5000"]\n[registries.block]\nregistries = ["b.example"]',
    );
    expect(await readRegistriesConf()).toMatchObject([
      { prefix: 'a.example:5000', isInsecure: true, isBlocked: false },
      { prefix: 'b.example', isInsecure: false, isBlocked: true },
    ]);
  });
});

describe('registries', () => {
  let place: Place;
  let registry: FakeRegistry;
  let mirror: FakeRegistry;
  let image: FakeImage;

  beforeEach(async () => {
    place = new Place();
    [registry, mirror] = [await FakeRegistry.start(), await FakeRegistry.start()];
    image = await fakeImage([{ a: 'a' }]);
  });

  afterEach(async () => {
    await place.close();
    await registry.close();
    await mirror.close();
  });

  const pull = async (name: string): Promise<string> => {
    const settings = await readSettings();
    return (await place.pull(name, {}, place.client({ settings }))).imageId;
  };

  test('a name is read where it is said to lie, and stays what it is', async () => {
    registry.add('moved/app:1', image);
    named(
      `[[registry]]\nprefix = "example.test/our"\nlocation = "${registry.domain}/moved"\ninsecure = true`,
    );
    expect(await pull('example.test/our/app:1')).toBe(image.imageId);
    expect(place.store.snapshot().get('example.test/our/app:1').image.imageId).toBe(image.imageId);
    expect(registry.seen(/^GET \/v2\/moved\/app\//).length).toBeGreaterThanOrEqual(3);
  });

  test('mirrors first, in order, then the registry; by tag or by digest as they are meant', async () => {
    const digest = registry.add('app:1', image);
    mirror.add('cache/app:1', image);
    const conf = (takes: string): void =>
      named(`
        [[registry]]
        location = "${registry.domain}"
        [[registry.mirror]]
        location = "127.0.0.1:1/nobody"
        [[registry.mirror]]
        location = "${mirror.domain}/cache"
        pull-from-mirror = "${takes}"
      `);
    conf('all');
    expect(await pull(`${registry.domain}/app:1`)).toBe(image.imageId);
    expect(registry.seen(/app/)).toEqual([]);
    expect(mirror.seen(/^GET \/v2\/cache\/app\/manifests\/1$/)).toHaveLength(1);
    conf('digest-only');
    mirror.requests.length = 0;
    await pull(`${registry.domain}/app:1`);
    expect(mirror.seen(/manifests/)).toEqual([]);
    expect(registry.seen(/^GET \/v2\/app\/manifests\/1$/)).toHaveLength(1);
    await pull(`${registry.domain}/app@${digest}`);
    expect(mirror.seen(/manifests\/sha256/)).toHaveLength(1);
    conf('tag-only');
    mirror.requests.length = 0;
    await pull(`${registry.domain}/app@${digest}`);
    expect(mirror.seen(/manifests/)).toEqual([]);
    // What a mirror lacks, the registry has.
    conf('all');
    mirror.manifests.clear();
    expect(await pull(`${registry.domain}/app:1`)).toBe(image.imageId);
  });

  test('what is blocked is not asked, by no command', async () => {
    registry.add('bad/app:1', image);
    registry.add('good/app:1', image);
    named(`[[registry]]\nlocation = "${registry.domain}/bad"\nblocked = true`);
    await expect(pull(`${registry.domain}/bad/app:1`)).rejects.toMatchObject({
      code: 'EREGISTRY',
      message: expect.stringContaining('blocked in') as string,
    });
    expect(registry.requests).toEqual([]);
    expect(await pull(`${registry.domain}/good/app:1`)).toBe(image.imageId);
    registry.requests.length = 0;
    const name = `${registry.domain}/bad/other:1`;
    await place.store.update((draft) => {
      const [entry] = place.store.snapshot().images[0]!.entries;
      draft.add({
        ...{ mediaType: entry!.descriptor.mediaType, digest: entry!.descriptor.digest },
        ...{ sizeBytes: entry!.descriptor.sizeBytes, platform: entry!.descriptor.platform! },
        ...{ name: parseReference(name), taggedAt: new Date().toISOString() },
      });
    });
    await expect(place.push(name, place.client({ settings: await readSettings() }))).rejects.toMatchObject({
      code: 'EREGISTRY',
    });
    expect(registry.requests).toEqual([]);
  });

  test('insecure is what is said to be; not what is not', async () => {
    named(
      '[[registry]]\nlocation = "insecure.example"\ninsecure = true\n[[registry]]\nlocation = "secure.example"',
    );
    const client = place.client({ settings: await readSettings() });
    // Nobody is there, so that http is what is left to try.
    expect((await client.endpoint('insecure.example')).url.href).toBe('http://insecure.example/');
    expect((await client.endpoint('secure.example')).url.href).toBe('https://secure.example/');
    const strict = place.client({ settings: await readSettings(true) });
    expect(await strict.endpoint('insecure.example')).toMatchObject({ isUnverified: false });
  });
});
