import { describe, expect, it } from 'vitest';
import { kernelOptions, parseMountOptions } from '../../../src/mount/options.js';

describe('mount options', () => {
  it('are read-only, nosuid and nodev when nothing is asked', () => {
    expect(kernelOptions(parseMountOptions([], false, true))).toBe('ro,nosuid,nodev');
  });

  it('give root setuid bits and devices, the last word counting', () => {
    expect(kernelOptions(parseMountOptions(['nosuid,suid', 'dev'], true, true))).toBe(
      'ro,suid,dev,allow_other',
    );
    expect(kernelOptions(parseMountOptions(['suid,nosuid,noexec'], false, false))).toBe(
      'ro,nosuid,nodev,noexec',
    );
  });

  it('take directories as overlayfs writes them, and list them bottom to top', () => {
    const parse = (...texts: string[]) => parseMountOptions(texts, false, true);
    expect(parse('ro')).toMatchObject({ readOnly: true, lowerDirectories: [] });
    expect(parse('lowerdir=/top:mid:/bottom,noexec')).toMatchObject({
      readOnly: true,
      exec: false,
      lowerDirectories: ['/bottom', 'mid', '/top'],
    });
    expect(parse(String.raw`lowerdir=/a\:b:/c\,d:/e\\f`)).toMatchObject({
      lowerDirectories: [String.raw`/e\f`, '/c,d', '/a:b'],
    });
    const upper = { upperDirectory: '/u:v', workDirectory: '/w,x' };
    const both = String.raw`upperdir=/u:v,workdir=/w\,x`;
    expect(parse(both, 'rw')).toMatchObject({ readOnly: false, lowerDirectories: [], upper });
    expect(parse(`ro,${both}`)).toMatchObject({ readOnly: true, upper });
    expect(() => parseMountOptions(['lowerdir=/a'], false, true, true)).toThrow(
      expect.objectContaining({ code: 'EUSAGE' }),
    );
  });

  it.each([
    ['rw', true, 'EROFS'],
    ['suid', false, 'EPERM'],
    ['dev', false, 'EPERM'],
    ['upperdir=/x', true, 'EUSAGE'],
    ['workdir=/x', true, 'EUSAGE'],
    ['lowerdir', true, 'EUSAGE'],
    ['upperdir=,workdir=/x', true, 'EUSAGE'],
    ['lowerdir=/x,rw', true, 'EROFS'],
    ['ro=1', true, 'EUSAGE'],
    ['threads=0', true, 'EUSAGE'],
    ['threads=257', true, 'EUSAGE'],
    ['threads', true, 'EUSAGE'],
    ['verify=perhaps', true, 'EUSAGE'],
  ])('refuse "%s" (root: %s) with %s', (text, isRoot, code) => {
    expect(() => parseMountOptions([text], false, isRoot)).toThrow(expect.objectContaining({ code }));
  });
});
