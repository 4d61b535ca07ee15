import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, deflateRawSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  decodeIndex,
  decodeSpan,
  encodeIndex,
  piecesOf,
  unpackWindow,
} from '../../../src/layer/lazy/checkpoints.js';
import type { CheckpointIndex } from '../../../src/layer/lazy/checkpoints.js';
import { makeCheckpoints } from '../../../src/layer/lazy/make-checkpoints.js';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'lamina-checkpoints-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const NONE = Buffer.alloc(0);

function made(
  blob: Buffer,
  compression: 'gzip' | 'none' = 'gzip',
  spanBytes = 20_000,
): CheckpointIndex & { windows: Buffer } {
  const file = join(directory, 'blob');
  writeFileSync(file, blob);
  const fd = openSync(file, 'r');
  try {
    return {
      ...makeCheckpoints(
        { fd, offset: 0, sizeBytes: blob.length, name: 'a layer' },
        compression,
        1 << 30,
        spanBytes,
      ),
      toc: NONE,
    };
  } finally {
    closeSync(fd);
  }
}

/** Every span, decompressed alone, from its own bytes and its window. */
async function spansOf(index: CheckpointIndex & { windows: Buffer }, blob: Buffer): Promise<Buffer[]> {
  const pieces = piecesOf(index);
  const plain: Buffer[] = [];
  // In reverse, so that nothing can lean on what came before.
  for (const [place, span] of [...index.spans.entries()].reverse()) {
    const { blobStart, blobEnd } = pieces[place]!;
    const { windowOffset, windowLength } = span;
    const window =
      windowLength === 0
        ? undefined
        : unpackWindow(index.windows.subarray(windowOffset, windowOffset + windowLength), 'a layer');
    plain.unshift(await decodeSpan(index, place, blob.subarray(blobStart, blobEnd), window, 'a layer'));
  }
  return plain;
}

/** Text with matches near and far, and bytes without any. */
function sample(bytes: number): Buffer {
  const words = Array.from({ length: 300 }, () => randomBytes(6).toString('hex'));
  const parts: Buffer[] = [];
  let length = 0;
  while (length < bytes) {
    const part =
      Math.random() < 0.1
        ? randomBytes(900)
        : Buffer.from(Array.from({ length: 60 }, () => words[Math.floor(Math.random() * 300)]).join(' '));
    parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts).subarray(0, bytes);
}

