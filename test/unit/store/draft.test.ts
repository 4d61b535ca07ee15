/** What changes of the index leave: names move, an image that loses its last one stays without, and killing changes nothing. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatReference, parseReference } from '../../../src/oci/reference.js';
import type { Draft } from '../../../src/store/image-store.js';
import { TestStore } from '../../helpers/store.js';

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

describe('a change of the index', () => {
  let it: TestStore;
  beforeEach(() => (it = new TestStore()));
  afterEach(() => it.remove());

  const entry = (letter: string, name?: string, parent?: string): Parameters<Draft['add']>[0] => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: digest(letter),
    sizeBytes: 1,
    platform: undefined,
    ...(name === undefined ? {} : { name: parseReference(name) }),
    ...(parent === undefined ? {} : { parent }),
  });
  const add = (...adding: Parameters<typeof entry>): Promise<unknown> =>
    it.store.update((draft) => draft.add(entry(...adding))?.descriptor.digest);
  const shown = (): string[] =>
    it.store
      .snapshot()
      .entries.map(({ descriptor, name }) => `${descriptor.digest[7]} ${name && formatReference(name)}`)
      .sort();

  test('gives an image several names', async () => {
    await add('a', 'x:1');
    await add('a', 'y:1');
    expect(shown()).toEqual(['a docker.io/library/x:1', 'a docker.io/library/y:1']);
  });

  test('moves a name, and keeps who had it', async () => {
    await add('a', 'x:1');
    expect(await add('b', 'x:1')).toBe(digest('a'));
    expect(shown()).toEqual(['a undefined', 'b docker.io/library/x:1']);
  });

  test('keeps no entry without a name of an image that has another', async () => {
    await add('a', 'x:1');
    await add('a', 'y:1');
    await add('b', 'x:1');
    expect(shown()).toEqual(['a docker.io/library/y:1', 'b docker.io/library/x:1']);
  });

  test('changes nothing when an image gets a name that it has', async () => {
    await add('a', 'x:1');
    const before = readFileSync(`${it.root}/index.json`);
    expect(await add('a', 'x:1')).toBeUndefined();
    expect(readFileSync(`${it.root}/index.json`)).toEqual(before);
  });

  test('adds an image without a name once, and not beside a named one', async () => {
    await add('a');
    await add('a');
    expect(shown()).toEqual(['a undefined']);
    await add('a', 'x:1');
    await add('a');
    expect(shown()).toEqual(['a docker.io/library/x:1']);
  });

  test('remembers what an image was made from through names given and taken', async () => {
    const parents = (): (string | undefined)[] => it.store.snapshot().entries.map(({ parent }) => parent);
    await add('a', undefined, digest('f'));
    await add('a', 'x:1');
    expect(parents()).toEqual([digest('f')]);
    await add('a', 'y:1');
    await it.store.update((draft) => draft.untag(parseReference('x:1')));
    await it.store.update((draft) => draft.untag(parseReference('y:1')));
    expect(shown()).toEqual(['a undefined']);
    expect(parents()).toEqual([digest('f')]);
  });

  test('takes out what is to be removed, and is no change when there is none', async () => {
    await add('a', 'x:1');
    await add('b', 'y:1');
    const remove = (letter: string): Promise<boolean> =>
      it.store.update((draft) => {
        draft.remove(({ descriptor }) => descriptor.digest === digest(letter));
        return draft.isChanged;
      });
    expect(await remove('c')).toBe(false);
    expect(await remove('a')).toBe(true);
    expect(shown()).toEqual(['b docker.io/library/y:1']);
  });

  test('that fails leaves the index as it was, and the lock free', async () => {
    await add('a', 'x:1');
    const failing = it.store.update((draft) => {
      draft.add(entry('b', 'x:1'));
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(shown()).toEqual(['a docker.io/library/x:1']);
    await add('b', 'y:1');
    expect(it.list('tmp')).toEqual([]);
  });

  test('is alone: none of many at once is lost', async () => {
    await Promise.all([...'abcdefabcdef'].map((letter, index) => add(letter, `name:${index}`)));
    expect(it.store.snapshot().entries).toHaveLength(12);
  });
});
