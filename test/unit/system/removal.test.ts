/** What goes when images are removed: docker's rules and words, read from moby's daemon/images/image_delete.go. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseReference } from '../../../src/oci/reference.js';
import { Removal } from '../../../src/system/removal.js';
import type { RemovalRecord, RemoveOptions } from '../../../src/system/removal.js';
import type { ImageUse } from '../../../src/system/usage.js';
import { digestOf, hexOf } from '../../helpers/archive-builder.js';
import type { BuiltImage } from '../../helpers/archive-builder.js';
import { TestStore } from '../../helpers/store.js';

const CONTAINER = 'c'.repeat(64);

describe('removing an image', () => {
  let it: TestStore;
  let uses: ImageUse[];
  beforeEach(() => {
    it = new TestStore();
    uses = [];
  });
  afterEach(() => it.remove());

  const use = (image: BuiltImage, kind: ImageUse['kind']): void => {
    const by = kind === 'mount' ? '/mnt' : CONTAINER;
    uses.push({ imageId: image.imageId, kind, by, diffIds: image.layers.map(({ diffId }) => diffId) });
  };
  const removal = (): Removal => new Removal(it.store.snapshot(), uses);
  const remove = (text: string, options: RemoveOptions = {}): string[] =>
    removal().remove(text, options).map(line);
  const line = (record: RemovalRecord): string =>
    'untagged' in record ? `Untagged: ${record.untagged}` : `Deleted: ${record.deleted}`;
  const short = ({ imageId }: BuiltImage): string => hexOf(imageId).slice(0, 12);
  const manifest = (name: string): string => it.store.snapshot().get(name).image.descriptor.digest;
  /** image-spec config.md, Layer ChainID. */
  const chain = (image: BuiltImage, count: number): string =>
    image.layers
      .slice(0, count)
      .map(({ diffId }) => diffId)
      .reduce((below, diffId) => digestOf(Buffer.from(`${below} ${diffId}`)));

  async function pulled(name: string): Promise<string> {
    const entry = it.store.snapshot().get(name).image.entries[0]!;
    const reference = parseReference(`${name.split(':')[0]}@${entry.descriptor.digest}`);
    await it.store.update((draft) => {
      const { mediaType, digest, sizeBytes } = entry.descriptor;
      draft.add({ mediaType, digest, sizeBytes, platform: undefined, name: reference });
    });
    return `${name.split(':')[0]}@${entry.descriptor.digest}`;
  }

  test('by its only tag untags and deletes it, and its layers from the top', async () => {
    const image = await it.load(['a', 'b', 'c'], ['x:1']);
    expect(remove('x:1')).toEqual([
      'Untagged: x:1',
      `Deleted: ${image.imageId}`,
      ...[3, 2, 1].map((count) => `Deleted: ${chain(image, count)}`),
    ]);
  });

  test('by one of two tags only untags', async () => {
    await it.load(['a'], ['x:1', 'y:1']);
    expect(remove('x:1')).toEqual(['Untagged: x:1']);
  });

  test('names no layer that another image or a container still has', async () => {
    const image = await it.load(['a', 'b', 'c'], ['x:1']);
    await it.load(['a', 'other'], ['y:1']);
    expect(remove('x:1').slice(2)).toEqual([3, 2].map((count) => `Deleted: ${chain(image, count)}`));
    uses.push({
      imageId: digestOf(Buffer.from('removed by force')),
      kind: 'stopped',
      by: CONTAINER,
      diffIds: image.layers.slice(0, 2).map(({ diffId }) => diffId),
    });
    expect(remove('x:1').slice(2)).toEqual([`Deleted: ${chain(image, 3)}`]);
  });

  test('by ID takes the one tag, and refuses several unless it is forced', async () => {
    const image = await it.load(['a'], ['x:1']);
    expect(remove(short(image)).slice(0, 2)).toEqual(['Untagged: x:1', `Deleted: ${image.imageId}`]);
    await it.tag('x:1', 'y:1');
    expect(() => remove(short(image))).toThrow(
      `conflict: unable to delete ${short(image)} (must be forced) - image is referenced in multiple repositories`,
    );
    expect(remove(short(image), { isForced: true }).slice(0, 3)).toEqual([
      'Untagged: x:1',
      'Untagged: y:1',
      `Deleted: ${image.imageId}`,
    ]);
  });

  test('by ID refuses two tags of one repository as well', async () => {
    const image = await it.load(['a'], ['x:1', 'x:2']);
    expect(() => remove(short(image))).toThrow('image is referenced in multiple repositories');
  });

  test('by its last tag takes the digest of the repository along', async () => {
    const image = await it.load(['a'], ['x:1']);
    const digest = await pulled('x:1');
    expect(remove('x:1').slice(0, 3)).toEqual([
      'Untagged: x:1',
      `Untagged: ${digest}`,
      `Deleted: ${image.imageId}`,
    ]);
    await it.tag('x:1', 'x:2');
    expect(remove('x:1')).toEqual(['Untagged: x:1']);
    await it.tag('x:1', 'y:1');
    await it.store.update((draft) => draft.untag(parseReference('x:2')));
    expect(remove('x:1')).toEqual(['Untagged: x:1', `Untagged: ${digest}`]);
  });

  test('by digest takes that name, and by ID both names of one repository', async () => {
    const image = await it.load(['a'], ['x:1']);
    const digest = await pulled('x:1');
    expect(remove(digest)).toEqual([`Untagged: ${digest}`]);
    expect(remove(short(image)).slice(0, 3)).toEqual([
      'Untagged: x:1',
      `Untagged: ${digest}`,
      `Deleted: ${image.imageId}`,
    ]);
  });

  test('by digest untags a name that was loaded and has no digest of its own', async () => {
    const image = await it.load(['a'], ['x:1']);
    expect(remove(`x@${manifest('x:1')}`).slice(0, 2)).toEqual([
      'Untagged: x:1',
      `Deleted: ${image.imageId}`,
    ]);
  });

  test.each(['stopped', 'running'] as const)(
    'refuses the last tag while a %s container uses it',
    async (kind) => {
      const image = await it.load(['a'], ['x:1']);
      use(image, kind);
      expect(() => remove('x:1')).toThrow(
        `conflict: unable to remove repository reference "x:1" (must force) - container ${CONTAINER.slice(0, 12)} is using its referenced image ${short(image)}`,
      );
      await it.tag('x:1', 'y:1');
      expect(remove('x:1')).toEqual(['Untagged: x:1']);
    },
  );

  test('by force takes an image from under a stopped container, but not a running one', async () => {
    const image = await it.load(['a'], ['x:1']);
    use(image, 'stopped');
    expect(() => remove(short(image))).toThrow(
      `conflict: unable to delete ${short(image)} (must be forced) - image is being used by stopped container ${CONTAINER.slice(0, 12)}`,
    );
    // Its layer is the container's now.
    expect(remove(short(image), { isForced: true })).toEqual(['Untagged: x:1', `Deleted: ${image.imageId}`]);
    expect(remove('x:1', { isForced: true })).toEqual(['Untagged: x:1', `Deleted: ${image.imageId}`]);
    uses = [];
    use(image, 'running');
    expect(() => remove(short(image), { isForced: true })).toThrow(
      `conflict: unable to delete ${short(image)} (cannot be forced) - image is being used by running container ${CONTAINER.slice(0, 12)}`,
    );
    // By name the tag goes; that the image stays is not said.
    expect(remove('x:1', { isForced: true })).toEqual(['Untagged: x:1']);
  });

  test('refuses a mounted image unless it is forced', async () => {
    const image = await it.load(['a'], ['x:1']);
    use(image, 'mount');
    expect(() => remove('x:1')).toThrow(expect.objectContaining({ code: 'ECONFLICT' }) as Error);
    expect(() => remove(short(image))).toThrow(`(must be forced) - image is mounted on /mnt`);
    expect(remove(short(image), { isForced: true })).toContain(`Deleted: ${image.imageId}`);
  });

  test('refuses an image that another was made from, even by force', async () => {
    const parent = await it.load(['a'], ['x:1']);
    const child = await it.load(['a', 'b'], null);
    await it.adopt(child, parent);
    for (const isForced of [false, true])
      expect(() => remove(short(parent), { isForced })).toThrow(
        `conflict: unable to delete ${short(parent)} (cannot be forced) - image has dependent child images`,
      );
    expect(remove('x:1')).toEqual(['Untagged: x:1']);
  });

  test('takes parents that nothing needs along, as far as they have no name', async () => {
    const [a, b, c] = [
      await it.load(['a'], ['x:1']),
      await it.load(['a', 'b'], null),
      await it.load(['a', 'b', 'c'], null),
    ];
    await it.adopt(b, a);
    await it.adopt(c, b);
    expect(remove(short(c), { prunesParents: false })).toEqual([
      `Deleted: ${c.imageId}`,
      `Deleted: ${chain(c, 3)}`,
    ]);
    expect(remove(short(c))).toEqual([
      `Deleted: ${c.imageId}`,
      `Deleted: ${chain(c, 3)}`,
      `Deleted: ${b.imageId}`,
      `Deleted: ${chain(c, 2)}`,
    ]);
    use(b, 'stopped');
    expect(remove(short(c))).toEqual([`Deleted: ${c.imageId}`, `Deleted: ${chain(c, 3)}`]);
  });

  test('of what is not there says so', async () => {
    await it.load(['a'], ['x:1']);
    expect(() => remove('x:2')).toThrow('No such image: x:2');
    expect(() => remove('0'.repeat(12))).toThrow(`No such image: ${'0'.repeat(12)}`);
  });

  test('works out several removals, one after the other, and then does them', async () => {
    const one = await it.load(['a', 'b'], ['x:1']);
    await it.load(['a', 'c'], ['y:1']);
    await it.load(['d'], ['z:1']);
    const { store } = it;
    await store.update((draft) => {
      const both = new Removal(draft.before, []);
      both.remove('x:1');
      // The shared layer has lost its first user by now.
      expect(both.remove('y:1').map(line)).toContain(`Deleted: ${chain(one, 1)}`);
      expect(() => both.remove('x:1')).toThrow('No such image');
      both.apply(draft);
      draft.collectAfterwards();
    });
    expect(store.snapshot().images.map(({ tags }) => tags)).toEqual([['z:1']]);
    expect(it.list('blobs', 'sha256')).toHaveLength(3);
  });

  test('by pruning takes it with all names, and leaves quietly what is used', async () => {
    const image = await it.load(['a'], ['x:1', 'y:1']);
    const prune = (): string[] => removal().prune(it.store.snapshot().byId(image.imageId)!).map(line);
    expect(prune()).toEqual([
      'Untagged: x:1',
      'Untagged: y:1',
      `Deleted: ${image.imageId}`,
      `Deleted: ${chain(image, 1)}`,
    ]);
    for (const kind of ['running', 'stopped', 'mount'] as const) {
      uses = [];
      use(image, kind);
      expect(prune()).toEqual([]);
    }
  });
});