describe('a checkpoint index', () => {
  test.each([
    ['at the usual level', (plain: Buffer) => gzipSync(plain)],
    ['fast', (plain: Buffer) => gzipSync(plain, { level: 1 })],
    ['stored', (plain: Buffer) => gzipSync(plain, { level: 0 })],
    ['with fixed codes', (plain: Buffer) => gzipSync(plain, { strategy: constants.Z_FIXED, memLevel: 1 })],
    ['in small blocks', (plain: Buffer) => gzipSync(plain, { memLevel: 1, level: 9 })],
    [
      'in several members',
      (plain: Buffer) =>
        Buffer.concat(
          [0, 1, 2].map((part) =>
            gzipSync(plain.subarray((part * plain.length) / 3, ((part + 1) * plain.length) / 3)),
          ),
        ),
    ],
    [
      'with an empty member and padding',
      (plain: Buffer) => Buffer.concat([gzipSync(NONE), gzipSync(plain), gzipSync(NONE), Buffer.alloc(700)]),
    ],
    [
      'with a name in its header',
      (plain: Buffer) => {
        const gz = gzipSync(plain);
        const head = Buffer.from(gz.subarray(0, 10));
        head[3] = 8;
        return Buffer.concat([head, Buffer.from('layer.tar\0'), gz.subarray(10)]);
      },
    ],
  ])('lets each span of gzip data be decompressed alone: %s', async (_, compress) => {
    const plain = sample(600_000 - (600_000 % 3));
    const blob = compress(plain);
    const index = made(blob);
    expect(Buffer.concat(await spansOf(index, blob)).equals(plain)).toBe(true);
    expect(index.plainBytes).toBe(plain.length);
    expect(index.spans.length).toBeGreaterThan(1);
    const again = decodeIndex(encodeIndex(index), 'a layer');
    expect(again.spans).toEqual(index.spans);
    expect(again).toMatchObject({
      compression: 'gzip',
      blobBytes: blob.length,
      windowsBytes: index.windows.length,
    });
  });

  test('of a plain layer needs no windows', async () => {
    const blob = sample(100_001);
    const index = made(blob, 'none');
    expect(index.windows.length).toBe(0);
    expect(Buffer.concat(await spansOf(index, blob)).equals(blob)).toBe(true);
    expect(decodeIndex(encodeIndex(index), 'a layer').spans.length).toBe(6);
  });

  test('of nothing has no spans', () => {
    expect(made(gzipSync(NONE)).spans).toEqual([]);
    expect(decodeIndex(encodeIndex(made(gzipSync(NONE))), 'a layer').plainBytes).toBe(0);
  });

  test('is not made of damaged data, nor of more than is allowed', () => {
    const blob = gzipSync(sample(100_000));
    expect(() => made(blob.subarray(0, blob.length >> 1))).toThrow(
      expect.objectContaining({ code: 'EBADTAR' }),
    );
    const damaged = Buffer.from(blob);
    damaged.fill(0xff, blob.length >> 1, (blob.length >> 1) + 100);
    expect(() => made(damaged)).toThrow(expect.objectContaining({ code: 'EBADTAR' }));
    const file = join(directory, 'bomb');
    writeFileSync(file, gzipSync(Buffer.alloc(1 << 20)));
    const fd = openSync(file, 'r');
    expect(() =>
      makeCheckpoints(
        { fd, offset: 0, sizeBytes: gzipSync(Buffer.alloc(1 << 20)).length, name: 'b' },
        'gzip',
        1000,
      ),
    ).toThrow(expect.objectContaining({ code: 'ELIMIT' }));
    closeSync(fd);
  });

  test('notices bytes and windows that are not what it was made of', async () => {
    const plain = sample(200_000);
    const blob = gzipSync(plain);
    const index = made(blob);
    const wrong = Buffer.from(blob);
    wrong[wrong.length >> 1]! ^= 1;
    await expect(spansOf(index, wrong)).rejects.toMatchObject({
      code: expect.stringMatching(/EDIGEST|EBADTAR/) as string,
    });
    const window = deflateRawSync(Buffer.alloc(32768, 7));
    const span = { ...index.spans.at(-1)!, windowOffset: 0, windowLength: window.length };
    await expect(
      spansOf(
        {
          ...index,
          spans: [...index.spans.slice(0, -1), span],
          windows: window,
          windowsBytes: window.length,
        },
        blob,
      ),
    ).rejects.toMatchObject({ code: expect.stringMatching(/EDIGEST|EBADTAR/) as string });
    expect(() => unpackWindow(deflateRawSync(Buffer.alloc(1 << 20)), 'x')).toThrow(
      expect.objectContaining({ code: 'EBADTAR' }),
    );
  });

  test('that lies about places, lengths or versions is refused', () => {
    const index = made(gzipSync(sample(100_000)));
    const file = gunzipSync(encodeIndex(index));
    const refused = (change: (bytes: Buffer) => Buffer | void, code = 'EBADLAYER'): void => {
      const copy = Buffer.from(file);
      const changed = change(copy) ?? copy;
      expect(() => decodeIndex(gzipSync(changed), 'a layer')).toThrow(expect.objectContaining({ code }));
    };
    expect(() => decodeIndex(file, 'a layer')).toThrow(expect.objectContaining({ code: 'EBADLAYER' }));
    refused((bytes) => void bytes.write('X'));
    refused((bytes) => void bytes.writeUInt32LE(2, 8));
    refused((bytes) => void bytes.writeUInt32LE(7, 12));
    refused((bytes) => bytes.subarray(0, bytes.length - 1));
    refused((bytes) => bytes.subarray(0, 40));
    refused((bytes) => void bytes.writeUInt32LE(0xffffffff, 40), 'ELIMIT');
    refused((bytes) => void bytes.writeUInt32LE(9, 40));
    refused((bytes) => void bytes.writeBigUInt64LE(2n ** 62n, 24));
    // A span that does not begin where the one before it ends; outside the blob; longer than may be held in memory; its window outside.
    refused((bytes) => void bytes.writeBigUInt64LE(1n, 64));
    refused((bytes) => void bytes.writeBigUInt64LE(0n, 64 + 64));
    refused((bytes) => void bytes.writeBigUInt64LE(2n ** 40n, 64 + 64 + 8));
    refused((bytes) => void bytes.writeBigUInt64LE(BigInt(index.plainBytes) + 2n ** 40n, 24));
    refused((bytes) => void bytes.writeBigUInt64LE(2n ** 40n, 64 + 64 + 16));
    refused((bytes) => void bytes.writeUInt32LE(1 << 20, 64 + 64 + 24));
    // Fewer bytes than the spans take.
    refused((bytes) => void bytes.writeBigUInt64LE(5n, 16));
    refused((bytes) => void bytes.writeUInt32LE(0, 12));
  });
});
