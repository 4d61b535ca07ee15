import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/oci/config.js';
import { parseIndex } from '../../../src/oci/image-index.js';
import { parseJson, quoted } from '../../../src/oci/json.js';
import { parseManifest } from '../../../src/oci/manifest.js';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const CONFIG = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 10 };
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: DIGEST, size: 0 };
const bytes = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const failing = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string });

describe('manifest', () => {
  test('reads what is there, and null as absent', () => {
    const manifest = parseManifest(
      bytes({
        schemaVersion: 2,
        mediaType: null,
        config: { ...CONFIG, annotations: null, urls: null, platform: null },
        layers: [LAYER, { ...LAYER, urls: ['https://example.com/x'], annotations: { a: 'b', c: null } }],
        annotations: null,
        unknown: [1, 2, 3],
      }),
      'm',
    );
    expect(manifest.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
    expect(manifest.config.sizeBytes).toBe(10);
    expect(manifest.layers.map(({ urls }) => urls)).toEqual([[], ['https://example.com/x']]);
    expect([...manifest.layers[1]!.annotations]).toEqual([['a', 'b']]);
    expect(parseManifest(bytes({ config: CONFIG, layers: null }), 'm').layers).toEqual([]);
  });

  test.each([
    ['no config', { layers: [LAYER] }, 'EBADIMAGE', 'config: is missing'],
    ['layers that are no array', { config: CONFIG, layers: {} }, 'EBADIMAGE', 'layers: is not an array'],
    ['a layer that is no object', { config: CONFIG, layers: [DIGEST] }, 'EBADIMAGE', 'layers[0] is not'],
    ['a digest with a path', { config: { ...CONFIG, digest: 'sha256:../../x' } }, 'EBADIMAGE', 'digest'],
    ['a negative size', { config: { ...CONFIG, size: -1 } }, 'EBADIMAGE', 'size'],
    ['a fraction as size', { config: { ...CONFIG, size: 1.5 } }, 'EBADIMAGE', 'size'],
    ['a size above 2^53', { config: { ...CONFIG, size: 2 ** 60 } }, 'EBADIMAGE', 'size'],
    ['a size as text', { config: { ...CONFIG, size: '1' } }, 'EBADIMAGE', 'is not a number'],
    ['no size', { config: { ...CONFIG, size: null } }, 'EBADIMAGE', 'size: is missing'],
    ['manifests as well (CVE-2021-41190)', { config: CONFIG, manifests: [] }, 'EBADIMAGE', 'manifests'],
    [
      'the media type of an index',
      { mediaType: 'application/vnd.oci.image.index.v1+json' },
      'EBADIMAGE',
      'mediaType',
    ],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, 'EMEDIATYPE', 'schema 1'],
    [
      'a chart as config',
      { config: { ...CONFIG, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      'EMEDIATYPE',
      'helm',
    ],
    ['an array', [], 'EBADIMAGE', 'not a JSON object'],
    ['nothing', '', 'EBADIMAGE', 'not valid JSON'],
    ['half a document', '{"config":', 'EBADIMAGE', 'not valid JSON'],
  ])('refuses %s', (_name, value, code, text) => {
    expect(() => parseManifest(bytes(value), 'm')).toThrow(failing(code, text));
  });

  test('a field called __proto__ is a field like any other', () => {
    const text = `{"config":${JSON.stringify(CONFIG)},"__proto__":{"layers":[1]}}`;
    expect(parseManifest(bytes(text), 'm').layers).toEqual([]);
  });
});

describe('index', () => {
  test('reads descriptors with platforms', () => {
    const index = parseIndex(
      bytes({
        manifests: [
          { ...LAYER, platform: { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1' } },
          LAYER,
        ],
      }),
      'i',
    );
    expect(index.manifests.map(({ platform }) => platform)).toEqual([
      { os: 'linux', architecture: 'arm', variant: 'v7', osVersion: '1' },
      undefined,
    ]);
  });

  test.each([
    ['layers as well (CVE-2021-41190)', { manifests: [], layers: [] }],
    ['a config as well', { manifests: [], config: CONFIG }],
    [
      'the media type of a manifest',
      { mediaType: 'application/vnd.oci.image.manifest.v1+json', manifests: [] },
    ],
  ])('refuses %s', (_name, value) => {
    expect(() => parseIndex(bytes(value), 'i')).toThrow(failing('EBADIMAGE'));
  });
});

describe('config', () => {
  test('reads what docker writes', () => {
    const config = parseConfig(
      bytes({
        architecture: 'arm64',
        variant: 'v8',
        os: 'linux',
        created: '2024-01-01T00:00:00Z',
        config: {
          User: 'nobody',
          ExposedPorts: { '80/tcp': {} },
          Env: ['A=b'],
          Entrypoint: null,
          Cmd: ['x', 'y'],
          Volumes: { '/v': {} },
          WorkingDir: '/w',
          Labels: { l: 'm' },
          OnBuild: null,
        },
        rootfs: { type: 'layers', diff_ids: [DIGEST] },
        history: [{ created_by: 'RUN x' }, { created_by: 'ENV A=b', empty_layer: true }],
      }),
      'c',
    );
    expect(config.platform).toEqual({
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
      osVersion: undefined,
    });
    expect(config.config).toMatchObject({
      user: 'nobody',
      exposedPorts: ['80/tcp'],
      env: ['A=b'],
      entrypoint: undefined,
      cmd: ['x', 'y'],
      volumes: ['/v'],
      workingDir: '/w',
    });
    expect(config.config.labels.get('l')).toBe('m');
    expect(config.rootfs.diffIds).toEqual([DIGEST]);
    expect(config.history.map(({ emptyLayer }) => emptyLayer)).toEqual([false, true]);
  });

  test('needs no more than rootfs', () => {
    const config = parseConfig(bytes({ config: null, history: null, rootfs: { diff_ids: null } }), 'c');
    expect(config.rootfs.diffIds).toEqual([]);
    expect(config.config.cmd).toBeUndefined();
  });

  test.each([
    ['no rootfs', {}],
    ['another kind of rootfs', { rootfs: { type: 'btrfs', diff_ids: [] } }],
    ['a diffId that is none', { rootfs: { type: 'layers', diff_ids: ['sha256:abc'] } }],
    ['a diffId that is a number', { rootfs: { type: 'layers', diff_ids: [1] } }],
    ['an environment that is text', { config: { Env: 'A=b' }, rootfs: {} }],
  ])('refuses %s', (_name, value) => {
    expect(() => parseConfig(bytes(value), 'c')).toThrow(failing('EBADIMAGE', 'c, '));
  });
});

describe('json', () => {
  test('a document that is too long is not parsed', () => {
    expect(() => parseJson(bytes('[1,2,3]'), 'j', 6)).toThrow(failing('ELIMIT', 'maxJsonBytes (6)'));
    expect(parseJson(bytes('[1,2,3]'), 'j', 7)).toEqual([1, 2, 3]);
  });

  test('nesting as deep as the limit allows does not crash', () => {
    const depth = 2 * 1024 * 1024;
    expect(() => parseManifest(bytes('['.repeat(depth) + ']'.repeat(depth)), 'j')).toThrow(
      failing('EBADIMAGE'),
    );
  });

  test('text from outside cannot drive a terminal', () => {
    expect(quoted('a\u001b[2J\u009b\u202eb"')).toBe('"a\\u001b[2J\\u009b\\u202eb\\""');
    expect(quoted('x'.repeat(1000)).length).toBeLessThan(250);
  });
});
