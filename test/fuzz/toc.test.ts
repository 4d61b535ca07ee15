/** Damaged TOC files: the reader may refuse them, and only by its own errors, whatever byte was changed. */
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { LaminaError } from '../../src/errors.js';
import { encodeToc } from '../../src/merge/encode.js';
import { mergeLayers } from '../../src/merge/merge.js';
import { decodeTree, TocReader } from '../../src/merge/toc-reader.js';
import { indexSources, withSources } from '../helpers/merged-dump.js';
import { chardev, dir, file, hardlink, layerTar, symlink } from '../helpers/stack.js';

const COUNT = Number(process.env.LAMINA_FUZZ_COUNT ?? 3000);
const SEED = Number(process.env.LAMINA_FUZZ_SEED ?? 20260101);

/** mulberry32: small, seeded, good enough to choose bytes with. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function sample(): Promise<Buffer> {
  const tars = [
    [
      dir('etc', { xattrs: [['user.a', 'b']] }),
      file('etc/passwd', 'root'),
      hardlink('etc/link', 'etc/passwd'),
      symlink('bin', 'usr/bin'),
      chardev('dev', [5, 1]),
    ],
    [file('usr/bin/sh', 'x'.repeat(5000)), dir('usr'), dir('usr/bin')],
  ].map(layerTar);
  return withSources(tars, tmpdir(), (sources) => encodeToc(mergeLayers(indexSources(sources, tars))));
}

/** Reads everything that there is to read. */
function walk(toc: TocReader): void {
  for (let ino = 1; ino <= toc.inodeCount; ino++) {
    toc.inode(ino);
    toc.extents(ino);
    for (const entry of toc.entries(ino)) toc.lookup(ino, entry.name);
  }
  decodeTree(toc);
}

it(`refuses ${COUNT} damaged files by its own errors (seed ${SEED})`, async () => {
  const good = await sample();
  walk(new TocReader(good, 'good'));
  const next = random(SEED);
  let refused = 0;
  for (let round = 0; round < COUNT; round++) {
    const damaged = Buffer.from(next() < 0.1 ? good.subarray(0, Math.floor(next() * good.length)) : good);
    for (let changes = 1 + Math.floor(next() * 4); changes > 0 && damaged.length > 0; changes--) {
      damaged[Math.floor(next() * damaged.length)] = next() < 0.3 ? 0xff : Math.floor(next() * 256);
    }
    try {
      walk(new TocReader(damaged, 'damaged'));
    } catch (error) {
      if (!(error instanceof LaminaError)) throw new Error(`seed ${SEED}, round ${round}`, { cause: error });
      expect(['EBADTOC', 'ETOCVERSION']).toContain(error.code);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(COUNT / 10);
});

it('finds every change of one byte by the checksums', async () => {
  const good = await sample();
  await new TocReader(good, 'good').verifyChecksums();
  const next = random(SEED);
  for (let round = 0; round < 200; round++) {
    const damaged = Buffer.from(good);
    const at = Math.floor(next() * damaged.length);
    damaged[at] = damaged[at]! ^ (1 << Math.floor(next() * 8));
    const check = async (): Promise<void> => new TocReader(damaged, 'damaged').verifyChecksums();
    // The gaps between sections are in no checksum; FORMAT.md wants them zero, and nobody reads them.
    if (!isGap(good, at)) await expect(check(), `byte ${at}`).rejects.toMatchObject({ name: 'LaminaError' });
  }
});

function isGap(toc: Buffer, at: number): boolean {
  const headerBytes = toc.readUInt32LE(12);
  for (let entry = 64; entry < headerBytes; entry += 32) {
    const start = Number(toc.readBigUInt64LE(entry + 8));
    if (at >= start && at < start + Number(toc.readBigUInt64LE(entry + 16))) return false;
  }
  return at >= headerBytes;
}

it('refuses a newer version and an unknown feature', async () => {
  const newer = await sample();
  newer.writeUInt32LE(2, 8);
  expect(() => new TocReader(newer, 'newer')).toThrow(expect.objectContaining({ code: 'ETOCVERSION' }));
  const featured = await sample();
  featured.writeBigUInt64LE(1n << 40n, 16);
  expect(() => new TocReader(featured, 'featured')).toThrow(expect.objectContaining({ code: 'ETOCVERSION' }));
});
