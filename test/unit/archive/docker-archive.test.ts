import { spawnSync } from 'node:child_process';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { ArchivedImage } from '../../../src/archive/image.js';
import { openArchive } from '../../../src/archive/open.js';
import { parsePlatform } from '../../../src/oci/platform.js';
import { readWhole } from '../../../src/tar/source.js';
import {
  digestOf,
  dockerSave110,
  dockerSave25,
  dockerV1,
  hexOf,
  image,
  json,
  kaniko,
  layer,
  Scratch,
  tarOf,
  type Member,
} from '../../helpers/archive-builder.js';
import { needs } from '../../helpers/require.js';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const [A, B, C] = [layer('a'), layer('b'), layer('c')];
const ONE = image([A, B]);
const TWO = image([A, C, A]);
const failing = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string });

/** Opens, selects, and checks that every layer, inflated, is what its diffId promises. */
function select(path: string, reference?: string): ArchivedImage {
  const archive = openArchive(path);
  try {
    expect(archive.form).toBe('docker-archive');
    const found = archive.select(reference === undefined ? {} : { reference });
    for (const { blob, diffId, compression } of found.layers) {
      if (compression === 'zstd') continue;
      const bytes = readWhole(blob);
      expect(digestOf(compression === 'gzip' ? gunzipSync(bytes) : bytes)).toBe(diffId);
    }
    return found;
  } finally {
    archive.close();
  }
}

const diffIds = (found: ArchivedImage): string[] => found.layers.map(({ diffId }) => diffId);

