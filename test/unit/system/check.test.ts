/** What a check finds, each kind of damage made by hand, and what a repair leaves. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createContainer } from '../../../src/container/create.js';
import { ContainerStore } from '../../../src/container/store.js';
import { loadArchive } from '../../../src/image/load.js';
import { openImage } from '../../../src/image/open.js';
import { checkStore, repairStore } from '../../../src/system/check/check.js';
import {
  annotated,
  digestOf,
  hexOf,
  image,
  layer,
  LayoutBuilder,
  OCI,
} from '../../helpers/archive-builder.js';
import type { BuiltImage } from '../../helpers/archive-builder.js';
import { TestStore } from '../../helpers/store.js';

describe('checking a store', () => {
  let it: TestStore;
  let one: BuiltImage;
  let packed: BuiltImage;
  beforeEach(async () => {
    it = new TestStore();
    one = await it.load(['shared', 'own'], ['one:1']);
    await it.load(['shared', 'other'], ['two:1']);
    const layout = new LayoutBuilder();
    packed = image([layer('packed')]);
    const pack = { pack: gzipSync, layerType: `${OCI}.layer.v1.tar+gzip`, extra: annotated('packed:1') };
    layout.manifests.push(layout.addImage(packed, pack));
    await loadArchive(it.store, it.scratch.tar(layout.members()));
    for (const name of ['one:1', 'two:1', 'packed:1']) (await openImage(name, { root: it.root })).close();
  });
  afterEach(() => it.remove());

  const at = (...path: string[]): string => join(it.root, ...path);
  const blob = (digest: string): string => it.store.blobs.pathOf(digest);
  const manifestOf = (name: string): string => it.store.snapshot().get(name).image.descriptor.digest;
  const flip = (file: string): void => {
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1]! ^= 1;
    rmSync(file);
    writeFileSync(file, bytes);
  };
  const found = async (): Promise<string[]> =>
    (await checkStore(it.store)).findings.map(({ kind, subject }) => `${kind} ${subject}`).sort();
  const tags = (): string[] =>
    it.store
      .snapshot()
      .images.flatMap((other) => other.tags)
      .sort();

  /** Repairs, and returns what is left to find. */
  async function repair(): Promise<string[]> {
    const before = await found();
    const announced: string[] = [];
    const { findings } = await repairStore(it.store, ({ kind, subject }) =>
      announced.push(`${kind} ${subject}`),
    );
    expect(announced.sort()).toEqual(expect.arrayContaining(before));
    return findings.map(({ kind, subject }) => `${kind} ${subject}`);
  }

  test('finds nothing wrong with one that is right', async () => {
    const { findings, checked } = await checkStore(it.store);
    expect(findings).toEqual([]);
    expect(checked).toMatchObject({
      images: 3,
      blobs: 4 * 2 + 3 - 1 + 0,
      layers: 4,
      chains: 3,
      containers: 0,
    });
    expect(await repair()).toEqual([]);
    expect(tags()).toEqual(['one:1', 'packed:1', 'two:1']);
  });

  test.each([
    ['a layer', () => one.layers[1]!.diffId],
    ['a config', () => one.imageId],
    ['a manifest', () => manifestOf('one:1')],
  ])('finds a damaged blob: %s; the image goes, the others stay', async (_, which) => {
    const digest = which();
    flip(blob(digest));
    expect(await found()).toEqual([`damage blob ${digest}`, 'damage image one:1'].sort());
    expect(await repair()).toEqual([]);
    expect(tags()).toEqual(['packed:1', 'two:1']);
    // What was damaged is copied anew when the image comes again.
    await it.load(['shared', 'own'], ['one:1']);
    expect(await found()).toEqual([]);
    expect(tags()).toEqual(['one:1', 'packed:1', 'two:1']);
  });

  test('finds a damaged layer of two images, and a blob that is missing or cut', async () => {
    rmSync(blob(layer('shared').diffId));
    expect(await found()).toEqual(['damage image one:1', 'damage image two:1']);
    expect(await repair()).toEqual([]);
    expect(tags()).toEqual(['packed:1']);
    truncateSync(blob(packed.imageId), 10);
    expect(await found()).toContain('damage image packed:1');
    expect(await repair()).toEqual([]);
    expect([tags(), it.list('blobs', 'sha256')]).toEqual([[], []]);
  });

  const layerName = (text: string): string => `layers/${layer(text).diffId.replace(':', '-')}`;

  test.each([
    ['an inflated layer', () => `${layerName('packed')}/data`, flip],
    ['facts', () => `${layerName('own')}/facts.json`, flip],
    [
      'facts that are wrong',
      () => `${layerName('own')}/facts.json`,
      (file: string) => writeFileSync(file, '{"contentBytes":5,"tarBytes":2048,"entries":1}\n'),
    ],
    ['a merged TOC', () => `chains/${it.list('chains')[0]}`, flip],
    ['summaries', () => 'summaries.json', (file: string) => truncateSync(file, 20)],
    [
      'summaries that are wrong',
      () => 'summaries.json',
      (file: string) =>
        writeFileSync(file, readFileSync(file, 'utf8').replaceAll('"labels":{}', '"labels":{"a":"b"}')),
    ],
  ])('finds damaged derived data: %s; no image suffers', async (_, which, damage) => {
    const name = which();
    damage(at(name));
    expect(await found()).toEqual([`damage ${name}`]);
    expect(await repair()).toEqual([]);
    expect(tags()).toEqual(['one:1', 'packed:1', 'two:1']);
    for (const tag of tags()) {
      const opened = await openImage(tag, { root: it.root });
      await opened.toc();
      opened.close();
    }
  });

  test('finds what killed processes left, which is no damage', async () => {
    const orphan = Buffer.from('orphan');
    writeFileSync(blob(digestOf(orphan)), orphan);
    mkdirSync(at('tmp/4194303-staging'));
    writeFileSync(at('tmp/4194303-staging/0'), 'half');
    mkdirSync(at('containers/.tmp-4194303-x'), { recursive: true });
    const script = `import socket,os; s=socket.socket(socket.AF_UNIX); os.chdir('${at('locks')}'); s.bind('left.lock')`;
    expect(spawnSync('python3', ['-c', script]).status).toBe(0);
    expect(await found()).toEqual(
      [
        `leftover blob ${digestOf(orphan)}`,
        'leftover containers/.tmp-4194303-x',
        'leftover locks/left.lock',
        // A change of the store, under whose lock this is looked at, has cleared tmp already.
      ].sort(),
    );
    expect(await repair()).toEqual([]);
    expect([it.list('tmp'), it.list('locks'), it.list('containers').includes('.tmp-4194303-x')]).toEqual([
      [],
      [],
      false,
    ]);
  });

  test.each([
    ['garbled', (file: string) => writeFileSync(file, '{"manifests":[{"digest":')],
    ['lost', (file: string) => rmSync(file)],
  ])('makes an index again that is %s, with the names that containers know', async (_, damage) => {
    const opened = await openImage('two:1', { root: it.root });
    await createContainer(new ContainerStore(it.root), opened, 'holder');
    opened.close();
    damage(at('index.json'));
    expect(await found()).toEqual(['damage index.json']);
    expect(await repair()).toEqual([]);
    const { images } = it.store.snapshot();
    expect(images.map(({ imageId }) => imageId)).toEqual(
      expect.arrayContaining([one.imageId, packed.imageId]),
    );
    expect([images.length, tags()]).toEqual([3, ['two:1']]);
  });

  test('finds containers that cannot be read or have lost their image, and leaves them', async () => {
    const containers = new ContainerStore(it.root);
    const opened = await openImage('one:1', { root: it.root });
    const [first, second] = [
      await createContainer(containers, opened, 'first'),
      await createContainer(containers, opened, 'second'),
    ];
    opened.close();
    expect(await found()).toEqual([]);
    writeFileSync(at('containers', first.id, 'container.json'), '{');
    expect(await found()).toEqual([`damage container ${first.id}`]);
    expect(await repair()).toEqual([`damage container ${first.id}`]);
    rmSync(at('containers', first.id), { recursive: true });
    flip(blob(one.layers[1]!.diffId));
    // Most of it can still be read: it is not taken away from under the container.
    expect(await repair()).toEqual([`damage blob ${one.layers[1]!.diffId}`]);
    rmSync(blob(one.layers[1]!.diffId));
    expect(await repair()).toEqual([`damage container ${second.id}`]);
    expect(hexOf(one.imageId)).toHaveLength(64);
  });
});
