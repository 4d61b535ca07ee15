import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { ArchivedImage, SelectOptions } from '../../../src/archive/image.js';
import { openArchive } from '../../../src/archive/open.js';
import { parsePlatform } from '../../../src/oci/platform.js';
import { readWhole } from '../../../src/tar/source.js';
import {
  annotated,
  digestOf,
  DOCKER_INDEX,
  forPlatform,
  image,
  json,
  layer,
  LayoutBuilder,
  OCI,
  Scratch,
  type BuiltImage,
  type Descriptor,
} from '../../helpers/archive-builder.js';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const [A, B] = [layer('a'), layer('b')];
const failing = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string });

/** An image that differs for each platform. */
function imageFor(platform: string): BuiltImage {
  const [os, architecture, variant] = platform.split('/');
  return image([A], { os, architecture, variant });
}

function build(fill: (layout: LayoutBuilder) => readonly Descriptor[]): LayoutBuilder {
  const layout = new LayoutBuilder();
  layout.manifests.push(...fill(layout));
  return layout;
}

/** Selects from the layout as a directory and as a tar, which must agree. */
function select(layout: LayoutBuilder, options: SelectOptions = {}): ArchivedImage {
  const results = [scratch.directory(layout.members()), scratch.tar(layout.members())].map((path) => {
    const archive = openArchive(path);
    try {
      const found = archive.select(options);
      const layers = found.layers.map((stored) => ({
        ...stored,
        blob: digestOf(readWhole(stored.blob), stored.digest!.split(':')[0]),
      }));
      return { found, comparable: { ...found, layers } };
    } catch (error) {
      return { error: error as Error & { code: string } };
    } finally {
      archive.close();
    }
  });
  const [first, second] = results as [(typeof results)[0], (typeof results)[0]];
  expect(second.error?.code).toBe(first.error?.code);
  if (first.error !== undefined) throw first.error;
  expect(second.comparable).toEqual(first.comparable);
  for (const stored of first.comparable!.layers) expect(stored.blob).toBe(stored.digest);
  return first.found!;
}

const want = (platform: string, reference?: string): SelectOptions => ({
  platform: parsePlatform(platform),
  ...(reference === undefined ? {} : { reference }),
});

