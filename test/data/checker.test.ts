/**
 * Bytes through every way of writing them against a model in memory (checker.cc): on a plain directory and kernel overlayfs, which
 * proves the checker, then on ours with each transport. LAMINA_CHECK_OPERATIONS: how many in all on ours; LAMINA_CHECK_SEED: the seed.
 */
import { spawn } from 'node:child_process';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noise } from '../conformance/image.js';
import { compiled } from '../helpers/compile.js';
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

const OPERATIONS = Number(process.env['LAMINA_CHECK_OPERATIONS'] ?? 200_000);
const SEED = Number(process.env['LAMINA_CHECK_SEED'] ?? 1);
const PROOF = Math.ceil(OPERATIONS / 10);
/** Of the lower layer; `again` is another name of `linked`, and the checker makes `new` and `other`. */
const LOWER = { small: 10, pages: 65_536, odd: 123_457, linked: 50_000 };
const FILES = ['small', 'pages', 'odd', 'linked', 'again', 'new', 'other'];

const capable = needs('root', 'kernel overlayfs', 'command g++');
const hasServer =
  capable &&
  needs('/dev/fuse') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

interface Mounting {
  mount(layers: Layers, dir: string): Promise<void>;
  umount(dir: string): Promise<void>;
}
const kernel: Mounting = { mount: mountKernel, umount: unmount };
const ours = (uring: 'Y' | 'N'): Mounting => ({
  mount: (layers, dir) => withUring(uring, () => mountDropIn(layers, dir)),
  umount: unmountDropIn,
});

describe.skipIf(!capable)('bytes', () => {
  let scratch: Scratch;
  let checker: string;
  beforeAll(() => {
    scratch = new Scratch('checker');
    checker = compiled(fileURLToPath(new URL('checker.cc', import.meta.url)));
  });
  afterAll(() => {
    unmountBelow(scratch.path);
    scratch.close();
  });

  /** The checker's last words. `linked` and `again` are one file: only one of them is checked. */
  async function check(dir: string, operations: number, remount: () => Promise<void>): Promise<string> {
    const files = FILES.filter((name) => name !== 'again').map((name) => join(dir, name));
    const child = spawn(checker, [String(SEED), String(operations), ...files], {
      stdio: ['pipe', 'pipe', 'inherit'],
      cwd: '/',
    });
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      if (line !== 'remount') said.push(line);
      else {
        await remount();
        child.stdin.write('go\n');
      }
    }
    return said.join('\n');
  }

  function lower(path: string): void {
    mkdirSync(path);
    Object.entries(LOWER).forEach(([name, length], index) =>
      writeFileSync(join(path, name), noise(length, index + 1), 'latin1'),
    );
    linkSync(join(path, 'linked'), join(path, 'again'));
  }

  async function checkUnion({ mount, umount }: Mounting, operations: number): Promise<string> {
    const base = scratch.directory();
    const layers = {
      lowers: [join(base, 'lower')],
      upper: join(base, 'upper'),
      work: join(base, 'work'),
    };
    const dir = join(base, 'mnt');
    lower(layers.lowers[0]!);
    for (const path of [layers.upper, layers.work, dir]) mkdirSync(path);
    await mount(layers, dir);
    const said = await check(dir, operations, async () => {
      await umount(dir);
      await mount(layers, dir);
    });
    await umount(dir);
    return said;
  }

  const limit = 60_000 + OPERATIONS;

  test(`in a plain directory (${PROOF} operations of seed ${SEED})`, { timeout: limit }, async () => {
    const dir = join(scratch.directory(), 'tree');
    lower(dir);
    expect(await check(dir, PROOF, async () => undefined)).toBe('done');
  });

  test(`in kernel overlayfs (${PROOF} operations)`, { timeout: limit }, async () => {
    expect(await checkUnion(kernel, PROOF)).toBe('done');
  });

  test.skipIf(!hasServer)(`in ours (${OPERATIONS / 2} operations)`, { timeout: limit }, async () => {
    expect(await checkUnion(ours('N'), OPERATIONS / 2)).toBe('done');
  });

  test.skipIf(!hasServer)(
    `in ours over io_uring (${OPERATIONS / 2} operations)`,
    { timeout: limit },
    async () => {
      expect(await checkUnion(ours('Y'), OPERATIONS / 2)).toBe('done');
    },
  );
});
