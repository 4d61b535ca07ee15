/**
 * The conformance cases, first on a plain directory (is the case right?), then on kernel overlayfs (is it how a union
 * behaves?), then on our drivers. A case that a subject cannot pass names the reason.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Driver } from '../helpers/lamina.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import type { Case, SubjectName } from './case.js';
import { lifeCases } from './cases/life.js';
import { lookupCases } from './cases/lookup.js';
import { permissionCases } from './cases/permissions.js';
import { readCases } from './cases/read.js';
import { readdirCases } from './cases/readdir.js';
import { readonlyCases } from './cases/readonly.js';
import { statCases } from './cases/stat.js';
import { xattrCases } from './cases/xattr.js';
import { FUSE_NATIVE_EXCEPTIONS } from './exceptions.js';
import type { Mounted } from './subjects.js';
import { kernelOverlay, lamina, plainDirectory } from './subjects.js';

const GROUPS: Record<string, readonly Case[]> = {
  names: lookupCases,
  attributes: statCases,
  directories: readdirCases,
  content: readCases,
  'extended attributes': xattrCases,
  'read-only': readonlyCases,
  permissions: permissionCases,
};

const capable = needs('root', 'command python3', 'command getfacl');
const hasFuse = capable && needs('/dev/fuse');
const can = (driver: Driver): boolean =>
  hasFuse &&
  requirement(`the built command with the ${driver} driver (npm run build)`, isLaminaBuilt(driver));
const DRIVERS = [
  ['native', can('native')],
  ['fuse-native', can('fuse-native')],
] as const;

const SUBJECTS: readonly [SubjectName, boolean, () => Promise<Mounted>][] = [
  ['plain directory', capable, plainDirectory],
  ['kernel overlayfs', capable && needs('kernel overlayfs'), kernelOverlay],
  ...DRIVERS.map(([driver, isPossible]): [SubjectName, boolean, () => Promise<Mounted>] => [
    `lamina ${driver}`,
    isPossible,
    () => lamina(driver),
  ]),
];

describe.each(SUBJECTS)('%s', (subject, isPossible, mount) => {
  describe.skipIf(!isPossible)('holds the image', () => {
    let mounted: Mounted;
    beforeAll(async () => {
      mounted = await mount();
    });
    afterAll(() => mounted?.close());

    for (const [group, cases] of Object.entries(GROUPS)) {
      describe(group, () => {
        for (const one of cases) {
          const reason = one.except?.[subject] ?? exception(subject, one);
          if (reason === undefined) test(one.name, () => one.run(mounted.context));
          else
            test(`differs: ${one.name}: ${reason}`, () => expect(one.run(mounted.context)).rejects.toThrow());
        }
      });
    }
  });
});

describe.each(DRIVERS)('the life of a mount by %s', (driver, isPossible) => {
  for (const { name, run } of lifeCases) test.skipIf(!isPossible)(name, () => run(driver));
});

test('every exception names a case', () => {
  const names = Object.values(GROUPS).flatMap((cases) => cases.map(({ name }) => name));
  expect(new Set(names).size).toBe(names.length);
  expect(Object.keys(FUSE_NATIVE_EXCEPTIONS).filter((name) => !names.includes(name))).toEqual([]);
});

function exception(subject: SubjectName, { name }: Case): string | undefined {
  return subject === 'lamina fuse-native' ? FUSE_NATIVE_EXCEPTIONS[name] : undefined;
}
