/**
 * Random changes to the portable driver's filesystem, in this process and without a mount, and to a plain directory that holds the
 * same: every errno and all that is to be seen; after it is opened anew as well; and what kernel overlayfs makes of the upper.
 * LAMINA_DIFF_COUNT: how many; LAMINA_DIFF_SEED: the first seed.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, unlinkSync, writeSync, fstatSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errnoOf } from '../../src/mount/drivers/portable/errno.js';
import type { WritableFilesystem } from '../../src/mount/drivers/portable/filesystem.js';
import { mkdirSync } from 'node:fs';
import { blankNlink, dumpDirectory } from '../helpers/dump-directory.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import type { Changes } from '../helpers/portable.js';
import { dumpPortable, openUpper, PlainDirectory } from '../helpers/portable.js';
import { needs } from '../helpers/require.js';
import type { Stack } from '../helpers/stack.js';
import { unpackFlat, unpackLowers } from '../helpers/unpack.js';
import { withView } from '../helpers/view.js';
import { randomScript } from './random-script.js';
import { random } from './random-stack.js';

const COUNT = Number(process.env['LAMINA_DIFF_COUNT'] ?? 20);
const FIRST_SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? 1);
const CHANGES = 250;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', '\xff\xfe', 'n'.repeat(30)];
const MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o777];
const HIDDEN = '.fuse_hidden0000000100000001';

const capable = needs('root', 'kernel overlayfs', 'command python3');

/** A change, by the name of the call and its arguments. */
type Change = { [K in keyof Changes]: [K, ...Parameters<Changes[K]>] }[keyof Changes];

class Chooser {
  constructor(
    private readonly next: () => number,
    private readonly plain: PlainDirectory,
    private readonly sinceMs: number,
  ) {}

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)]!;
  }

  change(): Change {
    const all = this.plain.dump(this.sinceMs).map((line) => JSON.parse(line) as [string, string]);
    const paths = all.map(([path]) => path).filter((path) => path !== '');
    const ofType = (digits: string): string[] =>
      all.filter(([path, mode]) => path !== '' && mode.startsWith(digits)).map(([path]) => path);
    const directories = ['', ...ofType('4')];
    const files = [...ofType('100'), '/none'];
    const fresh = (): string => `${this.pick(directories)}/${this.pick(NAMES)}`;
    const any = (): string => (this.next() < 0.1 ? fresh() : this.pick(paths.length > 0 ? paths : ['/none']));
    const file = (): string => this.pick(files);
    const choice = this.next();
    if (choice < 0.1) return ['create', fresh(), this.pick(MODES)];
    if (choice < 0.2) return ['mkdir', fresh(), this.pick(MODES)];
    if (choice < 0.24) return ['symlink', this.pick(['a', '../b', '\xff']), fresh()];
    if (choice < 0.3) return ['link', this.pick([...files, ...ofType('12'), ...ofType('10')]), fresh()];
    if (choice < 0.4) return ['unlink', any()];
    if (choice < 0.47) return ['rmdir', this.pick(directories.length > 1 ? directories.slice(1) : ['/none'])];
    if (choice < 0.67) return ['rename', any(), this.next() < 0.5 ? fresh() : any()];
    if (choice < 0.72) return ['chmod', this.pick([...files, ...directories.slice(1)]), this.pick(MODES)];
    if (choice < 0.76) return ['chown', any(), this.pick([-1, 0, 1000]), this.pick([-1, 0, 65_534])];
    if (choice < 0.8) return ['truncate', file(), this.pick([0, 1, 4096, 20_000])];
    if (choice < 0.87)
      return ['write', file(), Buffer.alloc(this.pick([1, 300, 9000]), 'w'), this.pick([0, 5, 12_000])];
    if (choice < 0.91) return ['utimens', any(), 1n, BigInt(this.pick([0, 1111, 1_500_000_000_123]))];
    if (choice < 0.97)
      return ['setxattr', this.pick(paths.length > 0 ? paths : ['/none']), 'trusted.m', Buffer.from('v'), 0];
    return ['removexattr', file(), this.pick(['trusted.m', 'user.k'])];
  }
}

/** 0 or a negative errno. */
function outcome(side: Changes, [name, ...rest]: Change): number {
  try {
    (side[name] as (...of: unknown[]) => unknown).apply(side, rest);
    return 0;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return errno;
  }
}

/** What the kernel answers itself, before any filesystem is asked. */
function isForKernel([name, ...rest]: Change): boolean {
  const [from, to] = rest as string[];
  return name === 'rename' && (from!.startsWith(`${to}/`) || to!.startsWith(`${from}/`) || from === to);
}

