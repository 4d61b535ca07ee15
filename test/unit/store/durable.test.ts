/** Which directories are synced, and before what: a name that is not on the disk is lost with the power. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TestStore } from '../../helpers/store.js';

const { synced } = vi.hoisted(() => ({ synced: [] as string[] }));
vi.mock('../../../src/store/files.js', async (original) => {
  const files = await original<typeof import('../../../src/store/files.js')>();
  return {
    ...files,
    syncDirectory: (directory: string) => {
      synced.push(directory);
      files.syncDirectory(directory);
    },
    replaceFileSync: (...args: Parameters<typeof files.replaceFileSync>) => {
      files.replaceFileSync(...args);
      synced.push(args[0]);
    },
  };
});

describe('what is on the disk before the index says so', () => {
  let it: TestStore;
  beforeEach(() => {
    it = new TestStore();
    synced.length = 0;
  });
  afterEach(() => it.remove());

  test('a new store: the way to its blobs, then their names, then the index', async () => {
    await it.load(['one'], ['one:1']);
    const index = synced.lastIndexOf(join(it.root, 'index.json'));
    for (const directory of [dirname(it.root), join(it.root, 'blobs'), join(it.root, 'blobs/sha256')]) {
      const at = synced.indexOf(directory);
      expect([directory, at >= 0 && at < index]).toEqual([directory, true]);
    }
  });

  test('a blob that was there already, whose writer may have been killed before its name was synced', async () => {
    const built = await it.load(['one'], ['one:1']);
    const { digest } = it.store.snapshot().byId(built.imageId)!.manifest.layers[0]!;
    const staging = await it.store.stage();
    try {
      staging.rely(digest, async () => {});
      synced.length = 0;
      await it.store.update(() => {}, staging);
      expect(synced).toContain(join(it.root, 'blobs/sha256'));
    } finally {
      staging.dispose();
    }
  });

  test('another algorithm: its directory is new, and so is its name', async () => {
    await it.load(['one'], ['one:1']);
    const staging = await it.store.stage();
    try {
      const file = join(it.root, 'tmp/whole');
      writeFileSync(file, 'x');
      staging.adopt(`sha512:${'0'.repeat(128)}`, file);
      synced.length = 0;
      await it.store.update(() => {}, staging);
      expect(synced).toEqual(expect.arrayContaining([join(it.root, 'blobs'), join(it.root, 'blobs/sha512')]));
    } finally {
      staging.dispose();
    }
  });
});
