/**
 * Archives that lie, and odd ones that do not. Each of the first kind must be refused with its documented code, quickly, without a file
 * left open and with a message that cannot drive a terminal; each of the second kind must be read. Content of layers is not
 * verified by select(), so that damage inside a layer is not a case here.
 */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { LaminaError, type ErrorCode } from '../../src/errors.js';
import {
  annotated,
  digestOf,
  dockerSave25,
  hexOf,
  image,
  INDEX,
  json,
  layer,
  LayoutBuilder,
  MANIFEST,
  OCI,
  rawMember,
  tarOf,
  type Member,
} from '../helpers/archive-builder.js';
import {
  A,
  B,
  type BadCase,
  type Case,
  chain,
  config,
  damaged,
  descriptor,
  docker,
  dockerTar,
  flipped,
  layoutOf,
  manifest,
  manifestJson,
  nested,
  oci,
  openFiles,
  PASSWD,
  refused,
  scratch,
  select,
} from '../helpers/hostile.js';
import { rawEntry, rawSparseEntry, rawTar } from '../helpers/raw-tar.js';

afterAll(() => scratch.remove());

describe('refused: tars', () => {
  const huge = (header: { name: string; typeflag: string }, size: Buffer): Buffer => {
    const block = rawEntry({ ...header });
    size.copy(block, 124);
    block.write('        ', 148, 'latin1');
    const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return block;
  };
  const base256 = (hex: string): Buffer => Buffer.from(hex.padStart(24, '0'), 'hex');
  const before = (entry: Buffer): string =>
    scratch.file(Buffer.concat([entry, rawTar(docker([]).map(rawMember))]));
  const after = (entry: Buffer): string => scratch.file(rawTar([...docker([]).map(rawMember), entry]));
  const file = { name: 'x', typeflag: '0' };

  test.each<BadCase>([
    ['EBADTAR', 'a size larger than the archive', () => after(huge(file, Buffer.from('77777777777\0')))],
    [
      'EBADTAR',
      'a size of 2^62',
      () => after(huge(file, base256(`80${'4'.padStart(7, '0')}000000000000000`))),
    ],
    ['EBADTAR', 'a negative size', () => after(huge(file, Buffer.alloc(12, 0xff)))],
    ['EBADTAR', 'a size that is no number', () => after(huge(file, Buffer.from('12x4567\0\0\0\0\0')))],
    ['EBADTAR', 'a header whose checksum is wrong', () => after(Buffer.alloc(512, 'x'))],
    [
      'ELIMIT',
      'a PAX header of 2 MiB',
      () => before(rawEntry({ name: 'x', typeflag: '0', pax: [['comment', 'c'.repeat(2 << 20)]] })),
    ],
    [
      'ELIMIT',
      'a GNU long name of 2 MiB',
      () => before(rawEntry({ name: 'x', typeflag: 'L' }, Buffer.alloc(2 << 20, 'n'))),
    ],
    [
      'ELIMIT',
      'a PAX header that claims 8 GiB',
      () => before(huge({ name: 'x', typeflag: 'x' }, Buffer.from('77777777777\0'))),
    ],
    [
      'EBADTAR',
      'a PAX record longer than its header',
      () => before(rawEntry({ name: 'x', typeflag: 'x' }, Buffer.from('99 a=b\n'))),
    ],
    [
      'ELIMIT',
      'more members than allowed',
      () => scratch.tar(docker(Array.from({ length: 20 }, (_, n) => ({ path: `f${n}`, bytes: '' })))),
      { limits: { maxMembers: 10 } },
    ],
    ['ENOTARCHIVE', 'random bytes', () => scratch.file(Buffer.alloc(4096, 0x5a))],
    ['ENOTARCHIVE', 'an empty file', () => scratch.file(Buffer.alloc(0))],
    ['ENOTARCHIVE', 'only the end of a tar', () => scratch.file(Buffer.alloc(10240))],
    [
      'ENOTARCHIVE',
      'the manifest outside the archive',
      () => scratch.tar([{ path: '../manifest.json', bytes: '[]' }]),
    ],
    ['ENOTARCHIVE', 'the manifest a directory', () => scratch.tar([{ path: 'manifest.json', dir: true }])],
    [
      'ENOTARCHIVE',
      'the manifest a loop',
      () => scratch.tar([{ path: 'manifest.json', symlink: 'manifest.json' }]),
    ],
  ])('%s: %s', (code, _name, make, options) => {
    expect(refused(make(), options).code).toBe(code);
  });

  test('cut short anywhere', () => {
    const whole = tarOf(docker([]));
    const path = scratch.file(whole);
    const codes = new Set<string>();
    // The last 1024 bytes are only the end marker, which may be missing; the block before them is content.
    for (let size = whole.length - 1024 - 512; size >= 0; size -= 171) {
      truncateSync(path, size);
      codes.add(refused(path).code);
    }
    expect([...codes].sort()).toEqual(['EBADTAR', 'ENOTARCHIVE']);
  });

  test('any one byte changed never gives another image', () => {
    const built = image([A]);
    const whole = tarOf(dockerSave25([{ image: built, tags: ['x:1'] }]));
    for (let at = 0; at < whole.length; at += 97) {
      const copy = Buffer.from(whole);
      copy[at]! ^= 0x10;
      const path = scratch.file(copy);
      try {
        expect(select(path).imageId).toBe(built.imageId);
      } catch (error) {
        expect(error).toBeInstanceOf(LaminaError);
      }
      rmSync(path);
    }
  });
});

