/** index.json: what other tools wrote into it is read and kept, and what is written is what they look for. */
import { describe, expect, test } from 'vitest';
import { parseReference } from '../../../src/oci/reference.js';
import {
  formatStoreIndex,
  makeEntry,
  parseStoreIndex,
  renamedEntry,
} from '../../../src/store/store-index.js';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const FULL_NAME = 'io.containerd.image.name';
const SHORT_NAME = 'org.opencontainers.image.ref.name';

function parse(...manifests: unknown[]): ReturnType<typeof parseStoreIndex> {
  return parseStoreIndex(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })), 'index.json');
}

function descriptor(annotations?: Record<string, string>): Record<string, unknown> {
  return { mediaType: MANIFEST, digest: DIGEST, size: 7, ...(annotations && { annotations }) };
}

describe('the index of a store', () => {
  test('is empty where there is no file', () => {
    expect(parseStoreIndex(undefined, 'index.json')).toEqual([]);
  });

  test.each([
    ['not JSON', '{"manifests":['],
    ['not an object', '[]'],
    ['with a digest that is none', '{"manifests":[{"mediaType":"a/b","digest":"sha256:12","size":1}]}'],
  ])('raises EBADIMAGE when it is %s', (_, text) => {
    expect(() => parseStoreIndex(Buffer.from(text), 'index.json')).toThrow(
      expect.objectContaining({ code: 'EBADIMAGE' }) as Error,
    );
  });

  test('gives a name with its tag to what skopeo, umoci and containerd wrote', () => {
    const [skopeo, umoci, containerd] = parse(
      descriptor({ [SHORT_NAME]: 'busybox:1' }),
      descriptor({ [SHORT_NAME]: 'busybox' }),
      descriptor({ [FULL_NAME]: 'docker.io/library/busybox:2', [SHORT_NAME]: '2' }),
    );
    expect([skopeo, umoci, containerd].map((entry) => [entry!.name!.path, entry!.name!.tag])).toEqual([
      ['library/busybox', '1'],
      ['library/busybox', 'latest'],
      ['library/busybox', '2'],
    ]);
  });

  test('keeps a name that is no reference, and fields that nobody here knows', () => {
    const foreign = { ...descriptor({ [SHORT_NAME]: 'Not A Name', 'org.other': 'x' }), artifactType: 'a/b' };
    const entries = parse(foreign);
    expect(entries[0]).toMatchObject({ name: undefined, otherName: 'Not A Name' });
    const written = JSON.parse(formatStoreIndex(entries).toString()) as { manifests: unknown[] };
    expect(written.manifests).toEqual([foreign]);
  });

  test('writes a name in full and as people type it', () => {
    const entry = makeEntry({
      mediaType: MANIFEST,
      digest: DIGEST,
      sizeBytes: 7,
      platform: { os: 'linux', architecture: 'arm', variant: 'v7', osVersion: undefined },
      name: parseReference('busybox:1'),
      parent: `sha256:${'b'.repeat(64)}`,
      taggedAt: '2026-01-02T03:04:05.000Z',
    });
    expect(entry.json).toEqual({
      mediaType: MANIFEST,
      digest: DIGEST,
      size: 7,
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
      annotations: {
        [FULL_NAME]: 'docker.io/library/busybox:1',
        [SHORT_NAME]: 'busybox:1',
        'dev.laminafs.image.parent': `sha256:${'b'.repeat(64)}`,
        'dev.laminafs.image.tagged': '2026-01-02T03:04:05.000Z',
      },
    });
    expect(parse(entry.json)[0]).toEqual(entry);
  });

  test('takes no name that has neither tag nor digest', () => {
    const name = parseReference('busybox');
    expect(() =>
      makeEntry({ mediaType: MANIFEST, digest: DIGEST, sizeBytes: 7, platform: undefined, name }),
    ).toThrow(expect.objectContaining({ code: 'EUSAGE' }) as Error);
  });

  test('loses the name alone when an entry is renamed', () => {
    const [entry] = parse(
      descriptor({ [FULL_NAME]: 'docker.io/library/a:1', [SHORT_NAME]: 'a:1', 'org.other': 'kept' }),
    );
    expect(renamedEntry(entry!, undefined).json['annotations']).toEqual({ 'org.other': 'kept' });
    const renamed = renamedEntry(entry!, parseReference('b:2'));
    expect(renamed.json['annotations']).toEqual({
      [FULL_NAME]: 'docker.io/library/b:2',
      [SHORT_NAME]: 'b:2',
      'org.other': 'kept',
    });
    const [bare] = parse(descriptor({ [SHORT_NAME]: 'a:1' }));
    expect(renamedEntry(bare!, undefined).json).toEqual(descriptor());
  });
});
