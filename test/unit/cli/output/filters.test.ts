/** `--filter`, and the times that it takes. */
import { describe, expect, test } from 'vitest';
import { parseFilters } from '../../../../src/cli/output/filters.js';
import { parseDuration, parseTimestamp } from '../../../../src/cli/output/timestamp.js';

const KNOWN = ['label', 'label!', 'reference', 'dangling', 'until'];

describe('filters', () => {
  test('of one key any, of several all', () => {
    const filters = parseFilters([' Reference = a* ', 'reference=b', '', 'dangling=1'], KNOWN);
    expect(filters.get('reference')).toEqual(['a*', 'b']);
    expect(filters.some('reference', (value) => value === 'b')).toBe(true);
    expect(filters.some('reference', (value) => value === 'c')).toBe(false);
    expect(filters.some('until', () => false)).toBe(true);
    expect(filters.flag('dangling')).toBe(true);
    expect(parseFilters([], KNOWN).flag('dangling')).toBeUndefined();
    expect(parseFilters(['dangling=false'], KNOWN).flag('dangling')).toBe(false);
  });

  test.each([
    [['label=a'], true],
    [['label=a=1'], true],
    [['label=a=2'], false],
    [['label=c'], false],
    [['label=a', 'label=b'], true],
    [['label=a', 'label=c'], false],
    [['label=b='], true],
    [['label!=c'], true],
    [['label!=a'], false],
    [['label!=a=2'], true],
    [['label!=a=2', 'label!=a=1'], false],
    [['label=d=x=y'], true],
    [['label=toString'], false],
  ])('%j on labels: %s', (texts, expected) => {
    expect(parseFilters(texts, KNOWN).labelsFit({ a: '1', b: '', d: 'x=y' })).toBe(expected);
  });

  test.each([
    // docker 28.2.2: docker ps --filter foo
    [
      ['foo'],
      'EUSAGE',
      'invalid argument "foo" for "-f, --filter" flag: bad format of filter (expected name=value)',
    ],
    [['foo=bar'], 'EFILTER', "invalid filter 'foo'"],
    [['=bar'], 'EFILTER', "invalid filter ''"],
  ])('%j', (texts, code, message) => {
    expect(() => parseFilters(texts, KNOWN)).toThrow(expect.objectContaining({ code, message }));
  });

  test('values that cannot be', () => {
    expect(() => parseFilters(['dangling=maybe'], KNOWN).flag('dangling')).toThrow(
      "invalid filter 'dangling=[maybe]'",
    );
    expect(() => parseFilters(['until=1', 'until=2'], KNOWN).untilMs()).toThrow(
      'more than one until filter specified',
    );
    expect(() => parseFilters(['until=soon'], KNOWN).untilMs()).toThrow('invalid time "soon"');
  });
});

describe('times', () => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5);
  test.each([
    ['1136073600', Date.UTC(2006, 0, 1)],
    ['1136073600.000000001', Date.UTC(2006, 0, 1) + 1e-6],
    ['1136073600.5', Date.UTC(2006, 0, 1) + 500],
    ['0', 0],
    ['10m', now - 600_000],
    ['1h30m', now - 5_400_000],
    ['1.5h', now - 5_400_000],
    ['-1s', now + 1000],
    ['24h', now - 86_400_000],
    ['2006-01-02T15:04:05Z', Date.UTC(2006, 0, 2, 15, 4, 5)],
    ['2006-01-02T15:04:05.25Z', Date.UTC(2006, 0, 2, 15, 4, 5, 250)],
    ['2006-01-02T15:04:05+07:00', Date.UTC(2006, 0, 2, 8, 4, 5)],
    ['2006-01-02T15:04Z', Date.UTC(2006, 0, 2, 15, 4)],
    ['2006-01-02T15Z', Date.UTC(2006, 0, 2, 15)],
    ['2006-01-02Z', Date.UTC(2006, 0, 2)],
    ['2006-01-02-07:00', Date.UTC(2006, 0, 2, 7)],
    ['2006-01-02', new Date(2006, 0, 2).getTime()],
    ['2006-01-02T15:04:05', new Date(2006, 0, 2, 15, 4, 5).getTime()],
    ['2006-01-02T15', new Date(2006, 0, 2, 15).getTime()],
    ['2006-01-02T15:04:05.125', new Date(2006, 0, 2, 15, 4, 5, 125).getTime()],
  ])('%s', (text, expected) => expect(parseTimestamp(text, now)).toBeCloseTo(expected, 3));

  test.each(['', 'x', '1d', '2006-1-2', '2006-02-30', '2006-13-01', '2006-01-02T25', '1h1', '1 h', '.', 'h'])(
    '"%s" is none',
    (text) => expect(() => parseTimestamp(text, now)).toThrow(expect.objectContaining({ code: 'EFILTER' })),
  );

  // pkg.go.dev/time#ParseDuration
  test('durations', () => {
    expect(parseDuration('1h10m10s')).toBe(4_210_000);
    expect(parseDuration('1µs')).toBe(1e-3);
    expect(parseDuration('-1.5h')).toBe(-5_400_000);
    expect(parseDuration('300ms')).toBe(300);
    expect(parseDuration('2h45m')).toBe(9_900_000);
  });
});
