/** Go's path.Match (its package documentation: in a set, too, a backslash makes the next character stand for itself). */
import { expect, test } from 'vitest';
import { pathExpression, pathMatcher } from '../../../src/image/path-match.js';

test.each([
  ['a*c', 'abbc', true],
  ['a*c', 'ab/c', false],
  ['?', 'é', true],
  ['?', '😀', true],
  ['[a-c]', 'b', true],
  ['[^a-c]', 'b', false],
  ['[a\\-c]', 'b', false],
  ['[a\\-c]', '-', true],
  ['[a&b]', '&', true],
  ['[\\d]', 'd', true],
  ['[\\d]', '5', false],
  ['[\\]]', ']', true],
  ['\\*', '*', true],
  ['a.c', 'abc', false],
  ['**', 'a/b', false],
])('%s of %s: %s', (pattern, name, isMatch) => {
  expect(pathMatcher(pattern)(name)).toBe(isMatch);
});

test.each(['[', '[]', 'a\\', '[b-a]'])('%s is malformed', (pattern) => {
  expect(() => pathMatcher(pattern)).toThrow(/syntax error in pattern/);
});

test('** stands for directories where it is asked for', () => {
  const matches = (pattern: string, name: string): boolean =>
    pathExpression(pattern, { anyDepth: true }).test(name);
  expect([matches('**/x', 'x'), matches('**/x', 'a/b/x'), matches('a/**', 'a/b/c')]).toEqual([
    true,
    true,
    true,
  ]);
  expect(matches('a/**/x', 'ax')).toBe(false);
});
