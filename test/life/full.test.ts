/**
 * A filesystem that is full, or a quota used up, at any moment of any change: each system call of the server that needs room is made to
 * fail once. The call that asked for it then fails with that errno, what is shown and the upper are as they were, and the same call works
 * when there is room.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kits } from '../conformance/kit.js';
import { compiled } from '../helpers/compile.js';
import { isWritableServerBuilt, mountDropIn, unmountBelow, unmountDropIn } from '../helpers/drop-in.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { runScript } from '../helpers/script.js';
import { dockerArchive } from '../helpers/stack.js';
import { unpackLowers } from '../helpers/unpack.js';
import { serverOf, until } from './processes.js';

/** Each one call, which is done or not. */
const CHANGES = [
  'chmod f 600',
  'chown f 5 6',
  'utimens f 1 2',
  'setxattr f user.k v',
  'removexattr xa user.one',
  'setxattr acl user.k v',
  'truncate big 100',
  'truncate big 0',
  'chmod big 600',
  'chown suid 7 8',
  'chmod d 700',
  'setxattr xd user.k v',
  'chmod d/sub/deep 600',
  'chown s 5 6',
  'chmod k/fifo 600',
  'chown k/char 5 6',
  'chmod l1 600',
  'chown d/l3 5 6',
  'truncate l2 3',
  'rename f g',
  'rename f d/sub/g',
  'rename big f',
  'rename d moved',
  'rename d m/sub/moved',
  'rename l1 d/sub/l4',
  'rename s d/s',
  'rename f d/sub/deep RENAME_EXCHANGE',
  'rename d m RENAME_EXCHANGE',
  'link f d/sub/linked',
  'link l1 d/sub/l4',
  'unlink f',
  'unlink l2',
  'unlink d/sub/deep',
  'rmdir e',
  'rmdir k/dir',
  'mkdir d/sub/new 755',
  'mkdir m/gone 755',
  'symlink x d/sub/new',
  'mknod d/sub/new fifo 600',
] as const;
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
  let fault: ChildProcess;
  let control: number;
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
    control = openSync(at('control'), 'w+');
    writeSync(control, Buffer.alloc(32));
    start = Date.now() / 1000 - 1;
    await until('it is served', () => serverOf(dir) !== undefined);
    fault = spawn(
      compiled(fileURLToPath(new URL('fault.cc', import.meta.url))),
      [String(serverOf(dir)), at('control')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    expect(String(((await once(fault.stdout!, 'data')) as Buffer[])[0])).toBe('ready\n');
  });
  afterAll(async () => {
    fault?.kill();
    if (control !== undefined) closeSync(control);
    unmountBelow(scratch.path);
    scratch.close();
  });

  /** The `call`-th call that needs room from now on fails; 0: none. */
  const failAt = (call: number, error: bigint): void => {
    const numbers = Buffer.alloc(32);
    numbers.writeBigUInt64LE(error, 8);
    writeSync(control, numbers, 0, 32, 0);
    numbers.writeBigUInt64LE(BigInt(call), 0);
    writeSync(control, numbers, 0, 8, 0);
  };
  /** The number of the system call that was made to fail; 0 when none was. */
  const failed = (): number => {
    const number = Buffer.alloc(8);
    readSync(control, number, 0, 8, 24);
    return Number(number.readBigUInt64LE());
  };
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
        failAt(call, number);
        const problems = await run();
        const which = failed();
        failAt(0, 0n);
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
    fault.kill();
    await once(fault, 'exit');
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

/** The lines of each kit, its own name taken off, with `now` for times since `start`. */
function kitsOf(dump: string, start: number): Map<string, string[]> {
  const kits = new Map<string, string[]>();
  for (const line of dump.split('\n')) {
    const name = /^\/([^/ ]+)/.exec(line)?.[1];
    if (name === undefined) continue;
    const fields = line
      .split(' ')
      .map((field) => (field.startsWith(`/${name}`) ? field.slice(name.length + 1) : field));
    if (Number(fields[6]) >= start) fields[6] = 'now';
    kits.set(name, [...(kits.get(name) ?? []), fields.join(' ')]);
  }
  return kits;
}
