/** Sizes, ages, widths and short IDs: expected values are those of docker's and go-units' own tests and documentation. */
import { describe, expect, test } from 'vitest';
import { shortId } from '../../../../src/cli/output/ids.js';
import { formatSize } from '../../../../src/cli/output/sizes.js';
import { formatAge, formatDuration, formatLocalTime } from '../../../../src/cli/output/times.js';
import { displayWidth, ellipsis } from '../../../../src/cli/output/width.js';

// docker/go-units size_test.go
test.each([
  [1000, '1kB'],
  [1024, '1.024kB'],
  [1000000, '1MB'],
  [1048576, '1.049MB'],
  [2 * 1e6, '2MB'],
  [3.42 * 1e9, '3.42GB'],
  [5.372 * 1e12, '5.372TB'],
  [2.22 * 1e15, '2.22PB'],
  [1e16, '10PB'],
  [0, '0B'],
  [999, '999B'],
])('%d bytes are %s', (bytes, expected) => expect(formatSize(bytes)).toBe(expected));

// docs.docker.com, docker images: 72.9MB, 5.61MB, 1.09GB
test.each([
  [72945123, '72.9MB'],
  [5610000, '5.61MB'],
  [1089000000, '1.09GB'],
  [999499, '999kB'],
  // docker prints 1e+03kB.
  [999500, '1MB'],
  [999999999, '1GB'],
])('%d bytes are %s with three digits', (bytes, expected) => expect(formatSize(bytes, 3)).toBe(expected));

// docker/go-units duration_test.go
describe('durations', () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
  const [week, month, year] = [7 * day, 30 * day, 365 * day];
  test.each([
    [450, 'Less than a second'],
    [second, '1 second'],
    [45 * second, '45 seconds'],
    [46 * second, '46 seconds'],
    [59 * second, '59 seconds'],
    [60 * second, 'About a minute'],
    [minute, 'About a minute'],
    [3 * minute, '3 minutes'],
    [35 * minute, '35 minutes'],
    [35 * minute + 40 * second, '35 minutes'],
    [45 * minute, '45 minutes'],
    [45 * minute + 40 * second, '45 minutes'],
    [hour, 'About an hour'],
    [hour + 45 * minute, '2 hours'],
    [3 * hour, '3 hours'],
    [3 * hour + 59 * minute + 40 * second, '4 hours'],
    [24 * hour, '24 hours'],
    [36 * hour, '36 hours'],
    [day * 3, '3 days'],
    [7 * day, '7 days'],
    [2 * week, '2 weeks'],
    [2 * week + 4 * day, '2 weeks'],
    [month, '4 weeks'],
    [month + week, '5 weeks'],
    [2 * month, '2 months'],
    [2 * month + 2 * week, '2 months'],
    [11 * month, '11 months'],
    [14 * month, '14 months'],
    [year * 2, '2 years'],
    [year * 3 + 2 * month, '3 years'],
  ])('%d ms are %s', (ms, expected) => {
    expect(formatDuration(ms)).toBe(expected);
    expect(formatAge(1e12 - ms, 1e12)).toBe(`${expected} ago`);
  });
});

describe('local time', () => {
  // As `TZ=ZONE date -d @1614824682 '+%F %T %z %Z'` prints it.
  test.each([
    ['UTC', '2021-03-04 02:24:42 +0000 UTC'],
    ['Europe/Berlin', '2021-03-04 03:24:42 +0100 CET'],
    ['America/New_York', '2021-03-03 21:24:42 -0500 EST'],
    ['Asia/Kolkata', '2021-03-04 07:54:42 +0530 IST'],
    ['America/Sao_Paulo', '2021-03-03 23:24:42 -0300 -03'],
  ])('in %s', (zone, expected) => {
    const before = process.env['TZ'];
    process.env['TZ'] = zone;
    try {
      expect(formatLocalTime(1614824682_000)).toBe(expected);
    } finally {
      if (before === undefined) delete process.env['TZ'];
      else process.env['TZ'] = before;
    }
  });
});

// docker/cli formatter/displayutils_test.go
test.each([
  ['t🐳ststring', 0, ''],
  ['t🐳ststring', 1, 't'],
  ['t🐳ststring', 2, 't…'],
  ['t🐳ststring', 6, 't🐳st…'],
  ['t🐳ststring', 20, 't🐳ststring'],
  ['你好世界teststring', 0, ''],
  ['你好世界teststring', 1, '你'],
  ['你好世界teststring', 3, '你…'],
  ['你好世界teststring', 6, '你好…'],
  ['你好世界teststring', 20, '你好世界teststring'],
  ['', 1, ''],
])('%s in %d columns is %s', (text, columns, expected) => expect(ellipsis(text, columns)).toBe(expected));

test('combining marks take no column', () => expect(displayWidth('e\u0301\u200d世')).toBe(3));

test.each([
  ['', ''],
  ['1234', '1234'],
  ['90435eec5c4e124e741ef731e118be2fc799a68aba0466ec17717f24ce2ae6a2', '90435eec5c4e'],
  ['sha256:90435eec5c4e124e741ef731e118be2fc799a68aba0466ec17717f24ce2ae6a2', '90435eec5c4e'],
])('the short ID of %s is %s', (id, expected) => expect(shortId(id)).toBe(expected));
