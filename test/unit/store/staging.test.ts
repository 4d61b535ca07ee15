/** Content on its way in: verified before it has a name, and there when its image is, whatever was removed meanwhile. */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ByteSource } from '../../../src/tar/source.js';
import { digestOf } from '../../helpers/archive-builder.js';
import { TestStore } from '../../helpers/store.js';

describe('staging', () => {
  let it: TestStore;
  const open: number[] = [];
  beforeEach(() => (it = new TestStore()));
  afterEach(() => {
    for (const fd of open.splice(0)) closeSync(fd);
    it.remove();
  });

  function source(bytes: Buffer): ByteSource {
    const file = join(it.scratch.path, 'content');
    writeFileSync(file, Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]));
    const fd = openSync(file, 'r');
    open.push(fd);
    return { fd, offset: 6, sizeBytes: bytes.length, name: file };
  }

  // More than two chunks, and not a whole number of them.
  const CONTENT = Buffer.alloc((5 << 19) + 1, 'content');

  test.each(['sha256', 'sha512'])('copies a part of a file under its %s digest', async (algorithm) => {
    const staging = await it.store.stage();
    const digest = digestOf(CONTENT, algorithm);
    let copied = 0;
    expect(await staging.addSource(source(CONTENT), digest, (bytes) => (copied += bytes))).toEqual({
      digest,
      sizeBytes: CONTENT.length,
    });
    expect(copied).toBe(CONTENT.length);
    expect(it.store.blobs.has(digest)).toBe(false);
    expect(readFileSync(staging.fileOf(digest)).equals(CONTENT)).toBe(true);
    await it.store.update(() => {}, staging);
    staging.dispose();
    expect(readFileSync(it.store.blobs.pathOf(digest)).equals(CONTENT)).toBe(true);
    expect(it.list('tmp')).toEqual([]);
  });

  test('takes a digest from the content where none was promised', async () => {
    const staging = await it.store.stage();
    expect((await staging.addSource(source(CONTENT), undefined)).digest).toBe(digestOf(CONTENT));
    expect((await staging.addBytes(Buffer.from('{}'))).digest).toBe(digestOf(Buffer.from('{}')));
    staging.dispose();
    expect([it.list('tmp'), it.list('blobs', 'sha256')]).toEqual([[], []]);
  });

  test('refuses content that is not what was promised, or that ends early', async () => {
    const staging = await it.store.stage();
    const wrong = digestOf(Buffer.from('else'));
    await expect(staging.addSource(source(CONTENT), wrong)).rejects.toMatchObject({ code: 'EDIGEST' });
    const short = { ...source(CONTENT), sizeBytes: CONTENT.length + 100 };
    await expect(staging.addSource(short, digestOf(CONTENT))).rejects.toMatchObject({ code: 'EIO' });
    await it.store.update(() => {}, staging);
    staging.dispose();
    expect([it.list('tmp'), it.list('blobs', 'sha256')]).toEqual([[], []]);
  });

  test('copies nothing that is there, unless it is removed before the image comes', async () => {
    const digest = digestOf(CONTENT);
    const first = await it.store.stage();
    await first.addSource(source(CONTENT), digest);
    await it.store.update(() => {}, first);
    first.dispose();
    for (const isRemoved of [false, true]) {
      const staging = await it.store.stage();
      let copied = 0;
      const count = (bytes: number): number => (copied += bytes);
      await staging.addSource(source(CONTENT), digest, count);
      expect(staging.missing()).toEqual([]);
      if (isRemoved) rmSync(it.store.blobs.pathOf(digest));
      expect(staging.missing()).toEqual(isRemoved ? [digest] : []);
      await it.store.update(() => {}, staging, count);
      staging.dispose();
      expect(copied).toBe(isRemoved ? CONTENT.length : 0);
      expect(readFileSync(it.store.blobs.pathOf(digest)).equals(CONTENT)).toBe(true);
    }
  });

  test('copies anew what lies there with another length', async () => {
    const digest = digestOf(CONTENT);
    const first = await it.store.stage();
    await first.addSource(source(CONTENT), digest);
    await it.store.update(() => {}, first);
    writeFileSync(it.store.blobs.pathOf(digest), 'cut');
    const staging = await it.store.stage();
    await staging.addSource(source(CONTENT), digest);
    await it.store.update(() => {}, staging);
    expect(readFileSync(it.store.blobs.pathOf(digest)).equals(CONTENT)).toBe(true);
  });
});
