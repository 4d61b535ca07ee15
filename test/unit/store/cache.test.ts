import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LayerBlob } from '../../../src/archive/image.js';
import { Cache, hashed, identityOf } from '../../../src/store/cache.js';
import { readWhole } from '../../../src/tar/source.js';
import type { ByteSource } from '../../../src/tar/source.js';
import { needs } from '../../helpers/require.js';

let directory: string;
let cache: Cache;
const open: number[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'lamina-cache-'));
  cache = await Cache.open(path.join(directory, 'root'));
});

afterEach(async () => {
  for (const fd of open.splice(0)) closeSync(fd);
  await rm(directory, { recursive: true, force: true });
});

function fileSource(name: string, content: Buffer): ByteSource {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  const fd = openSync(file, 'r');
  open.push(fd);
  return { fd, offset: 0, sizeBytes: statSync(file).size, name };
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function gzipLayer(plain: Buffer, changes: Partial<LayerBlob> = {}, stored = gzipSync(plain)): LayerBlob {
  const blob = fileSource('layer.tar.gz', stored);
  return {
    diffId: digestOf(plain),
    digest: digestOf(stored),
    mediaType: undefined,
    compression: 'gzip',
    blob,
    ...changes,
  };
}

/** Every file below the cache but its directories: what a failure may not leave behind. */
function filesInCache(): string[] {
  return readdirSync(cache.root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

const PLAIN = Buffer.alloc(3_000_000, 'lamina');

describe('an inflated layer', () => {
  it('is the plain tar, and is made once', async () => {
    const layer = gzipLayer(PLAIN);
    const first = await cache.inflatedLayer(layer, 1e9);
    open.push(first.fd);
    expect(readWhole(first).equals(PLAIN)).toBe(true);
    const made = statSync(path.join(cache.root, 'layers', layer.diffId.replace(':', '-'), 'data'));
    const second = await cache.inflatedLayer(layer, 1e9);
    open.push(second.fd);
    expect(statSync(path.join(cache.root, 'layers', layer.diffId.replace(':', '-'), 'data')).ino).toBe(
      made.ino,
    );
  });

  it('is made by one of several that ask at the same time', async () => {
    const layer = gzipLayer(PLAIN);
    let read = 0;
    const sources = await Promise.all(
      Array.from({ length: 5 }, () => cache.inflatedLayer(layer, 1e9, (bytes) => (read += bytes))),
    );
    open.push(...sources.map(({ fd }) => fd));
    expect(read).toBe(layer.blob.sizeBytes);
  });

  it.each([
    [
      'the diffId is another',
      (): LayerBlob => gzipLayer(PLAIN, { diffId: digestOf(Buffer.from('else')) }),
      1e9,
      'EDIGEST',
    ],
    [
      'the digest is another',
      (): LayerBlob => gzipLayer(PLAIN, { digest: digestOf(Buffer.from('else')) }),
      1e9,
      'EDIGEST',
    ],
    [
      'bytes trail that the digest does not promise',
      (): LayerBlob => {
        const stored = gzipSync(PLAIN);
        return gzipLayer(PLAIN, { digest: digestOf(stored) }, Buffer.concat([stored, Buffer.alloc(512)]));
      },
      1e9,
      'EDIGEST',
    ],
    [
      'it is cut short',
      (): LayerBlob => gzipLayer(PLAIN, {}, gzipSync(PLAIN).subarray(0, -20)),
      1e9,
      'EBADTAR',
    ],
    ['it is larger than the limit', (): LayerBlob => gzipLayer(PLAIN), PLAIN.length - 1, 'ELIMIT'],
    ['it is not gzip', (): LayerBlob => gzipLayer(PLAIN, {}, Buffer.from('not gzip at all')), 1e9, 'EBADTAR'],
    ['it is empty', (): LayerBlob => gzipLayer(PLAIN, {}, Buffer.alloc(0)), 1e9, 'EBADTAR'],
  ] as const)('is refused, leaving nothing, when %s', async (_what, make, limit, code) => {
    await expect(cache.inflatedLayer(make(), limit)).rejects.toMatchObject({ code });
    expect(filesInCache()).toEqual([]);
  });

  it.runIf(needs('command zstd'))('may be several zstd frames, among skippable ones', async () => {
    const zstd = (plain: Buffer<ArrayBuffer>) =>
      execFileSync('zstd', ['-qc'], { input: plain, maxBuffer: 1 << 26 });
    const skippable = Buffer.concat([Buffer.from('502a4d1803000000', 'hex'), Buffer.from('abc')]);
    const stored = Buffer.concat([
      skippable,
      zstd(PLAIN.subarray(0, 1_000_000)),
      skippable,
      zstd(PLAIN.subarray(1_000_000)),
      skippable,
    ]);
    const source = await cache.inflatedLayer(gzipLayer(PLAIN, { compression: 'zstd' }, stored), 1e9);
    open.push(source.fd);
    expect(readWhole(source).equals(PLAIN)).toBe(true);
    const damaged = Buffer.from(zstd(PLAIN));
    damaged.fill(0xff, 20, 40);
    for (const bad of [
      damaged,
      zstd(PLAIN).subarray(0, -3),
      Buffer.concat([stored, Buffer.from('trailing bytes')]),
    ]) {
      const layer = gzipLayer(PLAIN, { compression: 'zstd', diffId: digestOf(bad) }, bad);
      await expect(cache.inflatedLayer(layer, 1e9)).rejects.toMatchObject({ code: 'EBADTAR' });
    }
  });

  it('may be several gzip members', async () => {
    const stored = Buffer.concat([gzipSync(PLAIN.subarray(0, 1000)), gzipSync(PLAIN.subarray(1000))]);
    const source = await cache.inflatedLayer(gzipLayer(PLAIN, {}, stored), 1e9);
    open.push(source.fd);
    expect(readWhole(source).equals(PLAIN)).toBe(true);
  });
});

describe('a merged TOC', () => {
  it('is made once, also when several ask at the same time', async () => {
    let made = 0;
    const make = async (): Promise<Buffer> => {
      made++;
      await new Promise((resolve) => setTimeout(resolve, 20));
      return Buffer.from('toc');
    };
    const all = await Promise.all(Array.from({ length: 4 }, () => cache.chainToc('key', make)));
    expect(made).toBe(1);
    expect(new Set(all).size).toBe(1);
    expect(readFileSync(all[0]!, 'utf8')).toBe('toc');
  });

  it('that cannot be made leaves nothing, and the next may try', async () => {
    await expect(cache.chainToc('key', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(filesInCache()).toEqual([]);
    expect(readFileSync(await cache.chainToc('key', async () => Buffer.from('yes')), 'utf8')).toBe('yes');
  });
});

describe('the identity of a source', () => {
  it('changes with the content of the file, and with the range', async () => {
    const before = fileSource('a', Buffer.from('one'));
    const identity = identityOf(before);
    expect(identityOf(before)).toBe(identity);
    expect(identityOf({ ...before, offset: 1, sizeBytes: 2 })).not.toBe(identity);
    writeFileSync(path.join(directory, 'a'), 'two');
    expect(identityOf(before)).not.toBe(identity);
  });
});

it('forgets temporary files of processes that are gone, and of no others', async () => {
  const gone = path.join(cache.root, 'tmp', '4194303-left');
  const alive = path.join(cache.root, 'tmp', `${process.pid}-mine`);
  writeFileSync(gone, '');
  writeFileSync(alive, '');
  await Cache.open(cache.root);
  expect(readdirSync(path.join(cache.root, 'tmp'))).toEqual([`${process.pid}-mine`]);
});

it('remembers what was verified', async () => {
  const key = hashed(['a layer']);
  expect(await cache.isVerified(key)).toBe(false);
  await cache.markVerified(key);
  expect(await cache.isVerified(key)).toBe(true);
});
