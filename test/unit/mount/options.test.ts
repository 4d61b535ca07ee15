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

  it.each([
    ['rw', true, 'EROFS'],
    ['suid', false, 'EPERM'],
    ['dev', false, 'EPERM'],
    ['upperdir=/x', true, 'EUSAGE'],
    ['ro=1', true, 'EUSAGE'],
    ['threads=0', true, 'EUSAGE'],
    ['threads=257', true, 'EUSAGE'],
    ['threads', true, 'EUSAGE'],
    ['verify=perhaps', true, 'EUSAGE'],
  ])('refuse "%s" (root: %s) with %s', (text, isRoot, code) => {
    expect(() => parseMountOptions([text], false, isRoot)).toThrow(expect.objectContaining({ code }));
  });
});
