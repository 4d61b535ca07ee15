import { describe, expect, test } from 'vitest';
import { formatPlatform, hostPlatform, parsePlatform, platformRank } from '../../../src/oci/platform.js';

const shown = (text: string): string => formatPlatform(parsePlatform(text));
const host = formatPlatform(hostPlatform());
const hostArch = host.slice(host.indexOf('/') + 1);

describe('platform', () => {
  // Expected as the tables of containerd/platforms (platforms_test.go) have them after Normalize.
  test.each([
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['Linux/ARM64', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['macos/arm64', 'darwin/arm64'],
    ['arm64', `${hostPlatform().os}/arm64`],
    ['windows', `windows/${hostArch}`],
  ])('%s is %s', (text, expected) => {
    expect(shown(text)).toBe(expected);
  });

  test.each(['', 'linux/', '/amd64', 'linux/amd64/v1/x', 'linux amd64', 'nosuchthing', 'linux/am\u0000d64'])(
    '%j is invalid',
    (text) => {
      expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'EUSAGE' }));
    },
  );

  test('the host is what uname says', async () => {
    const { execFileSync } = await import('node:child_process');
    const uname = execFileSync('uname', ['-sm']).toString().trim().replace(' ', '/');
    expect(host).toBe(shown(uname));
  });

  // Orders of containerd/platforms compare_test.go, Only().
  test.each([
    ['linux/amd64', ['linux/amd64', 'linux/386']],
    ['linux/amd64/v3', ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386']],
    ['linux/386', ['linux/386']],
    ['linux/arm/v7', ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm/v5', ['linux/arm/v5']],
    ['linux/arm64', ['linux/arm64', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm64/v8.1', ['linux/arm64/v8.1', 'linux/arm64', 'linux/arm/v8']],
    [
      'linux/arm64/v9.1',
      ['linux/arm64/v9.1', 'linux/arm64/v9', 'linux/arm64/v8.6', 'linux/arm64/v8.5', 'linux/arm64'],
    ],
    ['linux/ppc64le', ['linux/ppc64le']],
  ])('who wants %s takes these, best first: %j', (wanted, accepted) => {
    const ranks = accepted.map((text) => platformRank(parsePlatform(text), parsePlatform(wanted)));
    expect(ranks).not.toContain(undefined);
    expect(ranks).toEqual([...ranks].sort((a, b) => a! - b!));
    expect(new Set(ranks).size).toBe(ranks.length);
  });

  test.each([
    ['linux/amd64', 'linux/arm64'],
    ['linux/amd64', 'linux/amd64/v2'],
    ['linux/amd64', 'windows/amd64'],
    ['linux/386', 'linux/amd64'],
    ['linux/arm/v6', 'linux/arm/v7'],
    ['linux/arm/v7', 'linux/arm64'],
    ['linux/arm64/v8.1', 'linux/arm64/v8.2'],
    ['linux/amd64/v999999999', 'linux/amd64/v2'],
  ])('who wants %s does not take %s', (wanted, given) => {
    expect(platformRank(parsePlatform(given), parsePlatform(wanted))).toBeUndefined();
  });

  test('what an image does not say is the host', () => {
    const silent = { os: '', architecture: '', variant: undefined, osVersion: undefined };
    expect(platformRank(silent, hostPlatform())).toBe(0);
    expect(formatPlatform(silent)).toBe('unknown/unknown');
  });
});
