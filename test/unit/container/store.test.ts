import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeLock, tryLockDirectory } from '../../../src/store/flock.js';
import { checkName, randomName } from '../../../src/container/names.js';
import { parseRecord } from '../../../src/store/container-record.js';
import { ContainerStore } from '../../../src/container/store.js';
import type { NewContainer } from '../../../src/container/store.js';
import { isLaminaBuilt } from '../../helpers/lamina.js';
import { requirement } from '../../helpers/require.js';

const CONTAINER: NewContainer = {
  image: {
    name: 'oci:x',
    transport: 'oci',
    path: '/x',
    reference: null,
    platform: 'linux/amd64',
    imageId: `sha256:${'0'.repeat(64)}`,
    diffIds: [],
  },
  userXattrs: false,
  command: ['/bin/sh'],
  labels: {},
};

let root: string;
let store: ContainerStore;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lamina-store-'));
  store = new ContainerStore(root);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What is there besides the lock. */
const directory = (): string[] => readdirSync(store.directory).filter((name) => name !== '.lock');

describe.skipIf(!requirement('the native server', isLaminaBuilt('native')))('the store of containers', () => {
  test('finds a container by name, ID and the beginning of it', async () => {
    const first = await store.create(CONTAINER, 'first');
    const second = await store.create(CONTAINER, undefined);
    expect(first.id).toMatch(/^[0-9a-f]{64}$/);
    expect(second.name).toMatch(/^[a-z]+_[a-z]+$/);
    expect((await store.list()).map(({ name }) => name)).toEqual([second.name, 'first']);
    for (const reference of ['first', '/first', first.id, first.id.slice(0, 12)])
      expect((await store.get(reference)).id).toBe(first.id);
    await expect(store.get('none')).rejects.toMatchObject({
      code: 'ENOCONTAINER',
      message: 'No such container: none',
    });
    expect(readdirSync(join(store.directory, first.id)).sort()).toEqual(['container.json', 'upper', 'work']);
  });

  test('gives no name twice, however many ask at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => store.create(CONTAINER, 'one')));
    const made = results.filter(({ status }) => status === 'fulfilled');
    expect(made).toHaveLength(1);
    const [existing] = await store.list();
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      expect(result.reason).toMatchObject({
        code: 'ENAME',
        message: `Conflict. The container name "/one" is already in use by container "${existing!.id}". You have to remove (or rename) that container to be able to reuse that name.`,
      });
    }
    expect(directory()).toEqual([existing!.id]);
  });

  test('renames', async () => {
    const { id } = await store.create(CONTAINER, 'before');
    await store.create(CONTAINER, 'other');
    await expect(store.rename('before', 'other')).rejects.toMatchObject({ code: 'ENAME' });
    await expect(store.rename('before', 'before')).rejects.toMatchObject({ code: 'ENAME' });
    await store.rename('before', 'after');
    expect((await store.get('after')).id).toBe(id);
    expect(await store.find('before')).toBeUndefined();
  });

  test('leaves nothing of a container that could not be made', async () => {
    const failing = store.create(CONTAINER, 'xx', () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(directory()).toEqual([]);
  });

  test('clears away what a killed process left, and nothing of one that lives', async () => {
    mkdirSync(store.directory, { recursive: true });
    const child = spawn('sleep', ['60']);
    const [dead, alive] = ['.tmp-999999999-a', `.tmp-${child.pid}-b`];
    for (const name of [dead, alive]) mkdirSync(join(store.directory, name));
    await store.create(CONTAINER, 'xx');
    expect(directory()).toContain(alive);
    expect(directory()).not.toContain(dead);
    child.kill();
  });

  test('removes, but not what is in use', async () => {
    const record = await store.create(CONTAINER, 'xx');
    const held = await tryLockDirectory(store.workOf(record));
    expect(await store.isMounted(record)).toBe(true);
    await expect(store.remove(record)).rejects.toMatchObject({ code: 'EINUSE' });
    held!.release();
    expect(await store.isMounted(record)).toBe(false);
    await store.remove(record);
    expect(directory()).toEqual([]);
  });

  test('says which record is damaged, and goes on with the others', async () => {
    const { id } = await store.create(CONTAINER, 'xx');
    const other = await store.create(CONTAINER, 'other');
    const file = join(store.directory, id, 'container.json');
    const whole = readFileSync(file, 'utf8');
    const damaged = { code: 'EIO', message: expect.stringContaining(file) };
    for (const text of ['', '{', 'null', '[]', '{}', whole.replace('"id"', '"ID"')]) {
      writeFileSync(file, text);
      expect(await store.list()).toEqual([other]);
      expect(await store.damaged()).toMatchObject([{ id, error: damaged }]);
      await expect(store.get(id.slice(0, 20))).rejects.toMatchObject(damaged);
    }
    await store.remove((await store.damaged())[0]!);
    expect(directory()).toEqual([other.id]);
    expect(() => parseRecord(whole.replace('"version": 1', '"version": 2'), file)).toThrow('newer');
  });
});

describe('a lock', () => {
  test('dies with its process', async () => {
    const file = join(root, 'lock');
    const held = await takeLock(file);
    let isTaken = false;
    const waiting = takeLock(file).then((lock) => {
      isTaken = true;
      return lock;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isTaken).toBe(false);
    held.release();
    (await waiting).release();

    // flock(1) holds it until it is killed.
    const child = spawn('flock', [file, 'sleep', '60'], { detached: true });
    while (await isFree(file)) await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(-child.pid!, 'SIGKILL');
    (await takeLock(file)).release();
  });
});

async function isFree(file: string): Promise<boolean> {
  const { spawnSync } = await import('node:child_process');
  return spawnSync('flock', ['-n', file, 'true']).status === 0;
}

test('names are what docker allows', () => {
  for (const name of ['ab', 'a.b-c_d', 'A1', '/ab']) expect(checkName(name)).toBe(name.replace('/', ''));
  for (const name of ['', 'a', '-ab', 'a b', 'a/b', '..', 'ab\n', 'caf\u00e9'])
    expect(() => checkName(name)).toThrow(expect.objectContaining({ code: 'EUSAGE' }));
  expect(new Set(Array.from({ length: 50 }, randomName)).size).toBeGreaterThan(40);
});
