/**
 * The power goes: the upper lies on ext4 on a disk whose writes are recorded, and is looked at as a disk would hold it at random moments, with
 * what came after the last flush there or not. After fsck and the next mount all that was acknowledged is there, and nothing half
 * done shows. Proven on kernel overlayfs first. LAMINA_CUTS: at how many moments.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compiled } from '../helpers/compile.js';
import type { Layers } from '../helpers/drop-in.js';
import {
  isWritableServerBuilt,
  mountDropIn,
  mountKernel,
  unmountBelow,
  unmountDropIn,
} from '../helpers/drop-in.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { check, isServed, killAll, makeLower, pause, until, Writer } from './processes.js';

const CUTS = Number(process.env['LAMINA_CUTS'] ?? 12);
const SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? 1);
const WRITERS = 2;
const WRITE_MS = 1500;
const HERE = fileURLToPath(new URL('.', import.meta.url));

const capable =
  needs(
    'root',
    '/dev/fuse',
    'kernel overlayfs',
    'command python3',
    'command g++',
    'command losetup',
    'command mkfs.ext4',
  ) && requirement('a loop device', existsSync('/dev/loop-control'));
const hasServer = capable && requirement('a writable native server (npm run build)', isWritableServerBuilt());

interface Union {
  mount(layers: Layers, dir: string): Promise<void>;
  umount(dir: string): Promise<void>;
}
const KERNEL: Union = { mount: mountKernel, umount: unmount };
const OURS: Union = {
  mount: (layers, dir) => mountDropIn(layers, dir),
  async umount(dir) {
    await unmountDropIn(dir);
    await until('the server has ended', () => !isServed(dir));
  },
};

describe.skipIf(!capable)('a power cut', () => {
  let scratch: Scratch;
  let loops: string[] = [];
  /** How much was recorded when the directories of the union were on the disk. */
  let begun = 0n;
  const at = (name: string): string => join(scratch.path, name);

  beforeEach(() => {
    scratch = new Scratch('power');
    for (const name of ['lower', 'recorded', 'disk', 'mnt', 'acks']) mkdirSync(at(name));
  });
  afterEach(() => {
    killAll(at('mnt'));
    unmountBelow(scratch.path);
    for (const loop of loops) spawnSync('losetup', ['-d', loop], { stdio: 'ignore' });
    loops = [];
    scratch.close();
  });

  const layers = (): Layers => ({ lowers: [at('lower')], upper: at('disk/upper'), work: at('disk/work') });

  function attach(file: string, ...options: string[]): string {
    const loop = execFileSync('losetup', [...options, '-f', '--show', file], { encoding: 'utf8' }).trim();
    loops.push(loop);
    return loop;
  }

  function detach(loop: string): void {
    execFileSync('losetup', ['-d', loop]);
    loops = loops.filter((one) => one !== loop);
  }

  /** Writes on the recorded disk for a while, then pulls the plug of everything. */
  async function record({ mount, umount }: Union): Promise<Writer[]> {
    execFileSync('truncate', ['-s', '96M', at('image')]);
    execFileSync('mkfs.ext4', ['-q', '-I', '256', at('image')]);
    copyFileSync(at('image'), at('before'));
    const recorder = spawn(
      compiled(join(HERE, 'recorder.cc')),
      [at('recorded'), at('image'), at('log'), at('position')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(recorder.stdout, 'data');
    const loop = attach(at('recorded/disk'), '--direct-io=on');
    execFileSync('mount', [loop, at('disk')]);
    for (const name of ['upper', 'work']) mkdirSync(at(`disk/${name}`));
    execFileSync('sync', ['-f', at('disk')]);
    begun = readFileSync(at('position')).readBigUInt64LE();
    await mount(layers(), at('mnt'));
    const writers = Array.from({ length: WRITERS }, (_, index) => {
      const name = `w${index}`;
      return new Writer(
        join(at('mnt'), name),
        join(at('acks'), name),
        SEED * WRITERS + index,
        at('position'),
      );
    });
    await until('all write', () => writers.every(({ acks }) => existsSync(acks)));
    await pause(WRITE_MS);
    for (const writer of writers) expect(await writer.stop()).toBe('');
    await umount(at('mnt'));
    execFileSync('umount', [at('disk')]);
    detach(loop);
    execFileSync('umount', [at('recorded')]);
    return writers;
  }

  /** What is wrong with the disk as it was when the power went at a random moment. */
  async function cut({ mount, umount }: Union, writers: readonly Writer[], seed: number): Promise<string[]> {
    const args = [join(HERE, 'replay.py'), at('before'), at('log'), at('cut'), String(seed), String(begun)];
    const played = execFileSync('python3', ['-I', '-S', ...args], { encoding: 'utf8' })
      .trim()
      .split(' ');
    // 0: clean, 1: mended (the journal was played).
    const fsck = spawnSync('fsck.ext4', ['-fy', at('cut')], { encoding: 'utf8' });
    const wrong = fsck.status! > 1 ? [`fsck: ${fsck.stdout}${fsck.stderr}`] : [];
    const loop = attach(at('cut'));
    execFileSync('mount', [loop, at('disk')]);
    await mount(layers(), at('mnt'));
    for (const { dir, acks } of writers) wrong.push(check(dir, acks, Number(played[1])));
    await dumpDirectory(at('mnt'));
    if (mount === OURS.mount) {
      const left = readdirSync(at('disk/work/work'));
      if (left.length > 0) wrong.push(`left in work: ${left.join(' ')}`);
    }
    await umount(at('mnt'));
    execFileSync('umount', [at('disk')]);
    detach(loop);
    rmSync(at('cut'));
    const said = wrong.filter((one) => one !== '');
    return said.length === 0 ? [] : [`cut ${seed} after record ${played.join(' of ')}`, ...said];
  }

  for (const [name, union, isPossible] of [
    ['kernel overlayfs', KERNEL, capable],
    ['ours', OURS, hasServer],
  ] as const)
    test.skipIf(!isPossible)(
      `leaves ${name} with all that was acknowledged, at ${CUTS} moments`,
      { timeout: 60_000 + CUTS * 10_000 },
      async () => {
        for (let index = 0; index < WRITERS; index++) makeLower(join(at('lower'), `w${index}`));
        const writers = await record(union);
        for (let number = 0; number < CUTS; number++)
          expect(await cut(union, writers, SEED * CUTS + number)).toEqual([]);
      },
    );
});