describe('refused: docker archives', () => {
  const hex = 'ab'.repeat(32);
  test.each<BadCase>([
    ['EBADPATH', 'a layer outside', dockerTar([], { Layers: ['a', `../../../..${PASSWD}`] })],
    ['EBADPATH', 'a config outside', dockerTar([], { Config: `../..${PASSWD}` })],
    ['EBADPATH', 'a layer outside in two steps', dockerTar([], { Layers: ['a', 'x/../../y'] })],
    ['EBLOB', 'an absolute layer', dockerTar([], { Layers: ['a', PASSWD] })],
    ['EBLOB', 'an absolute config', dockerTar([], { Config: PASSWD })],
    ['EBADPATH', 'a layer that links outside', dockerTar([{ path: 'b', symlink: `../..${PASSWD}` }])],
    ['EBLOB', 'a layer that links to an absolute path', dockerTar([{ path: 'b', symlink: PASSWD }])],
    ['EBADPATH', 'a layer that is a hard link outside', dockerTar([{ path: 'b', hardlink: `..${PASSWD}` }])],
    [
      'EBLOB',
      'a layer that is a hard link to an absolute path',
      dockerTar([{ path: 'b', hardlink: PASSWD }]),
    ],
    ['EBLOB', 'a layer that links to nothing', dockerTar([{ path: 'b', symlink: 'none' }])],
    ['EBLOB', 'a layer that is a directory', dockerTar([{ path: 'b', dir: true }])],
    ['EBLOB', 'a layer with an empty path', dockerTar([], { Layers: ['a', ''] })],
    ['EBLOB', 'a layer that is the root', dockerTar([], { Layers: ['a', '.'] })],
    ['ELOOP', 'a layer that links to itself', dockerTar([{ path: 'b', symlink: 'b' }])],
    [
      'ELOOP',
      'layers that link to each other',
      dockerTar([
        { path: 'b', symlink: 'c' },
        { path: 'c', symlink: './b' },
      ]),
    ],
    [
      'ELOOP',
      'hard links to each other',
      dockerTar(
        [
          { path: 'p', hardlink: 'q' },
          { path: 'q', hardlink: 'p' },
        ],
        { Layers: ['a', 'p'] },
      ),
    ],
    ['ELOOP', 'a chain of 41 links', dockerTar(chain(41), { Layers: ['a', 'link0'] })],
    ['EBLOB', 'a layer that is missing', dockerTar([], { Layers: ['a', 'none'] })],
    ['EBLOB', 'a config that is missing', dockerTar([], { Config: 'none' })],
    ['EBADIMAGE', 'fewer layers than diffIds', dockerTar([], { Layers: ['a'] })],
    ['EBADIMAGE', 'more layers than diffIds', dockerTar([], { Layers: ['a', 'b', 'a'] })],
    ['EBADIMAGE', 'no layers at all', dockerTar([], { Layers: null })],
    ['EBADIMAGE', 'no config', dockerTar([], { Config: null })],
    ['EBADIMAGE', 'a config that is a number', dockerTar([], { Config: 7 })],
    ['EBADIMAGE', 'layers that are text', dockerTar([], { Layers: 'a' })],
    ['EBADIMAGE', 'a layer that is a number', dockerTar([], { Layers: ['a', 7] })],
    ['EBADIMAGE', 'tags that are no text', dockerTar([], { RepoTags: [null] })],
    [
      'EDIGEST',
      'a config that its name does not fit',
      dockerTar([{ path: `${hex}.json`, bytes: '{}' }], { Config: `${hex}.json` }),
    ],
    [
      'EDIGEST',
      'the same in kaniko style',
      dockerTar([{ path: `sha256:${hex}`, bytes: '{}' }], { Config: `sha256:${hex}` }),
    ],
    [
      'EDIGEST',
      'the same in blobs',
      dockerTar([{ path: `blobs/sha256/${hex}`, bytes: '{}' }], { Config: `blobs/sha256/${hex}` }),
    ],
    ['EBADIMAGE', 'a config that is no JSON', dockerTar([{ path: 'config', bytes: 'x' }])],
    ['EBADIMAGE', 'a manifest that is no JSON', manifestJson('[{')],
    ['EBADIMAGE', 'a manifest that is no array', manifestJson('{}')],
    ['EBADIMAGE', 'an entry that is null', manifestJson('[null]')],
    ['EBADIMAGE', 'a manifest of zeros', manifestJson(Buffer.alloc(100))],
    ['ENOIMAGE', 'a manifest without images', manifestJson('[]')],
    ['EBADIMAGE', 'a manifest nested two million deep', manifestJson('['.repeat(2_000_000))],
    ['ELIMIT', 'a manifest of 5 MiB', manifestJson(Buffer.alloc(5 << 20, ' '))],
    ['ELIMIT', 'a config of 5 MiB', dockerTar([{ path: 'config', bytes: Buffer.alloc(5 << 20, ' ') }])],
    ['ELIMIT', 'documents that are too much together', dockerTar([]), { limits: { maxTotalJsonBytes: 200 } }],
    ['ELIMIT', '5000 layers', dockerTar([], { Layers: new Array<string>(5000).fill('a') })],
    [
      'EMEDIATYPE',
      'a layer compressed by xz',
      dockerTar([{ path: 'b', bytes: Buffer.from('fd377a585a000000', 'hex') }]),
    ],
    ['EMEDIATYPE', 'a layer compressed by bzip2', dockerTar([{ path: 'b', bytes: 'BZh91AY' }])],
    ['ENOIMAGE', 'a name it does not have', dockerTar([]), { select: { reference: '\u001b[2Jx\u202e' } }],
    [
      'ENOIMAGE',
      'a tag that drives terminals',
      dockerTar([], { RepoTags: ['\u009b2J\u202e'] }),
      { select: { reference: 'x' } },
    ],
    ['EBLOB', 'a path that drives terminals', dockerTar([], { Layers: ['a', '\u001b[2J\u009b\u202e'] })],
    ['EBLOB', 'a path of a megabyte', dockerTar([], { Layers: ['a', 'p'.repeat(1 << 20)] })],
  ])('%s: %s', (code, _name, make, options) => {
    expect(refused(make(), options).code).toBe(code);
  });

  test('EBADIMAGE: a layer that is stored sparse', () => {
    const sparse = rawSparseEntry({ name: 'b', typeflag: '0' }, 1 << 20, [
      { offset: 4096, data: Buffer.from('x') },
    ]);
    const members = docker([]).map(rawMember);
    expect(refused(scratch.file(rawTar([...members, sparse]))).code).toBe('EBADIMAGE');
  });
});

