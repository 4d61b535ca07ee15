/**
 * Random stacks of layers: what we say an image shows against what kernel overlayfs shows of the unpacked layers, and against
 * the layers unpacked into one directory, by canonical dumps (FORMAT.md).
 * LAMINA_DIFF_COUNT: how many stacks; LAMINA_DIFF_SEED: the first seed. A stack that fails is made small and kept in
 * test/fixtures/stacks, whose files are replayed for ever.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blankNlink, dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, withLaminaMount } from '../helpers/lamina.js';
import { mergedDump } from '../helpers/merged-dump.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import type { Stack } from '../helpers/stack.js';
import { Oracle } from './oracle.js';
import { randomStack } from './random-stack.js';
import { shrinkStack } from './shrink.js';

const FIXTURES = fileURLToPath(new URL('../fixtures/stacks/', import.meta.url));
const COUNT = Number(process.env['LAMINA_DIFF_COUNT'] ?? 300);
const FIRST_SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? 1);
/** One stack in so many goes through a real mount as well. */
const MOUNT_EVERY = 10;

const capable = needs('root', 'kernel overlayfs', 'command python3');
const mountable =
  capable && needs('/dev/fuse') && requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!capable)('what an image shows', () => {
  let scratch: Scratch;
  let oracle: Oracle;

  beforeAll(() => {
    scratch = new Scratch('differential');
    oracle = new Oracle(scratch.directory('oracle'));
  });

  afterAll(async () => {
    await oracle.close();
    scratch.close();
  });

  /** The first difference, undefined when there is none; 'open' when the stack means nothing certain. */
  async function difference(stack: Stack, alsoMount: boolean): Promise<string | undefined> {
    const expected = await oracle.expect(stack);
    if (expected === undefined) return 'open';
    let ours: string;
    try {
      ours = await mergedDump(stack, scratch.path);
      if (alsoMount) {
        const mounted = await withLaminaMount(stack, 'native', dumpDirectory);
        if (mounted !== ours) return firstDifference('the TOC', ours, 'the mount', mounted);
      }
    } catch (error) {
      return `refused: ${String(error)}`;
    }
    if (blankNlink(ours) !== expected.overlay) {
      return firstDifference('overlayfs', expected.overlay, 'ours', blankNlink(ours));
    }
    return ours === expected.flat ? undefined : firstDifference('unpacked', expected.flat, 'ours', ours);
  }

  async function fails(stack: Stack, alsoMount: boolean): Promise<boolean> {
    const found = await difference(stack, alsoMount);
    return found !== undefined && found !== 'open';
  }

  test.each(readdirSync(FIXTURES).filter((name) => name.endsWith('.json')))('kept stack %s', async (name) => {
    const stack = JSON.parse(readFileSync(`${FIXTURES}${name}`, 'utf8')) as Stack;
    expect(await difference(stack, mountable)).toBeUndefined();
  });

  test(
    `${COUNT} random stacks from seed ${FIRST_SEED}`,
    async () => {
      for (let seed = FIRST_SEED; seed < FIRST_SEED + COUNT; seed++) {
        const stack = randomStack(seed);
        const alsoMount = mountable && seed % MOUNT_EVERY === 0;
        if ((await difference(stack, alsoMount)) === undefined) continue;
        const small = await shrinkStack(stack, (candidate) => fails(candidate, alsoMount));
        const kept = `${FIXTURES}seed-${seed}.json`;
        writeFileSync(kept, `${JSON.stringify(small, null, 1)}\n`);
        const why = await difference(small, alsoMount);
        expect.fail(
          `seed ${seed} (replay: LAMINA_DIFF_SEED=${seed} LAMINA_DIFF_COUNT=1), kept as ${kept}: ${why}`,
        );
      }
    },
    60_000 + COUNT * 2_000,
  );
});

function firstDifference(leftName: string, left: string, rightName: string, right: string): string {
  const lefts = left.split('\n');
  const rights = right.split('\n');
  const at = lefts.findIndex((line, index) => line !== rights[index]);
  const line = at === -1 ? lefts.length : at;
  return `line ${line + 1}\n${leftName}: ${lefts[line] ?? '(end)'}\n${rightName}: ${rights[line] ?? '(end)'}`;
}