describe('docker archive', () => {
  const both = [
    { image: ONE, tags: ['one:1', 'one:latest'] },
    { image: TWO, tags: ['two:latest'] },
  ];
  const gzipped = (tar: Buffer): Buffer => gzipSync(tar);
  const podman: Member[] = [
    ...[A, B].map(({ tar, diffId }) => ({ path: `${hexOf(diffId)}.tar`, bytes: tar })),
    { path: `${hexOf(ONE.imageId)}.json`, bytes: ONE.configBytes },
    { path: `${'1'.repeat(64)}/layer.tar`, symlink: `../${hexOf(A.diffId)}.tar` },
    { path: `${'2'.repeat(64)}/layer.tar`, symlink: `../${hexOf(B.diffId)}.tar` },
    {
      path: 'manifest.json',
      bytes: json([
        {
          Config: `${hexOf(ONE.imageId)}.json`,
          RepoTags: ['one:1', 'one:latest'],
          Layers: ['1', '2'].map((digit) => `${digit.repeat(64)}/layer.tar`),
        },
      ]),
    },
  ];

  test.each<[string, Member[]]>([
    ['docker 25 and later', dockerSave25(both)],
    ['docker 1.10 to 24, equal layers as symbolic links', dockerSave110(both, 'symlink')],
    ['docker 1.10 to 24, equal layers as hard links', dockerSave110(both, 'hardlink')],
    ['podman, with links to layers at the top', podman],
    ['names that begin with ./', dockerSave110(both, 'hardlink').map((m) => ({ ...m, path: `./${m.path}` }))],
  ])('%s', (_name, members) => {
    const path = scratch.tar(members);
    const found = select(path, 'one:1');
    expect(found.imageId).toBe(ONE.imageId);
    expect(found.configBytes).toEqual(ONE.configBytes);
    expect(found.references).toEqual(['one:1', 'one:latest']);
    expect(diffIds(found)).toEqual([A.diffId, B.diffId]);
    expect(found.layers.map(({ compression }) => compression)).toEqual(['none', 'none']);
    if (members === podman) return;
    expect(diffIds(select(path, 'two'))).toEqual([A.diffId, C.diffId, A.diffId]);
    expect(() => select(path)).toThrow(failing('ENOIMAGE', '"one:1", "two:latest"'));
  });

  test('skopeo reads the same images out of these archives', ({ skip }) => {
    if (!needs('command skopeo')) skip();
    for (const members of [dockerSave25(both), dockerSave110(both, 'symlink'), podman]) {
      const path = scratch.tar(members);
      const args = ['--override-os', 'linux', '--override-arch', 'amd64', 'inspect', '--config', '--raw'];
      const run = spawnSync('skopeo', [...args, `docker-archive:${path}:one:1`]);
      expect(run.stderr.toString()).toBe('');
      expect(digestOf(run.stdout)).toBe(select(path, 'one:1').imageId);
    }
  });

  test('kaniko: a digest as the name of the config, gzip layers at the top', () => {
    const found = select(scratch.tar(kaniko({ image: ONE, tags: ['k:1'] }, gzipped)));
    expect(found.imageId).toBe(ONE.imageId);
    expect(found.layers.map(({ compression }) => compression)).toEqual(['gzip', 'gzip']);
  });

  test('the compression is what the bytes say, not the name', () => {
    const found = select(scratch.tar(kaniko({ image: ONE, tags: null }, (tar) => tar)));
    expect(found.layers.map(({ compression }) => compression)).toEqual(['none', 'none']);
    expect(found.references).toEqual([]);
    const zstd = (): Buffer => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0]);
    expect(select(scratch.tar(kaniko({ image: image([A]), tags: null }, zstd))).layers[0]!.compression).toBe(
      'zstd',
    );
  });

  test('the last of equal names wins', () => {
    const wrong = json([{ Config: 'nothing', RepoTags: ['wrong:1'], Layers: [] }]);
    const path = scratch.tar([
      { path: 'manifest.json', bytes: wrong },
      ...dockerSave25([{ image: ONE, tags: ['one:1'] }]),
    ]);
    expect(select(path).references).toEqual(['one:1']);
  });

  test('a hard link keeps the file that had the name when it came', () => {
    const config = { path: 'c', bytes: ONE.configBytes };
    const manifest = json([{ Config: 'c', RepoTags: null, Layers: ['link', 'b'] }]);
    const found = select(
      scratch.tar([
        config,
        { path: 'a', bytes: A.tar },
        { path: 'link', hardlink: './a' },
        { path: 'a', bytes: C.tar },
        { path: 'b', bytes: B.tar },
        { path: 'manifest.json', bytes: manifest },
      ]),
    );
    expect(diffIds(found)).toEqual([A.diffId, B.diffId]);
  });

  test('an image without layers', () => {
    const empty = image([]);
    const found = select(scratch.tar(dockerSave25([{ image: empty, tags: null }])));
    expect(found.layers).toEqual([]);
    expect(found.imageId).toBe(empty.imageId);
  });

  test('Layers and RepoTags may be null', () => {
    const bytes = json([{ Config: 'c', RepoTags: null, Layers: null }]);
    expect(
      select(
        scratch.tar([
          { path: 'c', bytes: image([]).configBytes },
          { path: 'manifest.json', bytes },
        ]),
      ).layers,
    ).toEqual([]);
  });

  test('one image in entries of its own for each name', () => {
    const members = dockerSave110([{ image: ONE, tags: ['a:1'] }], 'symlink');
    const manifest = members.pop() as { path: string; bytes: Buffer };
    const [entry] = JSON.parse(manifest.bytes.toString()) as Record<string, unknown>[];
    const path = scratch.tar([
      ...members,
      { path: 'manifest.json', bytes: json([entry, { ...entry, RepoTags: ['b:2'] }]) },
    ]);
    expect(select(path).references).toEqual(['a:1', 'b:2']);
    expect(select(path, 'b:2').imageId).toBe(ONE.imageId);
  });

  test('list tells what there is', () => {
    const archive = openArchive(scratch.tar(dockerSave25(both)));
    expect(archive.list()).toEqual([
      expect.objectContaining({ references: ['one:1', 'one:latest'], imageId: ONE.imageId }),
      expect.objectContaining({ references: ['two:latest'], imageId: TWO.imageId }),
    ]);
    archive.close();
    archive.close();
  });

  describe('choosing', () => {
    const path = scratch.tar(dockerSave25([...both, { image: image([B]), tags: null }]));
    test.each([
      ['one:1', 0],
      ['one', 0],
      ['docker.io/library/one:1', 0],
      ['library/one:latest', 0],
      ['@0', 0],
      ['@1', 1],
      ['@2', 2],
      [ONE.imageId, 0],
      [hexOf(TWO.imageId), 1],
      [hexOf(TWO.imageId).slice(0, 12), 1],
      [`sha256:${hexOf(TWO.imageId).slice(0, 12)}`, 1],
    ])('%s is image %d', (reference, index) => {
      const ids = [ONE.imageId, TWO.imageId, image([B]).imageId];
      expect(select(path, reference).imageId).toBe(ids[index]);
    });

    test.each(['one:2', 'three', '@3', '@', 'ONE:1', 'localhost/one:1', hexOf(TWO.imageId).slice(0, 5), ''])(
      '%j is none',
      (reference) => {
        expect(() => select(path, reference)).toThrow(failing('ENOIMAGE', '"one:1", "two:latest", "@2"'));
      },
    );

    test('a single image is taken whatever it is for, unless a platform is asked for', () => {
      const foreign = image([A], { architecture: 's390x' });
      const archive = openArchive(scratch.tar(dockerSave25([{ image: foreign, tags: ['z:1'] }])));
      expect(archive.select().platform.architecture).toBe('s390x');
      expect(() => archive.select({ platform: parsePlatform('linux/amd64') })).toThrow(
        failing('EPLATFORM', 'linux/s390x'),
      );
      expect(archive.select({ platform: parsePlatform('linux/s390x') }).imageId).toBe(foreign.imageId);
      archive.close();
    });
  });
});

