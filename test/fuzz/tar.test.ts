/**
 * Damaged tars: whatever bytes come, the scanner ends soon, holds little, and raises nothing but LaminaError with one of two
 * codes. Seeds are the sound and the hostile tars of the unit tests; LAMINA_FUZZ_COUNT says how many mutants, and
 * LAMINA_FUZZ_SEED repeats one run. A failure names the seed and the number of the mutant, and keeps its bytes.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LaminaError } from '../../src/errors.js';
import { scanTar, type TarEntry } from '../../src/tar/scan.js';
import { HOSTILE_TARS, SOUND_TARS } from '../unit/tar/hostile.js';

const COUNT = Number(process.env['LAMINA_FUZZ_COUNT'] ?? 5000);
const SEED = Number(process.env['LAMINA_FUZZ_SEED'] ?? 20_240_229);
/** No mutant is larger, so that none can excuse itself with its size. */
const MAX_BYTES = 64 * 1024;
const MAX_MS = 2000;

const dir = mkdtempSync(join(tmpdir(), 'lamina-fuzz-tar-'));
const path = join(dir, 'mutant.tar');
const fd = openSync(path, 'w+');
afterAll(() => {
  closeSync(fd);
  rmSync(dir, { recursive: true, force: true });
});

type Random = (below: number) => number;

/** mulberry32: small, seeded, and good enough to choose bytes. */
function generator(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const INTERESTING = [
  '\0',
  '\xff',
  ' ',
  '-',
  '9',
  '777777777777',
  '\x80\0\0\0\0\0\0\0\0\0\x02\0',
  '\xff\xff\xff\xff',
  '\n',
  '=',
];
const TYPEFLAGS = '0123456789DSLKxgXVMNA\0Z';
const SEEDS = [...SOUND_TARS, ...HOSTILE_TARS.map((hostile) => hostile.tar)].map((bytes) =>
  bytes.subarray(0, MAX_BYTES),
);

/** Makes the checksum of the block at `at` right again, so that the damage gets past the first check. */
function repair(bytes: Buffer, at: number): void {
  bytes.fill(' ', at + 148, at + 156);
  let sum = 0;
  for (let index = at; index < at + 512; index++) sum += bytes[index]!;
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}

function mutate(random: Random): Buffer {
  let bytes = Buffer.from(SEEDS[random(SEEDS.length)]!);
  if (bytes.length === 0) return bytes;
  for (let round = random(4) + 1; round > 0 && bytes.length > 0; round--) {
    const block = random(Math.ceil(bytes.length / 512)) * 512;
    switch (random(8)) {
      case 0:
        bytes[random(bytes.length)] = random(256);
        break;
      case 1:
        bytes.write(INTERESTING[random(INTERESTING.length)]!, random(bytes.length), 'latin1');
        break;
      case 2: // The numbers and the typeflag of a header.
        bytes.write(
          INTERESTING[random(INTERESTING.length)]!,
          Math.min(block + 100 + random(60), bytes.length - 1),
          'latin1',
        );
        break;
      case 3:
        if (block + 156 < bytes.length)
          bytes.write(TYPEFLAGS[random(TYPEFLAGS.length)]!, block + 156, 'latin1');
        break;
      case 4: // Where sparse maps lie.
        bytes.write(
          INTERESTING[random(INTERESTING.length)]!,
          Math.min(block + 386 + random(120), bytes.length - 1),
          'latin1',
        );
        break;
      case 5: // A block again, or blocks of another tar.
        bytes = Buffer.concat([
          bytes.subarray(0, block),
          SEEDS[random(SEEDS.length)]!.subarray(0, 512 * (1 + random(6))),
          bytes.subarray(block),
        ]).subarray(0, MAX_BYTES);
        break;
      case 6:
        bytes = bytes.subarray(0, random(bytes.length + 1));
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, block), bytes.subarray(block + 512)]);
    }
    for (let at = 0; at + 512 <= bytes.length; at += 512)
      if (random(4) > 0 && looksLikeHeader(bytes, at)) repair(bytes, at);
  }
  return bytes;
}

function looksLikeHeader(bytes: Buffer, at: number): boolean {
  return bytes.toString('latin1', at + 257, at + 262) === 'ustar';
}

/** What must hold of an entry whatever the bytes were: later stages build on it. */
function checkEntry(entry: TarEntry, sizeBytes: number): void {
  const whole = [
    entry.headerOffset,
    entry.uid,
    entry.gid,
    entry.sizeBytes,
    entry.mtimeSec,
    entry.storedBytes,
  ];
  expect([...whole, entry.devMajor, entry.devMinor].every(Number.isSafeInteger)).toBe(true);
  expect(entry.mode >= 0 && entry.mode <= 0o7777 && entry.mtimeNsec >= 0 && entry.mtimeNsec < 1e9).toBe(true);
  expect(entry.dataOffset + entry.storedBytes).toBeLessThanOrEqual(sizeBytes);
  let end = 0;
  for (const run of entry.extents ?? []) {
    expect(run.logical >= end && run.length > 0 && run.offset >= entry.dataOffset).toBe(true);
    expect(run.offset + run.length).toBeLessThanOrEqual(entry.dataOffset + entry.storedBytes);
    end = run.logical + run.length;
  }
  expect(end).toBeLessThanOrEqual(entry.sizeBytes);
  if (entry.extents === undefined) expect(entry.sizeBytes).toBeLessThanOrEqual(entry.storedBytes);
  expect(entry.xattrs === undefined || entry.xattrs.length > 0).toBe(true);
}

test(`${COUNT} damaged tars, seed ${SEED}`, { timeout: 60_000 + COUNT * 5 }, () => {
  const random = generator(SEED);
  const outcomes = { listed: 0, EBADTAR: 0, ELIMIT: 0 };
  const before = process.memoryUsage().heapUsed;
  for (let number = 0; number < COUNT; number++) {
    const bytes = mutate(random);
    writeSync(fd, bytes, 0, bytes.length, 0);
    const start = performance.now();
    try {
      try {
        // The file may be longer than the mutant: the source says where it ends.
        for (const entry of scanTar({ fd, offset: 0, sizeBytes: bytes.length, name: 'mutant' }))
          checkEntry(entry, bytes.length);
        outcomes.listed++;
      } catch (error) {
        if (!(error instanceof LaminaError) || (error.code !== 'EBADTAR' && error.code !== 'ELIMIT'))
          throw error;
        expect(error.offset).toBeGreaterThanOrEqual(0);
        expect(error.offset).toBeLessThanOrEqual(bytes.length);
        outcomes[error.code]++;
      }
      expect(performance.now() - start).toBeLessThan(MAX_MS);
    } catch (error) {
      const kept = join(tmpdir(), `lamina-fuzz-tar-${SEED}-${number}.tar`);
      writeFileSync(kept, bytes);
      throw new Error(`mutant ${number} of seed ${SEED}, kept as ${kept}: ${String(error)}`, {
        cause: error,
      });
    }
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(256 * 1024 * 1024);
  // A fuzzer whose mutants are all refused at the first block, or none, tests nothing.
  expect(outcomes.listed).toBeGreaterThan(COUNT / 20);
  expect(outcomes.EBADTAR).toBeGreaterThan(COUNT / 20);
});
