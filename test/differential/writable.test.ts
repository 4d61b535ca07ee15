/**
 * Random scripts of system calls on two filesystems in lockstep: every result, every errno, and the dumps. Kernel overlayfs (with
 * redirect_dir, index and metacopy) against itself and against a plain directory proves the harness; then it judges ours.
 * LAMINA_DIFF_COUNT: how many scripts; LAMINA_DIFF_SEED: the first seed. A script that fails is made small and kept in
 * test/fixtures/scripts, whose files are replayed for ever.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACL } from '../conformance/image.js';
import { DEFAULT_ACL } from '../conformance/kit.js';
import { isWritableServerBuilt, unmountBelow, withUring } from '../helpers/drop-in.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { SERVER } from '../helpers/server-binary.js';
import { dir } from '../helpers/stack.js';
import type { Kind } from './lockstep.js';
import { Lockstep } from './lockstep.js';
import type { RandomScript, ScriptOptions } from './random-script.js';
import { randomScript } from './random-script.js';
import { shrinkScript } from './shrink-script.js';

const FIXTURES = fileURLToPath(new URL('../fixtures/scripts/', import.meta.url));
const COUNT = Number(process.env['LAMINA_DIFF_COUNT'] ?? 500);
const FIRST_SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? 1);
/** So many scripts prove the harness on what is known to be right. */
const PROOFS = Math.ceil(COUNT / 10);
const LINES = 60;
const SWAP_EVERY = 4;
const VARS = { acl: ACL, defaultAcl: DEFAULT_ACL };

const capable = needs('root', 'kernel overlayfs', 'command python3');
const hasServer =
  capable &&
  needs('/dev/fuse') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

describe.skipIf(!capable)('the same calls on two filesystems', () => {
  const scratches: Scratch[] = [];
  let onTmpfs: Lockstep;
  let onExt4: Lockstep;

  beforeAll(() => {
    scratches.push(new Scratch('lockstep'), new Scratch('lockstep', 'ext4'));
    [onTmpfs, onExt4] = scratches.map(({ path }) => new Lockstep(path, SERVER)) as [Lockstep, Lockstep];
  });

  afterAll(async () => {
    await onTmpfs?.close();
    await onExt4?.close();
    for (const scratch of scratches) {
      unmountBelow(scratch.path);
      scratch.close();
    }
  });

  const difference = (
    script: RandomScript,
    left: Kind,
    right: Kind,
    lockstep = onTmpfs,
  ): Promise<string | undefined> =>
    lockstep.difference({
      ...script,
      left,
      right,
      vars: VARS,
      // On ext4 a rename that overlayfs has to give up moves the times of directories.
      hasDirectoryTimes: lockstep === onTmpfs,
    });

  /** Every second script with FUSE over io_uring, every third on ext4. */
  async function judge(left: Kind, right: Kind, seed: number, options: ScriptOptions): Promise<void> {
    const differs = (script: RandomScript): Promise<string | undefined> =>
      withUring(seed % 2 === 0 ? 'Y' : 'N', () =>
        difference(script, left, right, seed % 3 === 0 ? onExt4 : onTmpfs),
      );
    const script = randomScript(seed, options);
    if ((await differs(script)) === undefined) return;
    const small = await shrinkScript(script, async (candidate) => (await differs(candidate)) !== undefined);
    const why = (await differs(small)) ?? `not each time: ${await differs(script)}`;
    const kept = `${FIXTURES}${left}-${right}-seed-${seed}.json`;
    mkdirSync(FIXTURES, { recursive: true });
    writeFileSync(kept, `${JSON.stringify({ left, right, ...small }, null, 1)}\n`);
    expect.fail(
      `seed ${seed} (replay: LAMINA_DIFF_SEED=${seed} LAMINA_DIFF_COUNT=1), kept as ${kept}: ${why}`,
    );
  }

  async function judgeAll(
    left: Kind,
    right: Kind,
    count: number,
    options: (seed: number) => ScriptOptions,
  ): Promise<void> {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++)
      await judge(left, right, seed, options(seed));
  }

  const kept = readdirSync(FIXTURES)
    .filter((name) => name.endsWith('.json'))
    .map((name): [string, RandomScript & { left: Kind; right: Kind }] => [
      name,
      JSON.parse(readFileSync(`${FIXTURES}${name}`, 'utf8')) as RandomScript & { left: Kind; right: Kind },
    ]);
  for (const [name, { left, right, ...script }] of kept) {
    const isPossible = hasServer || ![left, right].includes('lamina');
    test.skipIf(!isPossible)(`kept script ${name}`, async () => {
      expect(script.lines).not.toEqual([]);
      for (const uring of ['N', 'Y'] as const)
        for (const lockstep of [onTmpfs, onExt4])
          expect(await withUring(uring, () => difference(script, left, right, lockstep))).toBeUndefined();
    });
  }

  test('scripts are kept', () => {
    expect(kept.length).toBeGreaterThan(0);
  });

  // What only a union refuses: it would be a whiteout.
  test('a difference is told', async () => {
    const script: RandomScript = {
      lower: [[dir('.')]],
      lines: ['mkdir d', 'mknod d/x char 600 0:0', 'ls d'],
    };
    expect(await difference(script, 'kernel', 'plain')).toMatch(
      /^line 2: mknod d\/x char 600 0:0\nkernel: E/,
    );
    expect(await difference(script, 'plain', 'plain')).toBeUndefined();
  });

  const limit = (count: number): number => 60_000 + count * 3_000;

  test(
    `kernel overlayfs and a plain directory agree on ${PROOFS} scripts from seed ${FIRST_SEED}`,
    () => judgeAll('kernel', 'plain', PROOFS, () => ({ count: LINES })),
    limit(PROOFS),
  );

  test(
    `kernel overlayfs agrees with itself on ${PROOFS} scripts from seed ${FIRST_SEED}`,
    () => judgeAll('kernel', 'kernel', PROOFS, () => ({ count: LINES, swaps: true, escapes: true })),
    limit(PROOFS),
  );

  test.skipIf(!hasServer)(
    `kernel overlayfs and Lamina agree on ${COUNT} scripts from seed ${FIRST_SEED}`,
    () =>
      judgeAll('kernel', 'lamina', COUNT, (seed) => ({
        count: LINES,
        swaps: seed % SWAP_EVERY === 0,
        escapes: true,
      })),
    limit(COUNT),
  );
});
