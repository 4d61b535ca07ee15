/**
 * Memory of server and supervisor over many operations that make and take away: what is held for one that is gone would add up.
 * LAMINA_LIFE_OPERATIONS: how many, half of them by io_uring; by hand ten million (CONTRIBUTING.md). What was measured is printed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compiled } from '../helpers/compile.js';
import type { Layers } from '../helpers/drop-in.js';
import {
  isWritableServerBuilt,
  mountDropIn,
  unmountBelow,
  unmountDropIn,
  withUring,
} from '../helpers/drop-in.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { serverOf, supervisorOf } from './processes.js';

const OPERATIONS = Number(process.env['LAMINA_LIFE_OPERATIONS'] ?? 400_000) / 2;
/** Until here the server's caches fill: what it has then is what it needs. */
const WARM_UP = 50_000;
const LOWER_FILES = 200;
/** What threads take at their first use. A leak of 8 bytes for each file would be five times this in ten million operations, which make 330,000. */
const MOST_GROWTH_KIB = 512;

const capable =
  needs('root', '/dev/fuse', 'command g++') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

describe.skipIf(!capable).each(['N', 'Y'] as const)('with io_uring %s', (uring) => {
  let scratch: Scratch;
  let layers: Layers;
  let dir: string;
  beforeEach(() => {
    scratch = new Scratch('memory');
    const at = (name: string): string => join(scratch.path, name);
    dir = at('mnt');
    layers = { lowers: [at('lower')], upper: at('upper'), work: at('work') };
    for (const path of [...layers.lowers, layers.upper, layers.work, dir, at('lower/lower')]) mkdirSync(path);
    for (let number = 0; number < LOWER_FILES; number++) writeFileSync(at(`lower/lower/${number}`), 'lower');
  });
  afterEach(() => {
    unmountBelow(scratch.path);
    scratch.close();
  });

  const resident = (): Record<'server' | 'supervisor', number> => ({
    server: residentKib(serverOf(dir)!),
    supervisor: residentKib(supervisorOf(dir)!),
  });

  test(
    `memory stays what it was over ${OPERATIONS} operations`,
    async () => {
      const operations = compiled(fileURLToPath(new URL('operations.cc', import.meta.url)));
      await withUring(uring, () => mountDropIn(layers, dir));
      const mounted = resident();
      await run(operations, dir, WARM_UP);
      const before = resident();
      const done = await run(operations, dir, OPERATIONS);
      const after = resident();
      process.stdout.write(
        `KiB resident, io_uring ${uring}: mounted ${JSON.stringify(mounted)}, after ${WARM_UP} operations ` +
          `${JSON.stringify(before)}, after ${done} more ${JSON.stringify(after)}\n`,
      );
      expect(done).toBeGreaterThanOrEqual(OPERATIONS);
      for (const name of ['server', 'supervisor'] as const)
        expect(after[name] - before[name], name).toBeLessThan(MOST_GROWTH_KIB);
      await unmountDropIn(dir);
    },
    120_000 + OPERATIONS,
  );
});

/** How many operations it made. */
async function run(program: string, dir: string, operations: number): Promise<number> {
  const child = spawn(program, [dir, String(operations), String(LOWER_FILES)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  expect(status).toBe(0);
  return Number(said);
}

function residentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}
