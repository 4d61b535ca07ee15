/** How names and IDs find images: as docker does (moby daemon/images/image.go, GetImage). */
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BuiltImage } from '../../helpers/archive-builder.js';
import { hexOf } from '../../helpers/archive-builder.js';
import { TestStore } from '../../helpers/store.js';

describe('a snapshot of the store', () => {
  let it: TestStore;
  let built: BuiltImage;
  beforeEach(async () => {
    it = new TestStore();
    built = await it.load(['one'], ['base:1', 'base:latest']);
  });
  afterEach(() => it.remove());

  const found = (text: string): string | undefined => it.store.snapshot().find(text)?.image.imageId;
  const manifest = (): string => it.store.snapshot().images[0]!.descriptor.digest;

  test('finds an image by every name that docker takes', () => {
    const hex = hexOf(built.imageId);
    for (const text of [
      'base',
      'base:1',
      'docker.io/library/base:1',
      'index.docker.io/library/base',
      `base@${manifest()}`,
      `base:1@${manifest()}`,
      built.imageId,
      hex,
      hex.slice(0, 12),
      hex.slice(0, 1),
      `sha256:${hex.slice(0, 5)}`,
    ])
      expect([text, found(text)]).toEqual([text, built.imageId]);
  });

  test.each(['base:2', 'other', 'example.org/base', 'base/base', '0'.repeat(64), 'Base', '', 'sha256:'])(
    'finds nothing for %j',
    (text) => expect(found(text)).toBeUndefined(),
  );

  test('does not find by the digest of one image under the name of another', async () => {
    const other = await it.load(['two'], ['other:1']);
    expect(found(`base@${manifest()}`)).toBe(built.imageId);
    expect(found(`other@${manifest()}`)).toBeUndefined();
    expect(found('other:1')).toBe(other.imageId);
    expect(found(`base:2@${manifest()}`)).toBeUndefined();
  });

  test('prefers a name to an ID that begins so, and a whole ID to a name', async () => {
    const word = hexOf(built.imageId).slice(0, 4);
    const named = await it.load(['two'], [`${word}:latest`]);
    expect(found(word)).toBe(named.imageId);
    expect(found(`sha256:${word}`)).toBe(built.imageId);
    expect(found(hexOf(built.imageId))).toBe(built.imageId);
  });

  test('takes no beginning that several IDs have', async () => {
    // Of seventeen IDs two begin with the same digit.
    const ids = [built.imageId];
    for (let count = 0; count < 16; count++)
      ids.push((await it.load(['one'], null, { author: String(count) })).imageId);
    const digits = ids.map((id) => hexOf(id)[0]!);
    const twice = digits.find((digit, index) => digits.indexOf(digit) !== index)!;
    expect(() => found(twice)).toThrow(`multiple IDs found with provided prefix: "${twice}"`);
  });

  test("says in docker's words that there is none", () => {
    const { store } = it;
    expect(() => store.snapshot().get('nothing')).toThrow('No such image: nothing:latest');
    expect(() => store.snapshot().get('docker.io/library/nothing:2')).toThrow('No such image: nothing:2');
  });

  test('is not changed by what happens to the index afterwards', async () => {
    const before = it.store.snapshot();
    await it.load(['two'], ['base:1']);
    expect(before.get('base:1').image.imageId).toBe(built.imageId);
    expect(found('base:1')).not.toBe(built.imageId);
  });

  test('shows an image that cannot be read as damaged, and the others as they are', async () => {
    const other = await it.load(['two'], ['other:1']);
    const { digest } = it.store.snapshot().get('base:1').image.descriptor;
    rmSync(it.store.blobs.pathOf(digest));
    rmSync(`${it.root}/summaries.json`);
    const snapshot = it.store.snapshot();
    expect(snapshot.images.map(({ imageId }) => imageId)).toEqual([other.imageId]);
    expect(snapshot.damaged.map(({ error }) => error.code)).toEqual(['EBLOB', 'EBLOB']);
    expect(() => snapshot.get('base:1')).toThrow(expect.objectContaining({ code: 'EBLOB' }) as Error);
  });
});
