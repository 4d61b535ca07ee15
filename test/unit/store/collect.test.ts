/** What is garbage: only what no image and no container leads to, and nothing at all when that cannot be known. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Collected } from '../../../src/store/collect.js';
import { digestOf, hexOf, layer } from '../../helpers/archive-builder.js';
import type { BuiltImage } from '../../helpers/archive-builder.js';
import { TestStore } from '../../helpers/store.js';

describe('collecting', () => {
  let it: TestStore;
  let one: BuiltImage;
  beforeEach(async () => {
    it = new TestStore();
    one = await it.load(['shared', 'own'], ['one:1']);
    await it.load(['shared', 'other'], ['two:1']);
  });
  afterEach(() => it.remove());

  const manifestOf = (name: string): string => it.store.snapshot().get(name).image.descriptor.digest;
  const blobs = (): string[] => it.list('blobs', 'sha256').map((hex) => `sha256:${hex}`);

  async function remove(...names: string[]): Promise<Collected> {
    let collected: Collected | undefined;
    const would = await it.store.update(async (draft) => {
      const digests = names.map(manifestOf);
      draft.remove(({ descriptor }) => digests.includes(descriptor.digest));
      draft.collectAfterwards((said) => (collected = said));
      return draft.wouldCollect();
    });
    // A dry run says exactly what is then done.
    expect(would).toEqual(collected);
    return collected!;
  }

  test('takes what one image alone needed, and what was derived from it', async () => {
    const expected = [manifestOf('one:1'), one.imageId, one.layers[1]!.diffId].sort();
    const before = blobs();
    const { blobs: gone, reclaimedBytes } = await remove('one:1');
    expect(gone.sort()).toEqual(expected);
    expect(blobs()).toEqual(before.filter((digest) => !expected.includes(digest)));
    expect(reclaimedBytes).toBeGreaterThan(one.layers[1]!.tar.length);
    expect(it.list('layers')).toEqual(
      ['shared', 'other'].map((text) => layer(text).diffId.replace(':', '-')).sort(),
    );
  });

  test('leaves nothing when the last image goes', async () => {
    await remove('one:1', 'two:1');
    expect([blobs(), it.list('layers')]).toEqual([[], []]);
  });

  test('takes blobs that a killed process left, and leaves files with other names', async () => {
    const orphan = Buffer.from('orphan');
    writeFileSync(it.store.blobs.pathOf(digestOf(orphan)), orphan);
    writeFileSync(join(it.root, 'blobs/sha256/README'), 'not a blob');
    const before = blobs();
    const { blobs: gone, reclaimedBytes } = await remove();
    expect([gone, reclaimedBytes]).toEqual([[digestOf(orphan)], orphan.length]);
    expect(blobs()).toEqual(before.filter((digest) => digest !== digestOf(orphan)));
  });

  function container(record: string): void {
    const directory = join(it.root, 'containers', 'c'.repeat(64));
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'container.json'), record);
  }

  test('keeps what a container stands on', async () => {
    container(JSON.stringify({ image: { manifestDigest: manifestOf('one:1') } }));
    const before = blobs();
    expect((await remove('one:1')).blobs).toEqual([]);
    expect(blobs()).toEqual(before);
  });

  test('takes nothing when a container cannot be read', async () => {
    container('{');
    expect((await remove('one:1')).refused).toMatchObject({ code: 'EIO' });
    expect(blobs()).toContain(one.imageId);
  });

  test.each(['manifest', 'config'])(
    'keeps all when a %s is damaged that is still mentioned',
    async (which) => {
      const { image } = it.store.snapshot().get('two:1');
      const digest = which === 'manifest' ? image.descriptor.digest : image.imageId;
      writeFileSync(it.store.blobs.pathOf(digest), '{}');
      const { refused } = await remove('one:1');
      if (which === 'manifest') expect(refused).toMatchObject({ code: 'EDIGEST' });
      // What a config says of layers is derived data only: their blobs are in the manifest.
      expect(blobs()).toContain(`sha256:${hexOf(layer('shared').diffId)}`);
      expect(blobs()).toContain(`sha256:${hexOf(layer('other').diffId)}`);
    },
  );

  test('keeps what other tools put there: an index with some of its images', async () => {
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        manifests: [
          { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: manifestOf('one:1'), size: 1 },
          {
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            digest: digestOf(Buffer.from('x')),
            size: 1,
          },
        ],
      }),
    );
    const staging = await it.store.stage();
    const { digest, sizeBytes } = await staging.addBytes(index);
    const manifest = manifestOf('one:1');
    await it.store.update((draft) => {
      const mediaType = 'application/vnd.oci.image.index.v1+json';
      draft.remove(({ descriptor }) => descriptor.digest === manifest);
      draft.add({ mediaType, digest, sizeBytes, platform: undefined });
      draft.collectAfterwards();
    }, staging);
    for (const needed of [digest, manifest, one.imageId, ...one.layers.map(({ diffId }) => diffId)])
      expect(blobs()).toContain(needed);
  });
});
