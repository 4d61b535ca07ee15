/**
 * Headers made by hand, one rule each. Expected values come from POSIX pax, the GNU tar manual, and Go's archive/tar
 * where those leave a choice; the dialects as other programs write them are compared in dialects.test.ts.
 */
import { describe, expect, test } from 'vitest';
import type { TarEntry } from '../../../src/tar/scan.js';
import {
  blocks,
  END,
  extension,
  GNU_MAGIC,
  header,
  record,
  scanBytes,
  scanError,
  tar,
  type BlockFields,
} from './support.js';

function only(...parts: Buffer[]): TarEntry {
  const entries = scanBytes(tar(...parts));
  expect(entries).toHaveLength(1);
  return entries[0]!;
}

const pax = (...records: [string, string][]): Buffer =>
  extension('x', records.map(([keyword, value]) => record(keyword, value)).join(''));

test('a ustar header, field by field', () => {
  expect(only(header({ name: 'etc/passwd', mode: 0o104755, size: 700 }), blocks('x'.repeat(700)))).toEqual({
    headerOffset: 0,
    type: 'file',
    name: 'etc/passwd',
    linkName: '',
    mode: 0o4755,
    uid: 1000,
    gid: 100,
    sizeBytes: 700,
    mtimeSec: 1_000_000_000,
    mtimeNsec: 0,
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
    extents: undefined,
    dataOffset: 512,
    storedBytes: 700,
  });
});

describe('types', () => {
  const cases: [typeflag: string, type: string][] = [
    ['0', 'file'],
    ['\0', 'file'],
    ['7', 'file'],
    ['1', 'link'],
    ['2', 'symlink'],
    ['3', 'char'],
    ['4', 'block'],
    ['5', 'dir'],
    ['6', 'fifo'],
    ['D', 'dir'],
    ['Z', 'file'],
  ];
  test.each(cases)('%j is %s', (typeflag, type) => {
    expect(only(header({ typeflag })).type).toBe(type);
  });

  test.each(['0', '\0'])('a file (%j) whose name ends in a slash is a directory', (typeflag) => {
    expect(only(header({ typeflag, name: 'old/', magic: '' })).type).toBe('dir');
  });

  test('a socket by the mode or by the record', () => {
    expect(only(header({ mode: 0o140755 }))).toMatchObject({ type: 'socket', mode: 0o755 });
    expect(only(pax(['SCHILY.filetype', 'socket']), header()).type).toBe('socket');
    expect(only(pax(['SCHILY.filetype', 'regular']), header()).type).toBe('file');
  });

  test('a hard link with a size has no content; a dump directory has', () => {
    const next = header({ name: 'next' });
    expect(scanBytes(tar(header({ typeflag: '1', size: 5000 }), next)).map((entry) => entry.name)).toEqual([
      'file',
      'next',
    ]);
    const dump = scanBytes(tar(header({ typeflag: 'D', size: 3 }), blocks('Ya\0'), next));
    expect(dump.map((entry) => [entry.name, entry.sizeBytes])).toEqual([
      ['file', 0],
      ['next', 0],
    ]);
  });

  test('a volume label is no entry', () => {
    expect(
      scanBytes(tar(header({ typeflag: 'V', name: 'label' }), header())).map((entry) => entry.name),
    ).toEqual(['file']);
  });
});

