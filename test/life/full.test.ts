/**
 * A filesystem that is full, or a quota used up, at any moment of any change: each system call of the server that needs room is made to
 * fail once. The call that asked for it then fails with that errno, what is shown and the upper are as they were, and the same call works
 * when there is room.
 */
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
import { serverOf, until } from './processes.js';
import { Tracer } from './tracer.js';

/** As many kits for a change, and errno, as no change needs calls. */
const MOST_CALLS = 24;
/** One that is asked for again when there is room, and one that is not. */
const ERRORS = [
  ['EDQUOT', 122n, 'again'],
  ['ENOSPC', 28n, 'left'],
] as const;
const UNTOUCHED = 'untouched';
const place = (change: number, call: number, then: string): string => `${then}-${change}-${call}`;
const PLACES = [
  UNTOUCHED,
  ...CHANGES.flatMap((_, change) =>
    Array.from({ length: MOST_CALLS }, (__, call) =>
      ERRORS.map(([, , then]) => place(change, call, then)),
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
  let fault: Tracer | undefined;
  let start: number;
  let lowers: string[];

  async function mount(options: string): Promise<void> {
    const layers = { lowers, upper: at('upper'), work: at('work') };
    if (over === 'directories') return mountDropIn(layers, dir, `,${options}suid`);
    const list = `${options}suid,dev,upperdir=${layers.upper},workdir=${layers.work}`;
    await laminaOk(['mount', '-o', list, at('image.tar'), dir], at('root'));
  }

  beforeAll(async () => {
    scratch = new Scratch('full');
    dir = at('mnt');
    for (const path of [dir, at('upper'), at('work')]) mkdirSync(path);
    process.env['LAMINA_RUN'] = scratch.directory('run');
    // A thousand of them: what is large is left out, or made smaller.
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
    await mount('threads=1,no_uring,no_passthrough,');
    start = Date.now() / 1000 - 1;
    await until('it is served', () => serverOf(dir) !== undefined);
    fault = new Tracer(at('control'));
    await fault.attach(serverOf(dir)!);
  }, 120_000);
  afterAll(async () => {
    await fault?.close();
    unmountBelow(scratch.path);
    scratch.close();
  });

  /** Where objects are made, and kept until they have their names. */
  const underWay = (change: string): string[] =>
    // What changes names has a copy of the file made before, which is whole; its other names get it when they are looked up.
    (over === 'directories' && /^(rename|link|unlink) l/.test(change) ? ['work'] : ['work', 'links'])
      .flatMap((name) => readdirSync(at(`work/${name}`)).map((file) => `${name}/${file}`))
      .filter((file) => file !== 'work/whiteout');
  /** Kits in which a change has failed and was not asked for again; and by change those in which it was done, the last undisturbed. */
  const left: string[] = [];
  const done: string[][] = [];

  test.each(CHANGES.map((change, index) => [change, index] as const))('%s', async (change, index) => {
    done[index] = [];
    for (let call = 1, isDone = false; !isDone; call++) {
      if (call >= MOST_CALLS) throw new Error(`it takes more than ${MOST_CALLS} calls`);
      for (const [errno, number, then] of ERRORS) {
        const name = place(index, call, then);
        const run = (): Promise<string[]> => runScript(join(dir, name), change);
        const before = underWay(change);
        fault!.failAt(call, number);
        const problems = await run();
        const which = fault!.hit;
        fault!.nothing();
        isDone = which === 0;
        // A file can be removed without room for what would keep it.
        const hasFailed = which !== 0 && !(change.startsWith('unlink') && problems.length === 0);
        const about = `${errno} of system call ${which}, the ${call}th`;
        expect([about, problems]).toEqual([about, hasFailed ? [`${change}   # gave ${errno}`] : []]);
        expect([about, underWay(change).filter((one) => hasFailed && !before.includes(one))]).toEqual([
          about,
          [],
        ]);
        if (hasFailed && then === 'again') expect([about, await run()]).toEqual([about, []]);
        if (hasFailed && then === 'left') left.push(name);
        else done[index].push(name);
      }
    }
    expect(done[index].length).toBeGreaterThan(2);
  });

  test('what was not asked for again is as it was, and all else is done, now and after a remount', async () => {
    await fault!.detach();
    expect(left.length).toBeGreaterThan(CHANGES.length);
    const before = await dumpDirectory(dir);
    compareKits(before);
    await unmountDropIn(dir);
    await until('it has ended', () => serverOf(dir) === undefined);
    // From the disk, without anything that a cache knew.
    await mount('');
    const after = await dumpDirectory(dir);
    compareKits(after);
    expect(after).toBe(before);
    expect(readdirSync(at('work/work'))).toEqual([]);
    await unmountDropIn(dir);
  }, 240_000);

  function compareKits(dump: string): void {
    const kit = kitsOf(dump, start);
    for (const name of left) expect([name, kit.get(name)]).toEqual([name, kit.get(UNTOUCHED)]);
    done.forEach((names, index) => {
      const last = kit.get(names.at(-1)!);
      expect([CHANGES[index], last]).not.toEqual([CHANGES[index], kit.get(UNTOUCHED)]);
      for (const name of names)
        expect([CHANGES[index], name, kit.get(name)]).toEqual([CHANGES[index], name, last]);
    });
  }
});
