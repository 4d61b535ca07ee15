/**
 * kill -9 between any two steps of any change: after each system call of the server that changes something. Alone, it is replaced, and who
 * asked for the change gets it, once. With its parent, the next mount shows what was, or what was to be, and the change can be made then.
 * LAMINA_STEPS: every how manieth step (1: all, which takes half an hour); of files with several names four times as many.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kits } from '../conformance/kit.js';
import { isWritableServerBuilt, mountDropIn, unmountBelow, unmountDropIn } from '../helpers/drop-in.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { runScript } from '../helpers/script.js';
import { dockerArchive } from '../helpers/stack.js';
import { unpackLowers } from '../helpers/unpack.js';
import { CHANGES, kitsOf } from './changes.js';
import { isServed, killAll, serverOf, until } from './processes.js';
import { KILL_BOTH, KILL_SERVER, Tracer } from './tracer.js';

const EVERY = Number(process.env['LAMINA_STEPS'] ?? 40);
/** As many kits for a change as no change makes calls. */
const MOST_CALLS = 48;
const UNREACHED = 1_000_000;
const UNTOUCHED = 'untouched';
const place = (change: number, call: number, whom: bigint): string => `${whom}-${change}-${call}`;
/** Whether a change is disturbed after its `call`-th call; 0 is the one that is not. */
const isTaken = (change: number, call: number): boolean => {
  const every = / (\S+\/)?l\d/.test(CHANGES[change]!) ? Math.ceil(EVERY / 4) : EVERY;
  return call === 0 || (call + change) % every === 0;
};
const PLACES = [
  UNTOUCHED,
  ...CHANGES.flatMap((_, change) =>
    Array.from({ length: MOST_CALLS }, (__, call) =>
      isTaken(change, call) ? [KILL_SERVER, KILL_BOTH].map((whom) => place(change, call, whom)) : [],
    ).flat(),
  ),
];

const capable =
  needs('root', '/dev/fuse', 'command python3', 'command g++') &&
  requirement('x86-64', process.arch === 'x64') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!capable).each(['directories', 'an image'] as const)('over %s', (over) => {
  let scratch: Scratch;
  let dir: string;
  const at = (name: string): string => join(scratch.path, name);
  let tracer: Tracer | undefined;
  let start: number;
  let lowers: string[];

  async function mount(): Promise<void> {
    const layers = { lowers, upper: at('upper'), work: at('work') };
    const options = 'threads=1,no_uring,no_passthrough,suid,dev';
    if (over === 'directories') await mountDropIn(layers, dir, `,${options}`);
    else {
      const list = `${options},upperdir=${layers.upper},workdir=${layers.work}`;
      await laminaOk(['mount', '-o', list, at('image.tar'), dir], at('root'));
    }
    await attach();
  }
  async function attach(): Promise<void> {
    await until('it is served', () => serverOf(dir) !== undefined);
    await tracer!.attach(serverOf(dir)!);
  }
  async function unmount(): Promise<void> {
    await tracer!.detach();
    await unmountDropIn(dir);
    await until('it has ended', () => !isServed(dir));
  }

  beforeAll(async () => {
    scratch = new Scratch('steps');
    dir = at('mnt');
    for (const path of [dir, at('upper'), at('work')]) mkdirSync(path);
    process.env['LAMINA_RUN'] = scratch.directory('run');
    const stack = kits(PLACES).map((layer) =>
      layer
        .filter(({ path }) => !path.endsWith('/sparse'))
        .map((entry) =>
          entry.kind === 'file' && entry.path.endsWith('/big')
            ? { ...entry, content: 'big'.repeat(2000) }
            : entry,
        ),
    );
    if (over === 'directories') lowers = await unpackLowers(stack, at('lower'));
    else dockerArchive(stack, at('image.tar'));
    tracer = new Tracer(at('control'));
    start = Date.now() / 1000 - 1;
    await mount();
  }, 240_000);
  afterAll(async () => {
    await tracer?.close();
    killAll(dir);
    unmountBelow(scratch.path);
    scratch.close();
  });

  const kit = async (name: string): Promise<string[]> => {
    const dump = await dumpDirectory(join(dir, name));
    const whole = dump.replace(/^\//gm, '/k/').replace(/ h \//gm, ' h /k/');
    return [...kitsOf(whole, start).values()].flat().map(withoutDirectoryTimes);
  };

  /** The kits that the one gave and the other did not; nothing when both are the same. */
  const difference = (lines: readonly string[], expected: readonly string[]): string[] => [
    ...lines.filter((line) => !expected.includes(line)),
    ...expected.filter((line) => !lines.includes(line)).map((line) => `missing: ${line}`),
  ];

  test.each(CHANGES.map((change, index) => [change, index] as const))(
    '%s',
    async (change, index) => {
      const run = (name: string): Promise<string[]> => runScript(join(dir, name), change);
      const untouched = await kit(UNTOUCHED);
      tracer!.killAt(UNREACHED, KILL_SERVER);
      expect(await run(place(index, 0, KILL_SERVER))).toEqual([]);
      const calls = tracer!.seen;
      const done = await kit(place(index, 0, KILL_SERVER));
      expect(done).not.toEqual(untouched);
      expect(calls).toBeGreaterThan(0);
      expect(calls).toBeLessThan(MOST_CALLS);
      const wrong: unknown[] = [];
      for (const whom of [KILL_SERVER, KILL_BOTH])
        for (let call = 1; call <= calls; call++) {
          if (!isTaken(index, call)) continue;
          const name = place(index, call, whom);
          const before = serverOf(dir);
          tracer!.killAt(call, whom);
          const problems = await run(name);
          const about = `${name}: killed after system call ${tracer!.hit}, the ${call}th of ${calls}`;
          tracer!.nothing();
          if (whom === KILL_SERVER) {
            if (problems.length > 0) wrong.push([about, problems]);
            await until('another serves', () => ![undefined, before].includes(serverOf(dir)));
            await attach();
          } else {
            await until('nobody serves', () => !isServed(dir));
            spawnSync('umount', ['-l', dir]);
            await mount();
            if (difference(await kit(name), untouched).length === 0) {
              const again = await run(name);
              if (again.length > 0) wrong.push([`${about}, and then`, again]);
            }
          }
          const differ = difference(await kit(name), done);
          if (differ.length > 0) wrong.push([about, differ]);
        }
      expect(wrong).toEqual([]);
    },
    240_000,
  );

  test('and after a remount all is as it was shown', async () => {
    // What is traced is slow.
    await tracer!.detach();
    const before = await dumpDirectory(dir);
    await unmount();
    await mount();
    await tracer!.detach();
    expect(await dumpDirectory(dir)).toBe(before);
    expect(readdirSync(at('work/work'))).toEqual([]);
    await unmount();
  }, 240_000);
});

/** What is copied up leaves its directory's times as they were, in a step of its own; kernel overlayfs does the same. */
function withoutDirectoryTimes(line: string): string {
  const fields = line.split(' ');
  if (fields[1] === 'd') fields[6] = '-';
  return fields.join(' ');
}