describe('OCI layout', () => {
  test('one image', () => {
    const built = image([A, B]);
    let digest = '';
    const layout = build((l) => {
      const descriptor = l.addImage(built, { extra: annotated('one:1') });
      digest = descriptor.digest;
      return [descriptor];
    });
    const found = select(layout);
    expect(found).toMatchObject({ imageId: built.imageId, manifestDigest: digest, references: ['one:1'] });
    expect(found.layers.map(({ diffId, compression }) => [diffId, compression])).toEqual([
      [A.diffId, 'none'],
      [B.diffId, 'none'],
    ]);
    expect(select(layout, { reference: 'one:1' }).imageId).toBe(built.imageId);
    expect(select(layout, { reference: `docker.io/library/one@${digest}` }).imageId).toBe(built.imageId);
  });

  test('sha512 all the way', () => {
    const built = image([A]);
    const found = select(build((l) => [l.addImage(built, { algorithm: 'sha512' })]));
    expect(found.manifestDigest).toMatch(/^sha512:[0-9a-f]{128}$/);
    expect(found.imageId).toBe(digestOf(built.configBytes, 'sha512'));
  });

  test('the bytes of a layer win over its media type', () => {
    const plain = select(build((l) => [l.addImage(image([A]), { layerType: `${OCI}.layer.v1.tar+gzip` })]));
    expect(plain.layers[0]).toMatchObject({ compression: 'none', mediaType: `${OCI}.layer.v1.tar+gzip` });
    const gzip = select(build((l) => [l.addImage(image([A]), { pack: (tar) => gzipSync(tar) })]));
    expect(gzip.layers[0]).toMatchObject({ compression: 'gzip', mediaType: `${OCI}.layer.v1.tar` });
  });

  describe('platforms', () => {
    const names = ['linux/amd64', 'linux/arm64', 'linux/arm/v6', 'linux/arm/v7', 'linux/386'];
    const nested = (mediaType?: string): LayoutBuilder =>
      build((l) => {
        const leaves = names.map((name) => l.addImage(imageFor(name), { extra: forPlatform(name) }));
        return [l.addIndex(leaves, annotated('multi:1'), mediaType)];
      });
    const flat = build((l) => names.map((name) => l.addImage(imageFor(name), { extra: forPlatform(name) })));
    const unsaid = build((l) => names.map((name) => l.addImage(imageFor(name))));

    test.each([
      ['an index in the index', nested()],
      ["docker's manifest list", nested(DOCKER_INDEX)],
      ['the index itself', flat],
      ['configs only', unsaid],
    ])('said by %s', (_name, layout) => {
      for (const name of names) expect(select(layout, want(name)).imageId, name).toBe(imageFor(name).imageId);
      expect(select(layout, want('linux/arm/v8')).imageId).toBe(imageFor('linux/arm/v7').imageId);
      expect(select(layout, want('linux/amd64/v3')).imageId).toBe(imageFor('linux/amd64').imageId);
      expect(() => select(layout, want('linux/s390x'))).toThrow(failing('EPLATFORM', 'linux/arm/v7'));
    });

    test('a name and a platform together', () => {
      expect(select(nested(), want('linux/386', 'multi:1'))).toMatchObject({
        imageId: imageFor('linux/386').imageId,
        references: ['multi:1'],
      });
      expect(() => select(nested(), want('linux/386', 'multi:2'))).toThrow(failing('ENOIMAGE', '"multi:1"'));
    });

    test('the digest of an index names it', () => {
      const layout = nested();
      const { digest } = layout.manifests[0]!;
      expect(select(layout, want('linux/arm64', digest)).imageId).toBe(imageFor('linux/arm64').imageId);
    });

    test('images of an index that are not in the archive do not matter until they are asked for', () => {
      const layout = nested();
      const kept = imageFor('linux/arm64');
      const leaves = JSON.parse(layout.blobs.get(layout.manifests[0]!.digest)!.toString()) as {
        manifests: Descriptor[];
      };
      for (const { digest, platform } of leaves.manifests)
        if ((platform as { architecture: string }).architecture !== 'arm64') layout.blobs.delete(digest);
      expect(select(layout).imageId).toBe(kept.imageId);
      expect(() => select(layout, want('linux/amd64'))).toThrow(
        failing('EBLOB', leaves.manifests[0]!.digest),
      );
      expect(() => select(layout, want('linux/s390x'))).toThrow(failing('EPLATFORM', 'linux/arm64'));
    });
  });

  test('attestations and things that are no images are passed over', () => {
    const built = image([A]);
    const layout = build((l) => {
      const real = l.addImage(built, { extra: forPlatform('linux/amd64') });
      const attestation = l.addImage(image([B]), {
        extra: {
          ...forPlatform('unknown/unknown'),
          annotations: {
            'vnd.docker.reference.type': 'attestation-manifest',
            'vnd.docker.reference.digest': real.digest,
          },
        },
      });
      const chart = l.add(json({}), 'application/vnd.cncf.helm.config.v1+json');
      const signature = l.addImage(image([B]), {
        extra: { artifactType: 'application/vnd.example.signature' },
      });
      return [l.addIndex([real, attestation]), chart, signature];
    });
    expect(select(layout).imageId).toBe(built.imageId);
    const archive = openArchive(scratch.tar(layout.members()));
    expect(archive.list()).toHaveLength(1);
    archive.close();
    expect(select(layout, want('linux/amd64')).imageId).toBe(built.imageId);
  });

  test('only things that are no images', () => {
    const layout = build((l) => [
      l.add(json({}), 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
    ]);
    expect(() => select(layout)).toThrow(failing('EMEDIATYPE', 'v1+prettyjws'));
  });

  test('several images of different names are never guessed between', () => {
    const layout = build((l) => [
      l.addImage(image([A]), { extra: { ...annotated('a'), ...forPlatform('linux/amd64') } }),
      l.addImage(image([B]), { extra: { ...annotated('b'), ...forPlatform('linux/386') } }),
    ]);
    expect(() => select(layout)).toThrow(failing('ENOIMAGE', '"a", "b"'));
    expect(() => select(layout, want('linux/amd64'))).toThrow(failing('ENOIMAGE', '"a", "b"'));
    expect(select(layout, { reference: 'b' }).layers[0]!.diffId).toBe(B.diffId);
    expect(select(layout, want('linux/386')).layers[0]!.diffId).toBe(B.diffId);
    expect(select(layout, { reference: '@0' }).layers[0]!.diffId).toBe(A.diffId);
  });

  test('several names of one image', () => {
    const layout = build((l) =>
      ['a:1', 'a:2'].map((name) => l.addImage(image([A]), { extra: annotated(name) })),
    );
    expect(select(layout).references).toEqual(['a:1', 'a:2']);
  });

  test("docker's full name is shown, the tag alone still names it", () => {
    const annotations = {
      'io.containerd.image.name': 'docker.io/library/x:7',
      'org.opencontainers.image.ref.name': '7',
    };
    const layout = build((l) => [
      l.addImage(image([A]), { extra: { annotations } }),
      l.addImage(image([B]), { extra: annotated('other') }),
    ]);
    for (const reference of ['x:7', '7', 'docker.io/library/x:7'])
      expect(select(layout, { reference }).references).toEqual(['docker.io/library/x:7']);
  });

  test('a descriptor without a media type is told by its document', () => {
    const layout = build((l) => {
      const leaf = { ...l.addImage(image([A])), mediaType: undefined };
      return [
        { ...l.addIndex([leaf as unknown as Descriptor]), mediaType: undefined } as unknown as Descriptor,
      ];
    });
    expect(select(layout).layers[0]!.diffId).toBe(A.diffId);
  });

  test('empty layouts, and files that nobody knows', () => {
    const layout = build(() => []);
    expect(() => select(layout)).toThrow(failing('ENOIMAGE', 'holds no image'));
    const other = build((l) => [l.addImage(image([A]))]);
    const path = scratch.directory([...other.members(), { path: 'manifest.json', bytes: 'no JSON' }]);
    const archive = openArchive(path);
    expect(archive.form).toBe('oci');
    expect(archive.select().layers).toHaveLength(1);
    archive.close();
  });

  test('close gives every file descriptor back', () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const layout = build((l) => [l.addImage(image([A, B]))]);
    const path = scratch.directory(layout.members());
    const before = open();
    const archive = openArchive(path);
    archive.select();
    archive.select();
    expect(open()).toBe(before + 2);
    archive.close();
    expect(open()).toBe(before);
    const tar = scratch.tar(layout.members().slice(0, 3));
    const broken = openArchive(tar);
    expect(() => broken.select()).toThrow();
    broken.close();
    expect(() => openArchive(scratch.tar([{ path: 'x', bytes: 'y' }]))).toThrow(failing('ENOTARCHIVE'));
    expect(open()).toBe(before);
  });

  test('a tar that the caller has inflated', () => {
    const layout = build((l) => [l.addImage(image([A]))]);
    const plain = scratch.tar(layout.members());
    const compressed = scratch.file(gzipSync(Buffer.from('anything')));
    const fd = openSync(plain, 'r');
    const source = { fd, offset: 0, sizeBytes: statSync(plain).size, name: 'cache' };
    const archive = openArchive(compressed, { source });
    expect(archive.path).toBe(compressed);
    const { blob } = archive.select().layers[0]!;
    expect(blob.name).toContain(compressed);
    archive.close();
    expect(digestOf(readWhole(blob))).toBe(A.diffId);
    closeSync(fd);
  });

  test('what stands in a layout may be a link on the disk', async () => {
    const { renameSync, symlinkSync } = await import('node:fs');
    const layout = build((l) => [l.addImage(image([A]))]);
    const path = scratch.directory(layout.members());
    renameSync(join(path, 'blobs'), join(path, 'elsewhere'));
    symlinkSync('elsewhere', join(path, 'blobs'));
    const archive = openArchive(path);
    expect(archive.select().layers).toHaveLength(1);
    archive.close();
  });
});