describe('archives of docker before 1.10', () => {
  const { members, ids } = dockerV1([A, B, C], 'old', '1');

  test('layers follow the parents, and a config is made', () => {
    const found = select(scratch.tar(members));
    expect(found.references).toEqual(['old:1']);
    expect(diffIds(found)).toEqual([A.diffId, B.diffId, C.diffId]);
    expect(found.imageId).toBe(digestOf(found.configBytes));
    const config = JSON.parse(found.configBytes.toString()) as Record<string, unknown>;
    expect(config).toEqual({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/sh'] },
      container_config: { Cmd: ['/bin/sh', '-c', 'step 2'] },
      created: '2014-01-01T00:00:00Z',
      history: [0, 1, 2].map((step) => ({
        created: '2014-01-01T00:00:00Z',
        created_by: `/bin/sh -c step ${step}`,
      })),
      rootfs: { type: 'layers', diff_ids: [A.diffId, B.diffId, C.diffId] },
    });
    expect(Object.keys(config)).toEqual(Object.keys(config).sort());
  });

  test('the id is a name as well', () => {
    expect(select(scratch.tar(members), ids[2]).layers.length).toBe(3);
  });

  test('parents in a circle', () => {
    const path = scratch.tar([...members, { path: `${ids[0]}/json`, bytes: json({ parent: ids[2] }) }]);
    expect(() => select(path)).toThrow(failing('EBADIMAGE', 'circle'));
  });

  test('a parent that is a path', () => {
    const path = scratch.tar([...members, { path: `${ids[0]}/json`, bytes: json({ parent: '../../etc' }) }]);
    expect(() => select(path)).toThrow(failing('EBADIMAGE', 'not an image id'));
  });

  test('a parent or a layer that is missing', () => {
    expect(() => select(scratch.tar(members.filter(({ path }) => path !== `${ids[0]}/json`)))).toThrow(
      failing('EBLOB', ids[0]),
    );
    expect(() => select(scratch.tar(members.filter(({ path }) => path !== `${ids[1]}/layer.tar`)))).toThrow(
      failing('EBLOB', ids[1]),
    );
  });

  test('a tar with neither list is no archive', () => {
    expect(() => openArchive(scratch.file(tarOf(members.slice(0, -1))))).toThrow(
      failing('ENOTARCHIVE', 'neither manifest.json nor repositories'),
    );
  });
});
