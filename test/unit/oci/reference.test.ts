import { describe, expect, test } from 'vitest';
import {
  familiarReference,
  formatReference,
  parseReference,
  tryParseReference,
  withDefaultTag,
} from '../../../src/oci/reference.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('reference', () => {
  // Cases of distribution/reference (normalize_test.go, reference_test.go).
  test.each([
    ['ubuntu', 'docker.io/library/ubuntu', 'ubuntu'],
    ['ubuntu:24.04', 'docker.io/library/ubuntu:24.04', 'ubuntu:24.04'],
    ['library/ubuntu', 'docker.io/library/ubuntu', 'ubuntu'],
    ['docker.io/ubuntu', 'docker.io/library/ubuntu', 'ubuntu'],
    ['index.docker.io/ubuntu', 'docker.io/library/ubuntu', 'ubuntu'],
    ['docker.io/library/foo/bar', 'docker.io/library/foo/bar', 'library/foo/bar'],
    ['dmcgowan/myapp', 'docker.io/dmcgowan/myapp', 'dmcgowan/myapp'],
    ['foo/foo_bar.com:8080', 'docker.io/foo/foo_bar.com:8080', 'foo/foo_bar.com:8080'],
    ['foo.com/foo/bar', 'foo.com/foo/bar', 'foo.com/foo/bar'],
    ['localhost/x', 'localhost/x', 'localhost/x'],
    ['localhost:5000/x:y', 'localhost:5000/x:y', 'localhost:5000/x:y'],
    ['localhost', 'docker.io/library/localhost', 'localhost'],
    ['localhost:5000', 'docker.io/library/localhost:5000', 'localhost:5000'],
    ['[2001:db8::1]:5000/repo', '[2001:db8::1]:5000/repo', '[2001:db8::1]:5000/repo'],
    ['HOST/x', 'HOST/x', 'HOST/x'],
    ['a--b/c__d.e_f', 'docker.io/a--b/c__d.e_f', 'a--b/c__d.e_f'],
    [`x@${DIGEST}`, `docker.io/library/x@${DIGEST}`, `x@${DIGEST}`],
    [`x:t@${DIGEST}`, `docker.io/library/x:t@${DIGEST}`, `x:t@${DIGEST}`],
    [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`, `x:${'t'.repeat(128)}`],
  ])('%s is %s, shown as %s', (text, full, familiar) => {
    const reference = parseReference(text);
    expect(formatReference(reference)).toBe(full);
    expect(familiarReference(reference)).toBe(familiar);
    expect(parseReference(full)).toEqual(reference);
  });

  test.each([
    '',
    'Ubuntu',
    'docker.io/Library/x',
    'foo.com/UPPER',
    ':tag',
    '@',
    'x:',
    'x:-tag',
    `x:${'t'.repeat(129)}`,
    'x@sha256:abc',
    `x@${DIGEST.toUpperCase()}`,
    '-foo',
    'foo-',
    'a..b',
    'a___b',
    'a//b',
    '/x',
    'x/',
    'x y',
    'x\n',
    'foo.com:port/x',
    '[fe80::1%eth0]/x',
    '-host.com/x',
    '0123456789abcdef'.repeat(4),
    'a'.repeat(300),
    `${'a/'.repeat(200)}b`,
  ])('%j is invalid', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'EUSAGE' }));
    expect(tryParseReference(text)).toBeUndefined();
  });

  test('the longest name is 255 characters with its domain', () => {
    const prefix = 'a/';
    const longest = `${prefix}${'x'.repeat(255 - 'docker.io/'.length - prefix.length)}`;
    expect(parseReference(longest).path).toBe(longest);
    expect(tryParseReference(`${longest}x`)).toBeUndefined();
  });

  test('the default tag is for names that have neither tag nor digest', () => {
    expect(withDefaultTag(parseReference('x')).tag).toBe('latest');
    expect(withDefaultTag(parseReference('x:y')).tag).toBe('y');
    expect(withDefaultTag(parseReference(`x@${DIGEST}`)).tag).toBeUndefined();
  });
});