/** Removes a file that is open: on one side as libfuse does it. What is read and written by its descriptor is the same. */
function unlinkOpen(filesystem: WritableFilesystem, plain: PlainDirectory, path: string): void {
  const hidden = `${path.slice(0, path.lastIndexOf('/'))}/${HIDDEN}`;
  const fd = openSync(plain.at(path), 'r+');
  try {
    unlinkSync(plain.at(path));
    filesystem.rename(path, hidden);
    const data = Buffer.from('orphan');
    writeSync(fd, data, 0, data.length, 3);
    expect(filesystem.write(hidden, data, 3)).toBe(data.length);
    const { size, nlink, mode } = fstatSync(fd);
    const words = filesystem.getattr(hidden);
    // libfuse counts the hidden name, and takes it off again.
    expect([words[3], words[6]! - 1, words[0]]).toEqual([size, nlink, mode]);
    const [ours, theirs] = [Buffer.alloc(size), Buffer.alloc(size)];
    readSync(fd, theirs, 0, size, 0);
    expect(filesystem.read(hidden, ours, 0)).toBe(size);
    expect(ours.equals(theirs)).toBe(true);
    expect(filesystem.readdir(hidden.slice(0, -HIDDEN.length - 1) || '/').names).not.toContain(HIDDEN);
    filesystem.unlink(hidden);
  } finally {
    closeSync(fd);
  }
}

describe.skipIf(!capable)('the same changes by the portable driver and in a plain directory', () => {
  let scratch: Scratch;
  beforeAll(() => {
    scratch = new Scratch('portable');
  });
  afterAll(() => scratch.close());

  async function run(seed: number): Promise<void> {
    const base = scratch.directory('seed');
    const at = (name: string): string => join(base, name);
    const stack: Stack = randomScript(seed, { count: 0 }).lower;
    await unpackFlat(stack, at('plain'));
    for (const name of ['upper', 'work', 'merged']) mkdirSync(at(name));
    const plain = new PlainDirectory(at('plain'));
    const next = random(seed * 7919);
    const sinceMs = Date.now();
    await withView(stack, async (view) => {
      const chooser = new Chooser(next, plain, sinceMs);
      let opened = await openUpper(at('upper'), at('work'), view);
      const same = (): void =>
        expect(dumpPortable(opened.filesystem, sinceMs).lines).toEqual(plain.dump(sinceMs));
      same();
      for (let count = 0; count < CHANGES; count++) {
        if (count % 50 === 49) {
          const before = dumpPortable(opened.filesystem, sinceMs);
          opened.close();
          opened = await openUpper(at('upper'), at('work'), view);
          const after = dumpPortable(opened.filesystem, sinceMs);
          expect(after.lines).toEqual(before.lines);
          expect(after.inodes).toEqual(before.inodes);
        }
        const change = chooser.change();
        if (isForKernel(change)) continue;
        if (change[0] === 'unlink' && next() < 0.3) {
          const line = plain.dump(sinceMs).find((one) => (JSON.parse(one) as string[])[0] === change[1]);
          if (line !== undefined && (JSON.parse(line) as string[])[1]!.startsWith('100')) {
            unlinkOpen(opened.filesystem, plain, change[1]);
            same();
            continue;
          }
        }
        const said = [outcome(opened.filesystem as unknown as Changes, change), outcome(plain, change)];
        opened.filesystem.settle();
        expect(
          said[0],
          `change ${count}: ${JSON.stringify(change, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`,
        ).toBe(said[1]);
        if (count % 5 === 0) same();
      }
      same();
      opened.close();
    });
    const lowers = await unpackLowers(stack, at('lowers'));
    const options = `redirect_dir=on,metacopy=on,index=off,lowerdir=${lowers.join(':')},upperdir=${at('upper')},workdir=${at('work')}`;
    execFileSync('mount', ['-t', 'overlay', '-o', options, 'overlay', at('merged')]);
    try {
      const now = (dump: string): string[] =>
        blankNlink(dump)
          .split('\n')
          .map((line) =>
            line.replace(/ (\d+)\.\d{9} /, (all, sec: string) =>
              Number(sec) * 1000 >= sinceMs - 1000 ? ' now ' : all,
            ),
          );
      expect(now(await dumpDirectory(at('merged'), { nlink: false }))).toEqual(
        now(await dumpDirectory(at('plain'))),
      );
    } finally {
      await unmount(at('merged'));
    }
    execFileSync('rm', ['-rf', base]);
  }

  for (let seed = FIRST_SEED; seed < FIRST_SEED + COUNT; seed++)
    test(`seed ${seed}`, () => run(seed), 60_000);
});
