/** Layers of any size are decompressed as they are read: neither what is stored nor what comes out is ever held whole. */
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { inflateStream } from '../../../src/layer/compression.js';

const SIZE = 64 << 20;
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-zstd-'));
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

/** A frame of raw blocks, with a window of 2 MiB (RFC 8878, 3.1.1). */
function rawZstd(plain: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58])];
  const block = 128 << 10;
  for (let position = 0; position < plain.length; position += block) {
    const bytes = plain.subarray(position, position + block);
    const isLast = position + block >= plain.length;
    const header = Buffer.alloc(3);
    header.writeUIntLE((bytes.length << 3) | (isLast ? 1 : 0), 0, 3);
    parts.push(header, bytes);
  }
  return Buffer.concat(parts);
}

test.each([
  ['zstd', rawZstd],
  ['gzip', (plain: Buffer) => gzipSync(plain, { level: 0 })],
] as const)('%s', async (compression, compress) => {
  const plain = Buffer.alloc(SIZE);
  for (let position = 0; position < SIZE; position += 4096) plain.writeUInt32LE(position, position);
  const file = join(base, 'layer');
  writeFileSync(file, compress(plain));
  const fd = openSync(file, 'r');
  try {
    let stored = 0;
    let ahead = 0;
    let largest = 0;
    let out = 0;
    const hash = createHash('sha256');
    const source = { fd, offset: 0, sizeBytes: compress(plain).length, name: file };
    const stream = await inflateStream(compression, source, (chunk) => (stored += chunk.length));
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk);
      out += chunk.length;
      ahead = Math.max(ahead, stored - out);
      largest = Math.max(largest, chunk.length);
    }
    expect(hash.digest('hex')).toBe(createHash('sha256').update(plain).digest('hex'));
    // Raw blocks: what is read and what comes out are of one size.
    expect(ahead).toBeLessThan(8 << 20);
    expect(largest).toBeLessThan(4 << 20);
  } finally {
    closeSync(fd);
  }
});
