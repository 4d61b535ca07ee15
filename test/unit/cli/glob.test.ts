/** Shell patterns against fnmatch(3) itself, asked through bash, and against GNU find's own modes. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { globMatcher } from '../../../src/cli/fs/glob.js';
import { parsePermissions } from '../../../src/cli/fs/permissions.js';
import { needs } from '../../helpers/require.js';

const PATTERNS = [
  '*',
  '?',
  'a*',
  '*.c',
  '[abc]',
  '[!abc]',
  '[^abc]',
  '[a-c]x',
  '[]x]',
  '[!]x]',
  '[a-]',
  '[-a]',
  'a\\*b',
  '\\',
  '[',
  '[a',
  'a[',
  '[[:digit:]]*',
  '[[:upper:][:digit:]]',
  '**',
  'a?c',
  '.*',
  'a.c',
  'a|b',
  '(a)',
  '{a}',
  'a+',
  '^a$',
  '[\\]]',
  '[a\\-c]',
  '*/*',
  'a/b',
];
const NAMES = [
  '',
  'a',
  'b',
  'abc',
  'a*b',
  'axb',
  'x.c',
  '.hidden',
  '-',
  ']',
  '[',
  'a[',
  '[a',
  'ax',
  'cx',
  'dx',
  '7up',
  'A',
  'a/b',
  'a|b',
  '(a)',
  '{a}',
  'a+',
  '^a$',
  'a.c',
  'a\nc',
  '\\',
  'a-c',
  '!',
];

test.skipIf(!needs('command bash'))('matches as fnmatch does', () => {
  // bash's == uses its own fnmatch(3), in which * matches a slash as find's -path has it.
  const script =
    'LC_ALL=C; shopt -u extglob; for ((p=1; p<=NP; p++)); do for ((n=NP+1; n<=$#; n++)); do [[ ${!n} == ${!p} ]] && echo 1 || echo 0; done; done';
  const results = execFileSync('bash', [
    '-c',
    `NP=${PATTERNS.length}; ${script}`,
    'bash',
    ...PATTERNS,
    ...NAMES,
  ])
    .toString()
    .trim()
    .split('\n');
  const ours: string[] = [];
  const theirs: string[] = [];
  for (const pattern of PATTERNS) {
    const matches = globMatcher(pattern);
    for (const name of NAMES) {
      ours.push(`${pattern} ${JSON.stringify(name)} ${matches(name) ? 1 : 0}`);
      theirs.push(`${pattern} ${JSON.stringify(name)} ${results[theirs.length]}`);
    }
  }
  expect(ours).toEqual(theirs);
  expect(results).toContain('1');
});

test('a ? is one character of UTF-8, and one byte of what is none', () => {
  const bytes = (text: string): string => Buffer.from(text).toString('latin1');
  expect(globMatcher('?')(bytes('\u00e9'))).toBe(true);
  expect(globMatcher('??')(bytes('\u00e9'))).toBe(false);
  expect(globMatcher('??')('\xff\xfe')).toBe(true);
  expect(globMatcher(bytes('\u00e9*'))(bytes('\u00e9t\u00e9'))).toBe(true);
  expect(globMatcher(bytes('[\u00e9]'))(bytes('\u00e9'))).toBe(true);
  expect(globMatcher(bytes('\u00c9T\u00c9'), true)(bytes('\u00e9t\u00e9'))).toBe(true);
  expect(globMatcher('\xff*')('\xff\x80')).toBe(true);
});

test('modes are those that find takes', () => {
  const root = mkdtempSync(join(tmpdir(), 'lamina-perm-'));
  try {
    const modes = [0, 0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o600, 0o111, 0o7777, 0o222];
    for (const mode of modes) {
      writeFileSync(join(root, mode.toString(8)), '');
      chmodSync(join(root, mode.toString(8)), mode);
    }
    for (const text of [
      '0',
      '644',
      '4755',
      'u=rw,go=r',
      'a=rwx,u+s',
      'u+x',
      '+x',
      'g=s,g+rwx',
      'a=rwxt',
      'o+w',
      'ug=rwx',
      'a+rwxs,o-x',
      'u=rwx,g=x,o=x,g+s',
    ]) {
      const found = execFileSync('find', [
        root,
        '-type',
        'f',
        '-perm',
        `-${text}`,
        '-printf',
        '%f\n',
      ]).toString();
      const bits = parsePermissions(text);
      const ours = modes.filter((mode) => (mode & bits) === bits).map((mode) => mode.toString(8));
      expect([text, ours.sort()]).toEqual([text, found.trim().split('\n').sort()]);
    }
    expect(() => parsePermissions('u=q')).toThrow('invalid mode');
    expect(() => parsePermissions('9')).toThrow('invalid mode');
  } finally {
    rmSync(root, { recursive: true });
  }
});
