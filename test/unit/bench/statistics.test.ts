import { expect, test } from 'vitest';
import { figure, median, ratioText, spread } from '../../../src/bench/statistics.js';

test.each([
  [[3], 3],
  [[5, 1, 3], 3],
  [[10, 1, 3, 2], 2.5],
  [[10, 9, 100], 10],
])('the median of %j is %d', (values, expected) => expect(median(values)).toBe(expected));

test('there is no median of nothing, and the values are left as they are', () => {
  expect(() => median([])).toThrow(RangeError);
  const values = [3, 1, 2];
  median(values);
  expect(values).toEqual([3, 1, 2]);
});

test.each([
  [20.6, 'us', '20.6 us'],
  [1.234, 'us', '1.23 us'],
  [0.0512, 'us', '0.0512 us'],
  [1500, 'us', '1.50 ms'],
  [0.0123, 's', '12.3 ms'],
  [3.412, 's', '3.41 s'],
  [123.4, 's', '123 s'],
  [0.0000051, 's', '5.10 us'],
  [0, 's', '0 us'],
] as const)('%d %s is printed as %s', (value, unit, expected) => expect(figure(value, unit)).toBe(expected));

test('ratios', () => {
  expect([0.5, 1, 9.99, 12.34, 105.2].map(ratioText)).toEqual(['0.50x', '1.00x', '9.99x', '12.3x', '105x']);
});

test('a part of a list is spread over all of it', () => {
  expect(spread([1, 2, 3], 5)).toEqual([1, 2, 3]);
  expect(spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 5)).toEqual([0, 2, 4, 6, 8]);
  expect(new Set(spread([...Array(1000).keys()], 7)).size).toBe(7);
});
