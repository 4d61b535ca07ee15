/** bzip2 as the program of that name writes it. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bzip2Chunks } from '../../../src/layer/bzip2.js';
import { needs } from '../../helpers/require.js';

const able = needs('command bzip2');

const packed = (bytes: Buffer, ...options: string[]): Buffer =>
  execFileSync('bzip2', ['-c', ...options], { input: bytes, maxBuffer: 1 << 26 });

function* pieces(bytes: Buffer, length: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += length) yield bytes.subarray(start, start + length);
}

async function unpacked(bytes: Buffer, length = 1 << 18): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of bzip2Chunks(pieces(bytes, length))) all.push(chunk);
  return Buffer.concat(all);
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(!able)('bzip2', () => {
  // Several blocks of 100,000 bytes, and runs longer than a piece.
  const plain = Buffer.concat([randomBytes(250_000), Buffer.alloc(1_000_000, 'a'), Buffer.from('end')]);

  test.each([1, 7, 1 << 18])('comes in pieces of %i bytes', async (length) => {
    expect(digest(await unpacked(packed(plain, '-1'), length))).toBe(digest(plain));
  });

  test('several streams are one, and an empty one is nothing', async () => {
    const streams = [packed(Buffer.from('one ')), packed(Buffer.alloc(0)), packed(plain, '-9')];
    expect(digest(await unpacked(Buffer.concat(streams)))).toBe(
      digest(Buffer.concat([Buffer.from('one '), plain])),
    );
  });

  test('what is cut, damaged or followed by something else is refused', async () => {
    const whole = packed(plain, '-1');
    for (const length of [3, 10, whole.length >> 1, whole.length - 1])
      await expect(unpacked(whole.subarray(0, length)), String(length)).rejects.toThrow('too early');
    await expect(unpacked(Buffer.concat([whole, Buffer.from('x'.repeat(20))]))).rejects.toThrow(/magic/);
    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1]! ^= 0x10;
    await expect(unpacked(flipped)).rejects.toThrow();
  });

  test('no more is decoded than is taken: 200 MB of zeros are 150 bytes', async () => {
    const bomb = execFileSync('sh', ['-c', 'head -c 200000000 /dev/zero | bzip2']);
    let read = 0;
    const counted = function* (): Generator<Buffer> {
      for (const piece of pieces(bomb, 8)) {
        read += piece.length;
        yield piece;
      }
    };
    const chunks = bzip2Chunks(counted());
    expect((await chunks.next()).value).toHaveLength(1 << 18);
    // The first of five blocks.
    expect(read).toBeLessThan(bomb.length / 2);
    await chunks.return(undefined);
  });
});
