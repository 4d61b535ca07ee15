import { expect, test } from 'vitest';
import { parseBenchOptions } from '../../../src/bench/options.js';

test('without options all is measured three times', () => {
  expect(parseBenchOptions({})).toEqual({
    against: ['overlayfs', 'fuse-overlayfs', 'plain'],
    only: ['lookup', 'find', 'ls', 'read', 'open', 'depth'],
    runs: 3,
    depths: [],
    quick: false,
    dropCaches: true,
    keep: false,
    workDirectory: undefined,
    platform: undefined,
  });
});

test('lists keep the order in which they were given, once each', () => {
  const options = parseBenchOptions({
    against: 'plain, overlayfs,plain',
    only: 'read,find',
    depth: '127,20,20',
  });
  expect(options.against).toEqual(['plain', 'overlayfs']);
  expect(options.only).toEqual(['read', 'find']);
  expect(options.depths).toEqual([20, 127]);
});

test('nothing may be compared with', () => expect(parseBenchOptions({ against: '' }).against).toEqual([]));

test('--quick is one run, unless their number is given', () => {
  expect(parseBenchOptions({ quick: true }).runs).toBe(1);
  expect(parseBenchOptions({ quick: true, runs: '5' }).runs).toBe(5);
});

test.each([
  [{ against: 'zfs' }, /unknown subject "zfs" for --against: there are overlayfs, fuse-overlayfs, plain/],
  [{ only: 'finds' }, /unknown scenario "finds" for --only/],
  [{ runs: '0' }, /--runs/],
  [{ runs: '1e3' }, /--runs/],
  [{ depth: '20,x' }, /invalid value "x" for --depth: expected a number from 1 to 500/],
  [{ depth: '501' }, /--depth/],
])('%j is refused', (flags, message) => {
  expect(() => parseBenchOptions(flags)).toThrow(message);
  expect(() => parseBenchOptions(flags)).toThrow(expect.objectContaining({ code: 'EUSAGE' }));
});
