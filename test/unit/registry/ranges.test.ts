import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/registry/ranges.js';

const SIZE = 64;
const range = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const step = fc.record({ range, isAdded: fc.boolean() });

test('a set of ranges is what an array of bytes says', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), range, (steps, [start, end]) => {
      const set = new RangeSet();
      const bytes = new Array<boolean>(SIZE).fill(false);
      for (const { range: changed, isAdded } of steps) {
        if (isAdded) set.add(...changed);
        else set.remove(...changed);
        bytes.fill(isAdded, ...changed);
      }
      expect(set.has(start, end)).toBe(bytes.slice(start, end).every(Boolean));
      expect(set.totalBytes).toBe(bytes.filter(Boolean).length);
      const missing = new Array<boolean>(SIZE).fill(false);
      for (const part of set.missing(start, end)) missing.fill(true, ...part);
      expect(missing).toEqual(bytes.map((isThere, at) => !isThere && at >= start && at < end));
      expect(RangeSet.from(JSON.parse(JSON.stringify(set)), SIZE).toJSON()).toEqual(set.toJSON());
      // Disjoint, in order, not touching.
      set
        .toJSON()
        .forEach(([from], index, all) => expect(index === 0 || all[index - 1]![1] < from).toBe(true));
    }),
  );
});

test('what is no range is left out', () => {
  expect(RangeSet.from([[0, 5], [3], 'x', [9, 99], [-1, 2], [6.5, 7], null], 50).toJSON()).toEqual([[0, 5]]);
  expect(RangeSet.from({ 0: 1 }, 50).toJSON()).toEqual([]);
});
