/** Tars that lie must be refused with the right code, at the right byte, whatever else is true of them. */
import { describe, expect, test } from 'vitest';
import { HOSTILE_TARS, SOUND_TARS } from './hostile.js';
import { extension, header, record, scanBytes, scanError, tar } from './support.js';

describe('hostile tars', () => {
  test.each(HOSTILE_TARS.map((hostile) => [hostile.name, hostile] as const))('%s', (_, hostile) => {
    const error = scanError(hostile.tar);
    expect({ code: error.code, offset: error.offset, path: error.path }).toEqual({
      code: hostile.code,
      offset: hostile.offset,
      path: 'test.tar',
    });
    expect(error.message).toContain(hostile.says);
    expect(error.message).toContain(`byte ${hostile.offset}`);
  });
});

test('the sound tars that the fuzzer starts from are sound', () => {
  expect(SOUND_TARS.map((bytes) => scanBytes(bytes).length)).toEqual([3, 2, 2, 2, 1, 2]);
});

test('sparse maps by hand: runs lie one after the other in the data', () => {
  const runs = [
    { logical: 0, length: 10 },
    { logical: 60, length: 10 },
  ];
  const [, oldGnu, pax10, pax01] = SOUND_TARS.map((bytes) => scanBytes(bytes)[0]!);
  expect(oldGnu).toMatchObject({ sizeBytes: 100, storedBytes: 20, dataOffset: 1024 });
  expect(oldGnu!.extents).toEqual([
    { logical: 0, length: 10, offset: 1024 },
    { logical: 50, length: 10, offset: 1034 },
  ]);
  expect(pax10!.extents).toEqual(runs.map((run, index) => ({ ...run, offset: 512 * 4 + 10 * index })));
  expect(pax01!.extents).toEqual(runs.map((run, index) => ({ ...run, offset: 512 * 3 + 10 * index })));
});

describe('limits', () => {
  test('of entries', () => {
    const three = tar(header(), header(), header());
    expect(scanBytes(three, { maxEntries: 3 })).toHaveLength(3);
    expect(scanError(three, { maxEntries: 2 })).toMatchObject({ code: 'ELIMIT', offset: 1024 });
  });

  test('of headers: counted anew for each entry', () => {
    const long = extension('L', 'n'.repeat(600));
    expect(scanBytes(tar(long, header(), long, header()), { maxHeaderBytes: 600 })).toHaveLength(2);
    expect(scanError(tar(long, header()), { maxHeaderBytes: 599 })).toMatchObject({
      code: 'ELIMIT',
      offset: 0,
    });
  });

  test("of headers: a global one is not the next entry's", () => {
    const global = extension('g', record('comment', 'c'.repeat(500)));
    const parts = [global, global, extension('L', 'n'.repeat(100)), header()];
    expect(scanBytes(tar(...parts), { maxHeaderBytes: 520 })).toHaveLength(1);
    expect(scanError(tar(...parts), { maxHeaderBytes: 510 })).toMatchObject({ code: 'ELIMIT', offset: 0 });
  });

  test('of attributes', () => {
    const two = tar(
      extension('x', record('SCHILY.xattr.user.a', '12345') + record('SCHILY.xattr.user.b', '12345')),
      header(),
    );
    expect(scanBytes(two, { maxXattrBytes: 22 })[0]?.xattrs).toHaveLength(2);
    expect(scanError(two, { maxXattrBytes: 21 }).message).toContain('maxXattrBytes (21)');
  });
});
