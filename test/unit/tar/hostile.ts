/**
 * Tars that lie, by name: what an attacker or a broken disk makes of the fields that a reader trusts. Used as a table of
 * errors and as seeds of the fuzzer.
 */
import { blocks, END, extension, GNU_MAGIC, header, POSIX_MAGIC, record, tar } from './support.js';

export interface HostileTar {
  name: string;
  tar: Buffer;
  code: 'EBADTAR' | 'ELIMIT';
  /** A part of the message. */
  says: string;
  /** Where the error says it is. */
  offset: number;
}

const octal = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`;
const base256 = (...bytes: number[]): string => String.fromCharCode(...bytes);
const file = Buffer.concat([header({ size: 1000 }), blocks('x'.repeat(1000))]);

/** An old GNU sparse header: the map's pairs, the size of the file, whether more of the map follows. */
function oldSparse(stored: number, realSize: number, pairs: [number, number][], more = false): Buffer {
  const at: Record<number, string> = { 482: more ? '\x01' : '\0', 483: octal(realSize) };
  pairs.forEach(([offset, length], index) => (at[386 + 24 * index] = octal(offset) + octal(length)));
  return header({ typeflag: 'S', magic: GNU_MAGIC, size: stored, at });
}

/** A block of an old GNU sparse map. */
function oldSparseMore(pairs: [number, number][], more: boolean): Buffer {
  const block = Buffer.alloc(512);
  pairs.forEach(([offset, length], index) =>
    block.write(octal(offset) + octal(length), 24 * index, 'latin1'),
  );
  block[504] = more ? 1 : 0;
  return block;
}

/** A PAX 1.0 sparse entry with this text for its map and `stored` bytes of data. */
function sparse10(map: string, realSize: string, stored: number): Buffer {
  const records = [
    record('GNU.sparse.major', '1'),
    record('GNU.sparse.minor', '0'),
    record('GNU.sparse.realsize', realSize),
  ];
  const body = Buffer.concat([blocks(map), Buffer.alloc(stored, 'd')]);
  return Buffer.concat([extension('x', records.join('')), header({ size: body.length }), blocks(body)]);
}

const sparse01 = (map: string, size: string, stored: number): Buffer =>
  Buffer.concat([
    extension('x', record('GNU.sparse.size', size) + record('GNU.sparse.map', map)),
    header({ size: stored }),
    blocks(Buffer.alloc(stored, 'd')),
  ]);

const pax = (data: string): Buffer => tar(extension('x', data), header());

export const HOSTILE_TARS: readonly HostileTar[] = [
  // Cut short.
  bad('a header cut short', file.subarray(0, 300), 'cut short inside a header', 0),
  bad(
    'a second header cut short',
    Buffer.concat([file, header().subarray(0, 511)]),
    'cut short inside a header',
    1536,
  ),
  bad('content cut short', file.subarray(0, 1511), 'cut short inside the content', 0),
  bad(
    'an extended header cut short',
    extension('x', record('path', 'a')).subarray(0, 520),
    'inside an extended',
    0,
  ),
  bad('an extended header without its entry', extension('x', record('path', 'a')), 'belongs to no entry', 0),
  bad('a long name without its entry', tar(file, extension('L', 'name\0')), 'belongs to no entry', 1536),
  bad('a volume label cut short', tar(header({ typeflag: 'V', size: 5000 })), 'volume label', 0),

  // Checksums and numbers.
  bad('a wrong checksum', tar(file, header({ sum: 'wrong' })), 'wrong checksum', 1536),
  bad('not a tar', Buffer.from('#!/bin/sh\n'.repeat(100)), 'wrong checksum', 0),
  bad('a checksum of no digits', changed(header(), 148, '!!!!!!!!'), 'wrong checksum', 0),
  bad('a size of no digits', tar(header({ at: { 124: 'xxxxxxxxxxx\0' } })), 'malformed size', 0),
  bad('a size with a 9', tar(header({ at: { 124: '00000000019\0' } })), 'malformed size', 0),
  bad('a negative size', tar(header({ at: { 124: base256(...Array(12).fill(255)) } })), 'negative size', 0),
  bad(
    'a size of 2^90',
    tar(header({ at: { 124: base256(0x84, ...Array<number>(11).fill(0)) } })),
    'malformed size',
    0,
  ),
  bad(
    'a size of 2^53 - 1',
    tar(header({ at: { 124: base256(0x80, 0, 0, 0, 0, 0x1f, 255, 255, 255, 255, 255, 255) } })),
    'cut short inside the content',
    0,
  ),
  bad(
    'an owner of 2^32',
    tar(header({ at: { 108: base256(0x80, 0, 0, 1, 0, 0, 0, 0) } })),
    'does not fit 32 bits',
    0,
  ),
  bad(
    'a device of 2^32',
    tar(header({ typeflag: '3', at: { 329: base256(0x80, 0, 0, 1, 0, 0, 0, 0) } })),
    'does not fit 32 bits',
    0,
  ),
  bad('a malformed mode', tar(header({ at: { 100: 'rwxr-xr-' } })), 'malformed mode', 0),
  bad('a part of a multi-volume archive', tar(header({ typeflag: 'M' })), "type 'M'", 0),

  // Extended headers.
  bad('a record longer than the data', pax('99 path=a\n'), 'wrong length', 512),
  bad('a record shorter than its keyword', pax('3 path=a\n'), 'wrong length', 512),
  bad('a record of length 0', pax('0 path=a\n'), 'wrong length', 512),
  bad('a record of a huge length', pax('99999999999999999999 path=a\n'), 'wrong length', 512),
  bad('a record without a length', pax('path=a\n'), 'wrong length', 512),
  bad('a second record that lies', pax(`${record('uid', '1')}12 path=a\n`), 'wrong length', 520),
  bad('a record without a newline', pax('9 path=abX'), 'newline', 512),
  bad('a record without a keyword', pax('5 =a\n'), 'no keyword', 512),
  bad('a record without =', pax('8 patha\n'), 'no keyword', 512),
  bad('a path with a NUL', pax(record('path', 'a\0b')), 'NUL', 512),
  bad('a negative size in a record', pax(record('size', '-1')), 'malformed', 512),
  bad('a size beyond 2^53', pax(record('size', '9007199254740993')), 'malformed', 512),
  bad('a size that is no number', pax(record('size', '1e3')), 'malformed', 512),
  bad('a size beyond the archive', pax(record('size', '1000000')), 'cut short inside the content', 1024),
  bad('an owner that is no number', pax(record('uid', 'root')), 'malformed', 512),
  bad('a time that is none', pax(record('mtime', '1.2.3')), 'mtime', 512),
  bad('a time of a sign', pax(record('mtime', '-')), 'mtime', 512),
  bad('an attribute without a name', pax(record('SCHILY.xattr.', 'x')), 'no valid name', 512),
  bad('an attribute that is not base64', pax(record('LIBARCHIVE.xattr.user.a', '%%')), 'base64', 512),
  limit('an extended header of 8 GiB', header({ typeflag: 'x', size: 0o77777777777 }), 'maxHeaderBytes', 0),
  limit('a long name of 2 MiB', tar(extension('L', 'n'.repeat(2 << 20)), header()), 'maxHeaderBytes', 0),
  limit(
    'many long names before one entry',
    tar(...Array<Buffer>(5).fill(extension('L', 'n'.repeat(1 << 18))), header()),
    'maxHeaderBytes',
    4 * (512 + (1 << 18)),
  ),
  limit(
    'an attribute name of 256 bytes',
    pax(record(`SCHILY.xattr.user.${'n'.repeat(251)}`, 'v')),
    'longer',
    512,
  ),
  limit(
    'an attribute of 64 KiB and one byte',
    pax(record('SCHILY.xattr.user.a', 'v'.repeat(65537))),
    'larger',
    512,
  ),
  limit(
    'a global header with many attributes',
    tar(
      extension('g', Array.from({ length: 65 }, (_, n) => record(`SCHILY.xattr.user.a${n}`, 'v')).join('')),
      header(),
    ),
    'global',
    0,
  ),

  // Sparse maps.
  bad(
    'old GNU: overlap',
    tar(
      oldSparse(20, 100, [
        [0, 10],
        [5, 10],
      ]),
      blocks('d'.repeat(20)),
    ),
    'overlaps',
    0,
  ),
  bad(
    'old GNU: out of order',
    tar(
      oldSparse(20, 100, [
        [50, 10],
        [0, 10],
      ]),
      blocks('d'.repeat(20)),
    ),
    'out of order',
    0,
  ),
  bad(
    'old GNU: beyond the file',
    tar(oldSparse(20, 100, [[90, 20]]), blocks('d'.repeat(20))),
    'goes beyond',
    0,
  ),
  bad(
    'old GNU: more than is stored',
    tar(oldSparse(512, 4096, [[0, 4096]]), blocks('d'.repeat(512))),
    'covers',
    0,
  ),
  bad(
    'old GNU: less than is stored',
    tar(oldSparse(512, 4096, [[0, 10]]), blocks('d'.repeat(512))),
    'covers',
    0,
  ),
  bad(
    'old GNU: a negative offset',
    tar(changed(oldSparse(0, 0, []), 386, base256(...Array(12).fill(255)) + octal(1), true)),
    'negative',
    0,
  ),
  bad(
    'old GNU: a malformed number',
    tar(changed(oldSparse(0, 0, []), 386, '12345678901z', true)),
    'malformed number',
    0,
  ),
  bad('old GNU: the map cut short', oldSparse(0, 100, [[0, 0]], true), 'cut short inside a sparse map', 0),
  limit(
    'old GNU: a map without end',
    Buffer.concat([
      oldSparse(0, 100, [[0, 0]], true),
      ...Array<Buffer>(2100).fill(oldSparseMore([[0, 0]], true)),
    ]),
    'maxHeaderBytes',
    0,
  ),
  bad(
    'old GNU: a sparse entry without the magic',
    tar(header({ typeflag: 'S', magic: POSIX_MAGIC })),
    'no GNU header',
    0,
  ),
  bad('0.1: an odd map', tar(sparse01('0,10,20', '100', 10)), 'odd number', 535),
  bad('0.1: overlap', tar(sparse01('0,10,5,5', '100', 15)), 'overlaps', 1024),
  bad('0.1: not a number', tar(sparse01('0,1x', '100', 10)), 'malformed', 535),
  bad('0.1: beyond the file', tar(sparse01('95,10', '100', 10)), 'goes beyond', 1024),
  bad(
    '0.0: offset twice',
    pax(record('GNU.sparse.offset', '0') + record('GNU.sparse.offset', '1')),
    'alternate',
    535,
  ),
  bad('1.0: beyond the file', tar(sparse10('1\n90\n20\n', '100', 20)), 'goes beyond', 1024),
  bad('1.0: more pairs than there are', tar(sparse10('9\n0\n20\n', '100', 20)), 'malformed number', 1024),
  bad(
    '1.0: pairs without end',
    tar(sparse10('9999999\n' + '0\n'.repeat(252), '0', 0)),
    'a sparse map is cut short',
    1024,
  ),
  bad('1.0: a number without end', tar(sparse10('1'.repeat(512), '100', 20)), 'malformed number', 1024),
  bad('1.0: a negative number', tar(sparse10('1\n-1\n20\n', '100', 20)), 'malformed number', 1024),
  bad('1.0: no map at all', tar(sparse10('', '100', 0)), 'cut short', 1024),
  limit(
    '1.0: a map of 2 MiB',
    tar(sparse10(`1000000\n${'0\n0\n'.repeat(1 << 19)}`, '0', 0)),
    'maxHeaderBytes',
    1024,
  ),
  bad(
    'an unknown sparse version',
    pax(record('GNU.sparse.major', '2') + record('GNU.sparse.minor', '0')),
    'sparse format 2.0',
    1024,
  ),
  bad(
    'a sparse directory',
    tar(extension('x', record('GNU.sparse.map', '0,0')), header({ typeflag: '5' })),
    'no file has a sparse map',
    1024,
  ),
];

function bad(name: string, bytes: Buffer, says: string, offset: number): HostileTar {
  return { name, tar: bytes, code: 'EBADTAR', says, offset };
}

function limit(name: string, bytes: Buffer, says: string, offset: number): HostileTar {
  return { name, tar: bytes, code: 'ELIMIT', says, offset };
}

/** `block` with `text` at `offset`; with a right checksum again if asked. */
function changed(block: Buffer, offset: number, text: string, sum = false): Buffer {
  const copy = Buffer.from(block);
  copy.write(text, offset, 'latin1');
  if (sum) {
    copy.fill(' ', 148, 156);
    const total = copy.subarray(0, 512).reduce((a, b) => a + b, 0);
    copy.write(`${total.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return copy;
}

/** Sound tars with every kind of header, for the fuzzer to damage. */
export const SOUND_TARS: readonly Buffer[] = [
  tar(file, header({ typeflag: '5', name: 'd/' }), header({ typeflag: '2', linkName: 'file' })),
  tar(
    oldSparse(
      20,
      100,
      [
        [0, 10],
        [50, 10],
      ],
      true,
    ),
    oldSparseMore([[90, 0]], false),
    blocks('d'.repeat(20)),
    file,
  ),
  tar(sparse10('2\n0\n10\n60\n10\n', '100', 20), file),
  tar(sparse01('0,10,60,10', '100', 20), file),
  tar(extension('g', record('uid', '5')), extension('L', 'long/name\0'), extension('K', 'target\0'), file),
  tar(
    extension('x', record('path', 'p') + record('mtime', '-1.5') + record('SCHILY.xattr.user.a', '\0\xff')),
    file,
    header({ typeflag: '3', at: { 329: '0000010\0' } }),
    END,
  ),
];
