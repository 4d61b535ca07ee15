/**
 * The cases that write: first on a plain directory (is the case right?), then on kernel overlayfs (is it how a union behaves?),
 * then on ours, with FUSE over io_uring and without. Each case has a kit of its own in one mount that all share.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isWritableServerBuilt } from '../helpers/drop-in.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import type { Case, SubjectName } from './case.js';
import { attributeCases } from './cases/write/attributes.js';
import { contentCases } from './cases/write/content.js';
import { createCases } from './cases/write/create.js';
import { directoryCases } from './cases/write/directories.js';
import { linkCases } from './cases/write/link.js';
import { lockCases } from './cases/write/locks.js';
import { mappingCases } from './cases/write/mapping.js';
import { programCases } from './cases/write/programs.js';
import { removeCases } from './cases/write/remove.js';
import { renameCases } from './cases/write/rename.js';
import { unlinkedCases } from './cases/write/unlinked.js';
import { writeXattrCases } from './cases/write/xattrs.js';
import { FUSE_NATIVE_WRITE_EXCEPTIONS } from './exceptions.js';
import type { WritableMount } from './writable-subjects.js';
import { KitTrees, dropIn, image, kernelOverlay, plainCopy } from './writable-subjects.js';

const GROUPS: Record<string, readonly Case[]> = {
  creating: createCases,
  removing: removeCases,
  renaming: renameCases,
  linking: linkCases,
  attributes: attributeCases,
  content: contentCases,
  mapping: mappingCases,
  unlinked: unlinkedCases,
  'extended attributes': writeXattrCases,
  directories: directoryCases,
  locks: lockCases,
  programs: programCases,
};
const CASES = Object.values(GROUPS).flat();
const PLACES = CASES.map((_, index) => `case-${index}`);

const capable = needs('root', 'command python3');
const hasOverlay = capable && needs('kernel overlayfs');
const hasServer =
  capable &&
  needs('/dev/fuse') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());
const hasImages = hasServer && requirement('`lamina mount --rw`', await image.isThere());
const hasPortable =
  capable &&
  needs('/dev/fuse') &&
  requirement('the built command with the fuse-native driver (npm run build)', isLaminaBuilt('fuse-native'));

type Subject = readonly [
  title: string,
  name: SubjectName,
  isPossible: boolean,
  mount: (trees: KitTrees) => Promise<WritableMount>,
];
const SUBJECTS: readonly Subject[] = [
  ['a plain directory', 'plain directory', capable, plainCopy],
  ['kernel overlayfs', 'kernel overlayfs', hasOverlay, kernelOverlay],
  ['lamina over directories', 'lamina directories', hasServer, (trees) => dropIn(trees, 'N')],
  ['lamina over directories, io_uring', 'lamina directories', hasServer, (trees) => dropIn(trees, 'Y')],
  ['lamina over an image', 'lamina image', hasImages, (trees) => image.mount(trees, 'N')],
  ['lamina over an image, io_uring', 'lamina image', hasImages, (trees) => image.mount(trees, 'Y')],
  [
    'lamina over an image, portable',
    'lamina fuse-native',
    hasPortable,
    (trees) => image.mount(trees, 'N', 'fuse-native'),
  ],
];

describe.skipIf(!capable)('a writable union', () => {
  let trees: KitTrees;
  let untouched: string;
  beforeAll(async () => {
    trees = await KitTrees.make(PLACES);
    untouched = await trees.lowerDump();
  });
  afterAll(() => trees?.close());

  describe.each(SUBJECTS)('%s', (_, subject, isPossible, mount) => {
    describe.skipIf(!isPossible)('is written to', () => {
      let mounted: WritableMount;
      beforeAll(async () => {
        mounted = await mount(trees);
      });
      afterAll(() => mounted?.close());

      for (const [group, cases] of Object.entries(GROUPS)) {
        describe(group, () => {
          for (const one of cases) {
            const dir = (): string => `${mounted.dir}/${PLACES[CASES.indexOf(one)]}`;
            const reason = one.except?.[subject] ?? writableException(subject, one);
            // Once more: a step of the machine's clock has shown times that stand still, on kernel overlayfs too.
            if (reason === undefined) test(one.name, { retry: 1 }, () => one.run({ dir: dir(), subject }));
            else
              test(`differs: ${one.name}: ${reason}`, () =>
                expect(one.run({ dir: dir(), subject })).rejects.toThrow());
          }
        });
      }

      test('what was written is there after a remount, with the same inode numbers', async () => {
        const before = (await dumpDirectory(mounted.dir)).split('\n');
        const inodes = await mounted.inodes();
        await mounted.remount();
        const after = (await dumpDirectory(mounted.dir)).split('\n');
        expect(after.filter((line, index) => line !== before[index]).slice(0, 20)).toEqual([]);
        expect(after.length).toBe(before.length);
        const changed = Object.entries(await mounted.inodes()).filter(([path, ino]) => inodes[path] !== ino);
        expect(changed.slice(0, 20)).toEqual([]);
      }, 240_000);
    });
  });

  test('the layers below are as they were', async () => {
    expect(await trees.lowerDump()).toBe(untouched);
  });

  test('every case has a name of its own', () => {
    expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
  });

  test('every exception of the portable driver names a case', () => {
    const names = CASES.map(({ name }) => name);
    expect(Object.keys(FUSE_NATIVE_WRITE_EXCEPTIONS).filter((name) => !names.includes(name))).toEqual([]);
  });
});

function writableException(subject: SubjectName, { name }: Case): string | undefined {
  return subject === 'lamina fuse-native' ? FUSE_NATIVE_WRITE_EXCEPTIONS[name] : undefined;
}
