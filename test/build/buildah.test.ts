/**
 * Dockerfiles over every instruction, built by Lamina and by buildah: the same config and the same tree, but for differences that have a
 * name and a reason. A difference that is not there any more fails, so that the list stays true.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { hasBusybox } from '../helpers/busybox-root.js';
import { needs, requirement } from '../helpers/require.js';
import type { BuildCase } from './case.js';
import { CONFIG_CASES } from './cases/config.js';
import { COPY_CASES } from './cases/copy.js';
import { RUN_CASES } from './cases/run.js';
import { compare } from './compare.js';
import { SideBySide } from './side-by-side.js';

const present = [
  needs('root', '/dev/fuse', 'command buildah', 'command crun'),
  requirement('busybox-static', hasBusybox()),
  requirement('the built command', isLaminaBuilt('native')),
].every(Boolean);

const GROUPS: readonly [string, readonly BuildCase[]][] = [
  ['config', CONFIG_CASES],
  ['RUN and stages', RUN_CASES],
  ['COPY and ADD', COPY_CASES],
];

describe.skipIf(!present)('built as buildah builds it', () => {
  let builders: SideBySide;
  beforeAll(async () => {
    builders = new SideBySide();
    await builders.prepare();
  });
  afterAll(() => builders.remove());

  describe.each(GROUPS)('%s', (_, cases) => {
    test.each(cases.map((each) => [each.name, each] as const))('%s', async (_name, each) => {
      const { ours, theirs } = await builders.build(each);
      const { ourSide, theirSide, stale } = compare(ours, theirs, each.differences ?? []);
      expect(ourSide).toEqual(theirSide);
      expect(stale).toEqual([]);
    });
  });
});
