/**
 * kill -9 under a write load that checks itself: of the server, which its parent replaces while files stay open, and of both, after which
 * the next mount finds all that fsync acknowledged. LAMINA_KILLS: how often the server is killed.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import type { Layers } from '../helpers/drop-in.js';
import {
  isWritableServerBuilt,
  mountDropIn,
  mountKernel,
  unmountBelow,
  unmountDropIn,
  withUring,
} from '../helpers/drop-in.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { check, isServed, killAll, makeLower, pause, serverOf, until, Writer } from './processes.js';

const KILLS = Number(process.env['LAMINA_KILLS'] ?? 25);
const WRITERS = 3;
/** How often server and parent are killed together. */
const ROUNDS = Math.max(3, Math.ceil(KILLS / 10));

const capable =
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command python3') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

describe.skipIf(!capable).each(['N', 'Y'] as const)('killed, with io_uring %s', (uring) => {
  let scratch: Scratch;
  let layers: Layers;
  let dir: string;
  let writers: Writer[] = [];

  beforeEach(() => {
    scratch = new Scratch('killed');
    const at = (name: string): string => join(scratch.path, name);
    dir = at('mnt');
    layers = { lowers: [at('lower')], upper: at('upper'), work: at('work') };
    for (const path of [...layers.lowers, layers.upper, layers.work, dir, at('acks')]) mkdirSync(path);
  });
  afterEach(async () => {
    killAll(dir);
    await Promise.all(writers.map((writer) => writer.stop()));
    writers = [];
    unmountBelow(scratch.path);
    scratch.close();
  });

  const mount = (): Promise<void> => withUring(uring, () => mountDropIn(layers, dir));
  const start = (round: number): Writer[] =>
    Array.from({ length: WRITERS }, (_, index) => {
      const name = `w${round}-${index}`;
      return new Writer(join(dir, name), join(scratch.path, 'acks', name), round * WRITERS + index);
    });
  const prepare = (rounds: number): void => {
    for (let round = 0; round < rounds; round++)
      for (let index = 0; index < WRITERS; index++) makeLower(join(layers.lowers[0]!, `w${round}-${index}`));
  };
  const problems = (root: string, some: readonly Writer[]): string[] =>
    some.map(({ dir: path, acks }) => check(join(root, path.slice(dir.length + 1)), acks));
  const none = Array.from({ length: WRITERS }, () => '');

  test(
    `${KILLS} times the server alone: nothing fails, nothing is lost`,
    async () => {
      prepare(1);
      await mount();
      writers = start(0);
      await until('all write', () => writers.every(({ acks }) => existsSync(acks)));
      const ended: string[] = [];
      for (let kill = 0; kill < KILLS && ended.length === 0; kill++) {
        await pause(20 + ((kill * 37) % 100));
        await until('a server is there', () => serverOf(dir) !== undefined);
        process.kill(serverOf(dir)!, 'SIGKILL');
        for (const writer of writers.filter(({ hasEnded }) => hasEnded)) ended.push(await writer.stop());
      }
      expect(ended).toEqual([]);
      expect(await Promise.all(writers.map((writer) => writer.stop()))).toEqual(none);
      expect(problems(dir, writers)).toEqual(none);
      const before = await dumpDirectory(dir);
      await unmountDropIn(dir);
      await until('the server has ended', () => !isServed(dir));
      await mount();
      expect(problems(dir, writers)).toEqual(none);
      expect(await dumpDirectory(dir)).toBe(before);
      await unmountDropIn(dir);
    },
    60_000 + KILLS * 2_000,
  );

  test(
    `${ROUNDS} times server and parent: the next mount finds it all, and work is cleaned`,
    async () => {
      prepare(ROUNDS);
      const all: Writer[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await mount();
        for (const earlier of problems(dir, all)) expect(earlier).toBe('');
        writers = start(round);
        all.push(...writers);
        await until('all write', () => writers.every(({ acks }) => existsSync(acks)));
        await pause(150 + ((round * 113) % 400));
        killAll(dir);
        await until('nobody serves', () => !isServed(dir));
        unmountBelow(scratch.path);
        await Promise.all(writers.map((writer) => writer.stop()));
      }
      await mount();
      expect(problems(dir, all).filter((one) => one !== '')).toEqual([]);
      expect(readdirSync(join(layers.work, 'work'))).toEqual([]);
      const ours = await dumpDirectory(dir);
      await unmountDropIn(dir);
      await until('the server has ended', () => !isServed(dir));
      // The kernel reads the same from what is left.
      await mountKernel(layers, dir);
      const theirs = await dumpDirectory(dir, { skipVanished: true });
      await unmount(dir);
      expect(theirs).toBe(ours);
    },
    60_000 + ROUNDS * 10_000,
  );
});
