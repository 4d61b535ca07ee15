/** Tables of eStargz and zstd:chunked layers, which are somebody else's. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  ESTARGZ_DIGEST,
  ESTARGZ_FOOTER_BYTES,
  estargzLayer,
  estargzTableOffset,
} from '../../../src/layer/lazy/estargz.js';
import type { LazyLayer } from '../../../src/layer/lazy/pieces.js';
import { piecesIn } from '../../../src/layer/lazy/pieces.js';
import { parseTocJson } from '../../../src/layer/lazy/toc-json.js';
import { zstdTable } from '../../../src/layer/lazy/zstd-chunked.js';
import { estargzLayer as build, lazyLayers } from '../../helpers/lazy-image.js';
import type { BuiltBlob, LazyEntry } from '../../helpers/lazy-image.js';

const DIGEST = `sha256:${'0'.repeat(64)}`;
const reg = { type: 'reg', name: 'a', size: 10, offset: 5, chunkDigest: DIGEST };

function parse(entries: unknown, version: unknown = 1): ReturnType<typeof parseTocJson> {
  return parseTocJson(Buffer.from(JSON.stringify({ version, entries })), 1000, 'a layer');
}

function open(
  { blob, annotations, diffId }: BuiltBlob,
  tableDigest = annotations![ESTARGZ_DIGEST]!,
  maxBytes = 1 << 30,
): LazyLayer {
  const tableOffset = estargzTableOffset(blob.subarray(-ESTARGZ_FOOTER_BYTES), blob.length)!;
  const stored = blob.subarray(tableOffset, blob.length - ESTARGZ_FOOTER_BYTES);
  return estargzLayer(stored, {
    name: 'a layer',
    diffId,
    blobBytes: blob.length,
    maxBytes,
    tableDigest,
    tableOffset,
  });
}

describe('a table of contents', () => {
  test('gives entries and chunks', () => {
    const { entries, chunks } = parse([
      { type: 'dir', name: 'd/', mode: 0o40755, modtime: '2023-11-14T22:13:20.000000007Z' },
      { ...reg, name: 'd/é', size: 25, chunkSize: 10, uid: -2, xattrs: { 'user.b': 'AA==', 'user.a': '' } },
      { type: 'chunk', name: 'd/é', chunkOffset: 10, chunkSize: 10, offset: 50, chunkType: 'zeros' },
      { type: 'chunk', name: 'd/é', chunkOffset: 20, offset: 60 },
      { type: 'hardlink', name: 'e', linkName: 'd/é' },
    ]);
    expect(entries[0]).toMatchObject({ type: 'dir', mode: 0o755, mtimeSec: 1_700_000_000, mtimeNsec: 7 });
    expect(entries[1]).toMatchObject({ name: 'd/\xc3\xa9', uid: 0xfffffffe, sizeBytes: 25 });
    expect(entries[1]!.xattrs!.map(({ name }) => name)).toEqual(['user.a', 'user.b']);
    expect(entries[2]).toMatchObject({ type: 'link', linkName: 'd/\xc3\xa9' });
    expect(chunks.map(({ chunkOffset, sizeBytes, isZeros }) => [chunkOffset, sizeBytes, isZeros])).toEqual([
      [0, 10, false],
      [10, 10, true],
      [20, 5, false],
    ]);
  });

  test.each([
    ['no list', {}],
    ['an entry that is none', [null]],
    ['an unknown type', [{ type: 'door', name: 'a' }]],
    ['a type by a name that every object has', [{ type: 'constructor', name: 'a' }]],
    ['a negative size', [{ ...reg, size: -1 }]],
    ['a size that is no number', [{ ...reg, size: '10' }]],
    ['a size beyond what can be counted', [{ ...reg, size: 2 ** 60 }]],
    ['a chunk of no file', [{ type: 'chunk', name: 'a', offset: 1 }]],
    ['a chunk longer than its file', [{ ...reg, chunkSize: 11 }]],
    ['a file with too few chunks', [{ ...reg, chunkSize: 5 }]],
    [
      'a gap between chunks',
      [
        { ...reg, chunkSize: 5 },
        { type: 'chunk', name: 'a', chunkOffset: 6, offset: 9 },
      ],
    ],
    ['a chunk outside the layer', [{ ...reg, offset: 1000 }]],
    ['an end outside the layer', [{ ...reg, endOffset: 1001 }]],
    ['an end before its beginning', [{ ...reg, endOffset: 5 }]],
    ['a digest that is none', [{ ...reg, chunkDigest: 'sha256:00' }]],
    ['a time that is none', [{ ...reg, modtime: 'yesterday' }]],
    ['xattrs that are none', [{ ...reg, xattrs: ['a'] }]],
    ['an owner that is none', [{ ...reg, uid: 2 ** 32 }]],
    ['a name that is none', [{ ...reg, name: 7 }]],
    ['a name that was not UTF-8', [{ ...reg, name: 'a\ufffd' }]],
  ])('with %s is refused', (_, entries) => {
    expect(() => parse(entries)).toThrow(expect.objectContaining({ code: 'EBADLAYER' }));
  });

  test('of another version, or no JSON, is refused; one that would take too much memory is', () => {
    expect(() => parse([], 2)).toThrow(expect.objectContaining({ code: 'EBADLAYER' }));
    expect(() => parseTocJson(Buffer.from('{'), 1, 'x')).toThrow(
      expect.objectContaining({ code: 'EBADLAYER' }),
    );
    expect(() => parse([{ ...reg, size: 2 ** 40 }])).toThrow(expect.objectContaining({ code: 'ELIMIT' }));
    const value = Buffer.alloc(2 << 20).toString('base64');
    expect(() => parse([{ ...reg, xattrs: { 'user.a': value } }])).toThrow(
      expect.objectContaining({ code: 'ELIMIT' }),
    );
  });
});

describe('an eStargz layer', () => {
  test('gives every piece from its own part of the blob', async () => {
    const [entries] = lazyLayers();
    const built = build(entries!, 30_000);
    const layer = open(built);
    const source = Buffer.alloc(layer.sizeBytes);
    for (const [piece, { offset, blobStart, blobEnd }] of [...layer.pieces.entries()].reverse())
      (await layer.decode(piece, built.blob.subarray(blobStart, blobEnd))).copy(source, offset);
    const lib = layer.tree(0).root.children.get('usr')!.children!.get('lib')!.children!;
    const body = (name: string): Buffer =>
      entries!.find(({ header }) => header.name === `usr/lib/${name}`)!.body!;
    for (const name of ['noise', 'words', 'small-0', 'small-119']) {
      const parts = lib
        .get(name)!
        .extents.map(({ offset, length }) => source.subarray(offset, offset + length));
      expect(Buffer.concat(parts).equals(body(name))).toBe(true);
    }
    expect(lib.get('words-again')).toBe(lib.get('words'));
    const [first, last] = piecesIn(layer.pieces, 100_000, 1);
    expect(last).toBe(first + 1);
  });

  test('whose table is not what the manifest promises, or that is damaged, is refused', async () => {
    const entries: LazyEntry[] = [{ header: { name: 'a', typeflag: '0' }, body: randomBytes(5000) }];
    const built = build(entries);
    expect(() => open(built, DIGEST)).toThrow(expect.objectContaining({ code: 'EDIGEST' }));
    expect(() => open(built, undefined, 4000)).toThrow(expect.objectContaining({ code: 'ELIMIT' }));
    const layer = open(built);
    const { blobStart, blobEnd } = layer.pieces[0]!;
    const wrong = Buffer.from(built.blob.subarray(blobStart, blobEnd));
    wrong.fill(1, 100, 110);
    await expect(layer.decode(0, wrong)).rejects.toMatchObject({
      code: expect.stringMatching(/EDIGEST|EBADTAR/) as string,
    });
    await expect(layer.decode(0, wrong.subarray(0, 50))).rejects.toMatchObject({ code: 'EBADTAR' });
    // Says that the data lies where the table is.
    const lying = build(
      entries,
      undefined,
      ({ entries: [entry] }) => (entry!['offset'] = built.blob.length - 100),
    );
    expect(() => open(lying)).toThrow(expect.objectContaining({ code: 'EBADLAYER' }));
  });

  test('is known by its footer alone', () => {
    const { blob } = build([]);
    const footer = blob.subarray(-ESTARGZ_FOOTER_BYTES);
    expect(estargzTableOffset(footer, blob.length)).toBe(0);
    for (const at of [0, 3, 10, 12, 14, 16, 33]) {
      const wrong = Buffer.from(footer);
      wrong[at] = 0x7a;
      expect(estargzTableOffset(wrong, blob.length)).toBeUndefined();
    }
    expect(estargzTableOffset(footer, 40)).toBeUndefined();
    expect(estargzTableOffset(footer.subarray(1), blob.length)).toBeUndefined();
  });
});

describe('where the table of a zstd:chunked layer is', () => {
  const of = (position: string, checksum = DIGEST, prefix = 'io.github.containers.zstd-chunked'): unknown =>
    zstdTable(
      new Map([
        [`${prefix}.manifest-position`, position],
        [`${prefix}.manifest-checksum`, checksum],
      ]),
      1000,
    );

  test('is read from annotations, old and new', () => {
    const expected = { offset: 100, length: 200, plainBytes: 3000, digest: DIGEST };
    expect(of('100:200:3000:1')).toEqual(expected);
    expect(of('100:200:3000:1', DIGEST, 'io.containers.zstd-chunked')).toEqual(expected);
  });

  test.each([
    '900:101:5:1',
    '100:0:5:1',
    '100:5:0:1',
    '100:5:5:2',
    '1:2:3',
    '-1:5:5:1',
    'x',
    `1:5:${2 ** 40}:1`,
  ])('is not taken from %s', (position) => expect(of(position)).toBeUndefined());

  test('is not taken without a digest', () => expect(of('100:200:3000:1', 'md5:0')).toBeUndefined());
});