describe('numbers', () => {
  const base256 = (length: number, value: bigint): string => {
    const bytes = Buffer.alloc(length);
    let rest = BigInt.asUintN(8 * length, value);
    for (let at = length - 1; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
    bytes[0]! |= 0x80;
    return bytes.toString('latin1');
  };
  const cases: [text: string, offset: number, field: keyof TarEntry, value: number][] = [
    ['   1750 ', 108, 'uid', 0o1750],
    ['1750\0\0\0\0', 108, 'uid', 0o1750],
    ['\0\0\0\0\0\0\0\0', 108, 'uid', 0],
    ['        ', 108, 'uid', 0],
    ['12345670', 108, 'uid', 0o12345670],
    [base256(8, 3_000_000n), 108, 'uid', 3_000_000],
    [base256(8, 4_294_967_294n), 116, 'gid', 4_294_967_294],
    [base256(8, -2n), 116, 'gid', 4_294_967_294],
    [base256(12, -86_400n), 136, 'mtimeSec', -86_400],
    [base256(12, 1n << 40n), 136, 'mtimeSec', 2 ** 40],
    ['777777777777', 136, 'mtimeSec', 0o777777777777],
  ];
  test.each(cases)('%j', (text, offset, field, value) => {
    expect(only(header({ at: { [offset]: text } }))[field]).toBe(value);
  });

  test('device numbers', () => {
    const fields: BlockFields = { typeflag: '3', at: { 329: '0000010\0', 337: base256(8, 1_048_575n) } };
    expect(only(header(fields))).toMatchObject({ devMajor: 8, devMinor: 1_048_575 });
    expect(
      only(pax(['SCHILY.devmajor', '4095'], ['SCHILY.devminor', '300000']), header(fields)),
    ).toMatchObject({
      devMajor: 4095,
      devMinor: 300_000,
    });
  });
});

describe('checksums', () => {
  test('of signed bytes', () => {
    expect(only(header({ name: 'caf\xe9\xff', sum: 'signed' })).name).toBe('caf\xe9\xff');
  });

  test('of unsigned bytes, in a block of nothing but high bytes where there is room', () => {
    const fields: BlockFields = { name: '\xff'.repeat(100), linkName: '\xff'.repeat(100), typeflag: '2' };
    expect(only(header(fields))).toMatchObject({ name: fields.name, linkName: fields.linkName });
  });
});

describe('names', () => {
  test('of 100 bytes, without a NUL', () => {
    expect(only(header({ name: 'n'.repeat(100), mode: 0o600 }))).toMatchObject({
      name: 'n'.repeat(100),
      mode: 0o600,
    });
  });

  test('with a prefix in ustar, a shorter one in star, none in v7', () => {
    const prefix = 'p'.repeat(155);
    expect(only(header({ at: { 345: prefix } })).name).toBe(`${prefix}/file`);
    expect(only(header({ at: { 345: prefix, 508: 'tar\0' } })).name).toBe(`${'p'.repeat(131)}/file`);
    expect(only(header({ magic: '', at: { 345: prefix } })).name).toBe('file');
  });

  test('old GNU: times in the place of the prefix', () => {
    expect(only(header({ magic: GNU_MAGIC, at: { 345: '07346545000\x0007346545000\0' } })).name).toBe('file');
  });

  test('GNU magic and a prefix: written by Go before 1.8', () => {
    expect(only(header({ magic: GNU_MAGIC, at: { 345: 'usr/share/doc' } })).name).toBe('usr/share/doc/file');
  });

  test('GNU long name and link, the name without its NUL', () => {
    const name = `${'d/'.repeat(200)}\xff\xfe`;
    const linkName = `${'e/'.repeat(300)}x`;
    const entry = only(
      extension('K', `${linkName}\0`, { magic: GNU_MAGIC }),
      extension('L', `${name}\0`, { magic: GNU_MAGIC }),
      header({ typeflag: '2', name: 'cut', linkName: 'cut', magic: GNU_MAGIC }),
    );
    expect(entry).toMatchObject({ name, linkName, headerOffset: 512 * 5 });
  });

  test('a long name is for one entry only', () => {
    const names = scanBytes(tar(extension('L', 'long\0'), header(), header({ name: 'second' })));
    expect(names.map((entry) => entry.name)).toEqual(['long', 'second']);
  });

  test('are kept as they are', () => {
    for (const name of ['./a', '/a', '../a', 'a//b', 'a\nb', '.'])
      expect(only(header({ name })).name).toBe(name);
  });
});

describe('PAX', () => {
  test('records with newlines, NULs, equals signs and high bytes in the value', () => {
    const value = '\x01\0\0\x02\n12 path=evil\n=\xff\xfe';
    const entry = only(pax(['SCHILY.xattr.security.capability', value], ['path', 'sm\xf8r=\n']), header());
    expect(entry.name).toBe('sm\xf8r=\n');
    expect(entry.xattrs).toEqual([{ name: 'security.capability', value: Buffer.from(value, 'latin1') }]);
  });

  test('numbers, and the size of the content', () => {
    const entry = only(
      pax(['uid', '4000000000'], ['gid', '-2'], ['size', '600']),
      header({ size: 0 }),
      blocks('y'.repeat(600)),
    );
    expect(entry).toMatchObject({ uid: 4_000_000_000, gid: 4_294_967_294, sizeBytes: 600, dataOffset: 1536 });
  });

  test('the size is for the entry, not for headers between', () => {
    const entries = scanBytes(
      tar(
        pax(['size', '3']),
        extension('L', `${'n'.repeat(600)}\0`),
        header(),
        blocks('abc'),
        header({ name: 'b' }),
      ),
    );
    expect(entries.map((entry) => [entry.name, entry.sizeBytes])).toEqual([
      ['n'.repeat(600), 3],
      ['b', 0],
    ]);
  });

  const times: [text: string, sec: number, nsec: number][] = [
    ['0', 0, 0],
    ['1.5', 1, 500_000_000],
    ['1.', 1, 0],
    ['1.000000001', 1, 1],
    ['1.0000000019', 1, 1],
    ['1700000000.123456789', 1_700_000_000, 123_456_789],
    ['-1', -1, 0],
    ['-1.5', -2, 500_000_000],
    ['-0.25', -1, 750_000_000],
    ['-1.0000000001', -2, 999_999_999],
    ['-0', 0, 0],
    ['99999999999', 99_999_999_999, 0],
  ];
  test.each(times)('mtime %s', (text, sec, nsec) => {
    const entry = only(pax(['mtime', text]), header());
    expect([entry.mtimeSec, entry.mtimeNsec]).toEqual([sec, nsec]);
  });

  test('an empty value takes the keyword back, but an attribute may be empty', () => {
    const entry = only(
      extension('g', record('path', 'global') + record('uid', '7')),
      pax(['path', ''], ['mtime', ''], ['SCHILY.xattr.user.empty', '']),
      header(),
    );
    expect(entry).toMatchObject({ name: 'file', uid: 7, mtimeSec: 1_000_000_000 });
    expect(entry.xattrs).toEqual([{ name: 'user.empty', value: Buffer.alloc(0) }]);
  });

  test('the last record of a keyword counts, and the last extended header', () => {
    expect(only(pax(['path', 'a'], ['path', 'b']), header()).name).toBe('b');
    expect(only(pax(['path', 'a'], ['uid', '5']), pax(['path', 'b']), header())).toMatchObject({
      name: 'b',
      uid: 1000,
    });
  });

  test('global records hold for all later entries until others replace them; local ones win', () => {
    const entries = scanBytes(
      tar(
        header({ name: 'before' }),
        extension('g', record('uid', '7') + record('SCHILY.xattr.user.g', 'G') + record('mtime', '5.5')),
        header({ name: 'first' }),
        pax(['uid', '8'], ['SCHILY.xattr.user.a', 'A']),
        header({ name: 'local' }),
        extension('g', record('uid', '9') + record('mtime', '')),
        header({ name: 'second' }),
      ),
    );
    const g = { name: 'user.g', value: Buffer.from('G') };
    expect(
      entries.map((entry) => [entry.name, entry.uid, entry.mtimeSec, entry.mtimeNsec, entry.xattrs]),
    ).toEqual([
      ['before', 1000, 1_000_000_000, 0, undefined],
      ['first', 7, 5, 500_000_000, [g]],
      ['local', 8, 5, 500_000_000, [{ name: 'user.a', value: Buffer.from('A') }, g]],
      ['second', 9, 1_000_000_000, 0, [g]],
    ]);
  });

  test('a global header between an extended header and its entry changes neither', () => {
    const entries = scanBytes(
      tar(pax(['path', 'long']), extension('g', record('uid', '3')), header(), header()),
    );
    expect(entries.map((entry) => entry.name)).toEqual(['long', 'file']);
    expect(entries[1]!.uid).toBe(3);
  });

  test('attributes in every spelling, sorted by bytes', () => {
    const entry = only(
      pax(
        ['SCHILY.xattr.user.b%3Dc%25', '1'],
        ['LIBARCHIVE.xattr.user.%61', 'AP8'],
        ['LIBARCHIVE.xattr.user.twice', 'bG9zZXM'],
        ['SCHILY.xattr.user.twice', 'wins'],
        ['RHT.security.selinux', 'system_u:object_r:bin_t:s0'],
        ['SCHILY.xattr.user.\xff', '2'],
      ),
      header(),
    );
    expect(entry.xattrs?.map(({ name, value }) => [name, value.toString('latin1')])).toEqual([
      ['security.selinux', 'system_u:object_r:bin_t:s0'],
      ['user.a', '\0\xff'],
      ['user.b=c%', '1'],
      ['user.twice', 'wins'],
      ['user.\xff', '2'],
    ]);
  });

  test('Solaris X is read as x; unknown keywords are passed over', () => {
    expect(only(extension('X', record('path', 'sun') + record('VENDOR.thing', 'v')), header()).name).toBe(
      'sun',
    );
  });

  test('a linkpath is for links', () => {
    expect(only(pax(['linkpath', 'there']), header({ typeflag: '2' })).linkName).toBe('there');
    expect(only(pax(['linkpath', 'there']), header()).linkName).toBe('');
  });
});

describe('the end', () => {
  const file = Buffer.concat([header({ size: 3 }), blocks('abc')]);
  const cases: [what: string, tar: Buffer][] = [
    ['two zero blocks', Buffer.concat([file, END])],
    ['one zero block', Buffer.concat([file, END.subarray(512)])],
    ['none', file],
    ['none, and no padding', file.subarray(0, 515)],
    ['garbage after it', Buffer.concat([file, END, Buffer.from('garbage')])],
    ['an entry after it', Buffer.concat([file, END, header({ name: 'hidden' })])],
  ];
  test.each(cases)('%s', (_, bytes) => {
    expect(scanBytes(bytes).map((entry) => entry.name)).toEqual(['file']);
  });

  test('a global header may be the last; an extended one may not', () => {
    expect(scanBytes(tar(header(), extension('g', record('comment', 'c'))))).toHaveLength(1);
    expect(scanError(tar(header(), extension('x', record('comment', 'c'))))).toMatchObject({ offset: 512 });
  });

  test('an empty archive has no entries', () => {
    expect(scanBytes(END)).toEqual([]);
    expect(scanBytes(Buffer.alloc(0))).toEqual([]);
  });
});

test('a header is found whatever lies between: strides across every window size', () => {
  const sizes = [
    0, 1, 511, 512, 513, 4000, 300_000, 20_000, 20_000, 20_000, 70_000, 0, 0, 1, 262_144, 5, 600_000, 3,
  ];
  const parts = sizes.flatMap((size, index) => [
    index % 3 === 0 ? pax(['comment', 'c'.repeat(index * 700)]) : Buffer.alloc(0),
    header({ name: `file${index}`, size }),
    blocks(Buffer.alloc(size, index + 1)),
  ]);
  const entries = scanBytes(tar(...parts));
  expect(entries.map((entry) => [entry.name, entry.sizeBytes])).toEqual(
    sizes.map((size, i) => [`file${i}`, size]),
  );
});
