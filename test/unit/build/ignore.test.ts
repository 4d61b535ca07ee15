/** .dockerignore by the cases of moby/patternmatcher (patternmatcher_test.go, ignorefile_test.go). */
import { describe, expect, test } from 'vitest';
import { ignoreMatcher, parseIgnoreFile } from '../../../src/build/ignore.js';

describe('a pattern', () => {
  test.each<[pattern: string, path: string, isMatched: boolean]>([
    ['**', 'file', true],
    ['**', 'dir/file', true],
    ['**/', 'dir/file', true],
    ['**/**', 'dir/file', true],
    ['dir/**', 'dir/file', true],
    ['dir/**', 'dir/dir2/file', true],
    ['**/dir', 'dir', true],
    ['**/dir', 'dir/file', true],
    ['**/dir2/*', 'dir/dir2/file', true],
    ['**/dir2/**', 'dir/dir2/dir2/file', true],
    ['**file', 'file', true],
    ['**file', 'dir/file', true],
    ['**/file', 'dir/dir/file', true],
    ['**/file*', 'dir/dir/file.txt', true],
    ['**/file*txt', 'dir/dir/file.txt', true],
    ['**/**/*.txt', 'dir/dir/file.txt', true],
    ['a**/*.txt', 'a/file.txt', true],
    ['a**/*.txt', 'a/dir/file.txt', true],
    ['a/*.txt', 'a/dir/file.txt', false],
    ['a/*.txt', 'a/file.txt', true],
    ['a[b-d]e', 'ae', false],
    ['a[b-d]e', 'ace', true],
    ['a[^b-d]e', 'aze', true],
    ['.*', '.foo', true],
    ['.*', 'foo', false],
    ['abc.def', 'abcdef', false],
    ['abc?def', 'abcZdef', true],
    ['a\\\\', 'a\\', true],
    ['**/foo/bar', 'dir/foo/bar', true],
    ['abc/**', 'abc', false],
    ['*.d', 'x/a.d', false],
    ['docs', 'docs/README', true],
    ['docs', 'other/docs', false],
    ['a(b)c/def', 'a(b)c/def', true],
    ['a.|)$(}+{bc', 'a.|)$(}+{bc', true],
    ['é*', 'été', true],
  ])('%s and %s', (pattern, path, isMatched) => expect(ignoreMatcher([pattern])(path)).toBe(isMatched));

  test.each(['[', 'a[', 'a\\', '!'])('%s is malformed', (pattern) =>
    expect(() => ignoreMatcher([pattern])).toThrow('syntax error in pattern'),
  );
});

test('the last that matches counts, also by a parent', () => {
  const isIgnored = ignoreMatcher(['docs', '!docs/keep', 'docs/keep/not', '*.md', '!README.md']);
  expect(
    [
      'docs',
      'docs/a',
      'docs/keep',
      'docs/keep/x',
      'docs/keep/not',
      'docs/keep/not/y',
      'a.md',
      'README.md',
    ].map(isIgnored),
  ).toEqual([true, true, false, false, true, true, true, false]);
});

test('lines', () => {
  expect(
    parseIgnoreFile(
      '\ufefftest1\n/test2\n/a/file/here\n\nlastfile\n# comment\n! /inverted/abs/path\n!\n! \n  spaces \nslash/\na/../b',
    ),
  ).toEqual([
    'test1',
    'test2',
    'a/file/here',
    'lastfile',
    '!inverted/abs/path',
    '!.',
    '!.',
    'spaces',
    'slash',
    'b',
  ]);
});
