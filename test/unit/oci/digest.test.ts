import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { chainIds, hashBytes, isDigest, parseDigest, verifyBytes } from '../../../src/oci/digest.js';

const HEX = 'ab'.repeat(32);
const sum = (program: string, text: string): string =>
  execFileSync(program, { input: text }).toString().split(' ')[0]!;

describe('digest', () => {
  test.each([
    [`sha256:${HEX}`, true],
    [`sha512:${HEX}${HEX}`, true],
    [`sha256:${HEX.toUpperCase()}`, false],
    [`sha256:${HEX.slice(1)}`, false],
    [`sha256:${HEX}\n`, false],
    [`sha512:${HEX}`, false],
    [`md5:${'0'.repeat(32)}`, false],
    [`SHA256:${HEX}`, false],
    [HEX, false],
    [`:${HEX}`, false],
    ['sha256:../../../../etc/passwd', false],
    ['', false],
  ])('%j is a digest: %s', (text, expected) => {
    expect(isDigest(text)).toBe(expected);
    if (expected) expect(parseDigest(text, 'x').hex.length).toBeGreaterThan(63);
    else expect(() => parseDigest(text, 'x')).toThrow(expect.objectContaining({ code: 'EBADIMAGE' }));
  });

  test('hashes as sha256sum and sha512sum do', () => {
    expect(hashBytes('sha256', Buffer.from('layer'))).toBe(`sha256:${sum('sha256sum', 'layer')}`);
    expect(hashBytes('sha512', Buffer.from('layer'))).toBe(`sha512:${sum('sha512sum', 'layer')}`);
  });

  test('verifyBytes names both digests', () => {
    const right = hashBytes('sha256', Buffer.from('a'));
    verifyBytes(Buffer.from('a'), right, 'x');
    expect(() => verifyBytes(Buffer.from('b'), right, 'x')).toThrow(
      expect.objectContaining({ code: 'EDIGEST', digest: right }),
    );
  });

  test('a chain ID is the sha256 of the chain below and the diffId', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((text) => `sha256:${sum('sha256sum', text)}`) as [
      string,
      string,
      string,
    ];
    const second = `sha256:${sum('sha256sum', `${a} ${b}`)}`;
    expect(chainIds([a, b, c])).toEqual([a, second, `sha256:${sum('sha256sum', `${second} ${c}`)}`]);
    expect(chainIds([])).toEqual([]);
  });
});