describe('refused: OCI layouts', () => {
  const leafOf = (fields: Record<string, unknown>): Record<string, unknown> => ({
    mediaType: `${OCI}.layer.v1.tar`,
    digest: A.diffId,
    size: A.tar.length,
    ...fields,
  });
  const bytes = (content: string): (() => string) => {
    return () => scratch.tar(new LayoutBuilder().members(Buffer.from(content)));
  };
  const without = (which: 'manifest' | 'config' | 'layer'): (() => string) =>
    oci((l) => {
      const leaf = l.addImage(image([A]));
      l.manifests.push(leaf);
      l.blobs.delete({ manifest: leaf.digest, config: image([A]).imageId, layer: A.diffId }[which]);
    });

  test.each<BadCase>([
    ['EDIGEST', 'a manifest that is not what its digest says', damaged('manifest', flipped)],
    ['EDIGEST', 'a config that is not', damaged('config', flipped)],
    ['EDIGEST', 'an index that is not', damaged('index', flipped)],
    [
      'EDIGEST',
      'a manifest with a byte more',
      damaged('manifest', (b) => Buffer.concat([b, Buffer.from(' ')])),
    ],
    ['EDIGEST', 'a config with a byte less', damaged('config', (b) => b.subarray(0, -1))],
    ['EDIGEST', 'an empty manifest', damaged('manifest', () => Buffer.alloc(0))],
    [
      'EDIGEST',
      'an index that claims to hold itself',
      damaged('index', (b) => {
        const self = digestOf(b);
        return json({ schemaVersion: 2, manifests: [{ mediaType: INDEX, digest: self, size: b.length }] });
      }),
    ],
    ['EBADIMAGE', 'a manifest of another size than said', descriptor({ size: 1 })],
    ['EDIGEST', 'a layer longer than said', manifest({ layers: [leafOf({ size: A.tar.length - 1 })] })],
    ['EDIGEST', 'a layer shorter than said', manifest({ layers: [leafOf({ size: 1e9 })] })],
    ['EBADIMAGE', 'a digest that is a path', descriptor({ digest: `sha256:../../../..${PASSWD}` })],
    ['EBADIMAGE', 'a digest in upper case', descriptor({ digest: `sha256:${'AB'.repeat(32)}` })],
    ['EBADIMAGE', 'a digest with a NUL', descriptor({ digest: `sha256:${'a'.repeat(63)}\0` })],
    ['EBADIMAGE', 'a digest of an unknown algorithm', descriptor({ digest: `md5:${'a'.repeat(32)}` })],
    ['EBADIMAGE', 'a digest of 4 MB', descriptor({ digest: 'a'.repeat(4_000_000) })],
    [
      'EBADIMAGE',
      'a layer whose digest is a path',
      manifest({ layers: [leafOf({ digest: 'sha256:../x' })] }),
    ],
    ['EBADIMAGE', 'no digest', descriptor({ digest: undefined })],
    ['EBADIMAGE', 'no size', descriptor({ size: undefined })],
    ['EBADIMAGE', 'a size of 2^60', descriptor({ size: 2 ** 60 })],
    ['EBADIMAGE', 'annotations that are no text', descriptor({ annotations: { a: [1] } })],
    ['EBADIMAGE', 'a platform that is text', descriptor({ platform: 'linux/amd64' })],
    ['EBLOB', 'a manifest that is missing', without('manifest')],
    ['EBLOB', 'a config that is missing', without('config')],
    ['EBLOB', 'a layer that is missing', without('layer')],
    [
      'EBLOB',
      'a foreign layer, to be fetched from elsewhere',
      manifest({
        layers: [
          leafOf({
            digest: digestOf(B.tar),
            urls: ['https://example.com/layer'],
            mediaType: `${OCI}.layer.nondistributable.v1.tar`,
          }),
        ],
      }),
    ],
    ['EBADIMAGE', 'a manifest that is an index too (CVE-2021-41190)', manifest({ manifests: [] })],
    [
      'EBADIMAGE',
      'an index that is a manifest too (CVE-2021-41190)',
      oci((l) => {
        const both = json({ schemaVersion: 2, manifests: [l.addImage(image([A]))], layers: [] });
        l.manifests.push(l.add(both, INDEX));
      }),
    ],
    [
      'EBADIMAGE',
      'an index listed as a manifest',
      oci((l) => {
        l.manifests.push({ ...l.addIndex([l.addImage(image([A]))]), mediaType: MANIFEST });
      }),
    ],
    ['EBADIMAGE', 'a manifest listed as an index', descriptor({ mediaType: INDEX })],
    ['EBADIMAGE', 'more layers than diffIds', manifest({ layers: [leafOf({}), leafOf({})] })],
    ['EBADIMAGE', 'fewer layers than diffIds', manifest({ layers: [] })],
    ['ELIMIT', '5000 layers', manifest({ layers: new Array(5000).fill(leafOf({})) })],
    [
      'EMEDIATYPE',
      'a layer that is encrypted',
      manifest({ layers: [leafOf({ mediaType: `${OCI}.layer.v1.tar+gzip+encrypted` })] }),
    ],
    ['EMEDIATYPE', 'a layer of an unknown type', manifest({ layers: [leafOf({ mediaType: 'text/plain' })] })],
    ['EMEDIATYPE', 'a layer without a type', manifest({ layers: [leafOf({ mediaType: undefined })] })],
    [
      'EMEDIATYPE',
      'a chart',
      manifest({
        config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: A.diffId, size: 2 },
      }),
    ],
    [
      'EMEDIATYPE',
      'only a manifest of schema 1',
      descriptor({ mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws' }),
    ],
    ['EBADIMAGE', 'a config without rootfs', config({ rootfs: undefined })],
    ['EBADIMAGE', 'a diffId that is a path', config({ rootfs: { type: 'layers', diff_ids: ['../../x'] } })],
    ['EBADIMAGE', 'another kind of rootfs', config({ rootfs: { type: 'btrfs' } })],
    ['ELIMIT', 'indexes nested 9 deep', nested(9)],
    ['ELIMIT', 'indexes that multiply: 1000 x 1000 x 1000', nested(3, 1000)],
    ['ELIMIT', 'an index.json of 5 MiB', bytes(' '.repeat(5 << 20))],
    ['EBADIMAGE', 'an index.json that is an array', bytes('[]')],
    ['EBADIMAGE', 'an index.json that is empty', bytes('')],
    ['EBADIMAGE', 'an index.json nested two million deep', bytes('{"manifests":'.repeat(300_000))],
    ['ENOIMAGE', 'an index.json without manifests', bytes('{}')],
    [
      'ENOIMAGE',
      'a name that drives terminals',
      descriptor(annotated('\u009b2J\u202e')),
      { select: { reference: 'x' } },
    ],
    [
      'EPLATFORM',
      'a platform that drives terminals',
      config({ os: '\u001b[2J', architecture: '\u202e' }),
      {
        select: {
          platform: { os: 'linux', architecture: 'amd64', variant: undefined, osVersion: undefined },
        },
      },
    ],
  ])('%s: %s', (code, _name, make, options) => {
    expect(refused(make(), options).code).toBe(code);
  });

  test('in a directory: a FIFO, a directory, a device and a link to a secret in the place of a blob', () => {
    const put: [ErrorCode, (path: string) => void][] = [
      ['EBLOB', (path) => void execFileSync('mkfifo', [path])],
      ['EBLOB', (path) => mkdirSync(path)],
      ['EBLOB', (path) => symlinkSync('/dev/zero', path)],
      ['EBLOB', (path) => symlinkSync('/nowhere', path)],
      ['EDIGEST', (path) => symlinkSync(PASSWD, path)],
    ];
    for (const [code, replace] of put) {
      for (const kind of ['manifest', 'config', 'layer'] as const) {
        const built = image([A]);
        const layout = layoutOf((l) => l.manifests.push(l.addImage(built)));
        const root = scratch.directory(layout.members());
        const digest = { manifest: layout.manifests[0]!.digest, config: built.imageId, layer: A.diffId }[
          kind
        ];
        const path = join(root, 'blobs/sha256', hexOf(digest));
        rmSync(path);
        replace(path);
        const error = refused(root);
        expect(error.code, kind).toBe(code);
        expect(error.digest).toBe(digest);
        expect(error.message).not.toContain('root:');
      }
    }
  });

  test('in a directory: index.json is a FIFO', () => {
    const root = scratch.directory(new LayoutBuilder().members());
    rmSync(join(root, 'index.json'));
    execFileSync('mkfifo', [join(root, 'index.json')]);
    expect(refused(root).code).toBe('ENOTARCHIVE');
  });
});

describe('read all the same', () => {
  const odd: Member[] = [
    { path: 'unknown/file', bytes: 'x' },
    { path: '../outside', bytes: 'x' },
    { path: '/etc/passwd', bytes: 'x' },
    { path: 'loop', symlink: 'loop' },
  ];
  const many = Array.from({ length: 200 }, (_, n) => layer(`layer${n}`));

  test.each<Case>([
    ['members that nobody asks for', dockerTar(odd)],
    ['a tar without its end', () => scratch.file(Buffer.concat(docker([]).map(rawMember)))],
    [
      'a tar with garbage behind its end',
      () => scratch.file(Buffer.concat([tarOf(docker([])), Buffer.alloc(999, 'g')])),
    ],
    [
      'a global header first',
      () => {
        const global = rawEntry({ name: 'g', typeflag: 'g' }, Buffer.from('18 comment=abcdef\n'));
        return scratch.file(Buffer.concat([global, tarOf(docker([]))]));
      },
    ],
    [
      'names with slashes and dots',
      () => scratch.tar(docker([]).map((m) => ({ ...m, path: `.//${m.path}` }))),
    ],
    ['paths with slashes and dots', dockerTar([], { Layers: ['./a', 'x/../b'], Config: '/config' })],
    ['a chain of 40 links', dockerTar(chain(40), { Layers: ['a', 'link0'].reverse() })],
    [
      'hard links to hard links',
      dockerTar(
        [
          { path: 'p', hardlink: 'b' },
          { path: 'q', hardlink: 'p' },
        ],
        { Layers: ['a', 'q'] },
      ),
    ],
    [
      'a hard link that comes before its file',
      () => scratch.tar([{ path: 'q', hardlink: 'b' }, ...docker([], { Layers: ['a', 'q'] })]),
    ],
    [
      'a tag in another script',
      dockerTar([], { RepoTags: ['\u6f22\u5b57'] }),
      { select: { reference: '\u6f22\u5b57' } },
    ],
    ['200 layers', oci((l) => l.manifests.push(l.addImage(image(many))))],
    ['indexes nested 8 deep', nested(8)],
    ['the same image listed 1000 times', nested(1, 1000)],
    ['fields that are null', config({ history: null, config: null, created: null, variant: null })],
    ['fields that nobody knows', config({ unknown: { deeply: [{ nested: true }] } })],
    ['a manifest without a media type', manifest({ mediaType: undefined })],
    [
      'a layer of nothing at all',
      () => {
        const empty = { tar: Buffer.alloc(0), diffId: digestOf(Buffer.alloc(0)) };
        return oci((l) => l.manifests.push(l.addImage(image([empty]))))();
      },
    ],
    [
      'blobs that nobody refers to',
      oci((l) => {
        l.manifests.push(l.addImage(image([A])));
        l.add(Buffer.from('x'), 'text/plain');
      }),
    ],
  ])('%s', (_name, make, options) => {
    const before = openFiles();
    const found = select(make(), options);
    expect(found.layers.length).toBeGreaterThan(0);
    for (const { blob } of found.layers) expect(blob.sizeBytes % 512).toBe(0);
    expect(openFiles()).toBe(before);
  });

  test('nothing is written next to an archive', () => {
    const path = join(scratch.path, 'alone', 'x.tar');
    mkdirSync(dirname(path));
    const bytes = tarOf(docker(odd));
    writeFileSync(path, bytes);
    select(path);
    expect(readdirSync(dirname(path))).toEqual(['x.tar']);
    expect(readFileSync(path)).toEqual(bytes);
  });
});
