/**
 * kill -9 of a build at random moments: once the store was repaired no process, mount, file or half image is left, and the next build ends
 * well. LAMINA_BUILD_KILLS: how often; LAMINA_SEED: the random numbers, printed when none is given.
 */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busyboxRoot, hasBusybox } from '../helpers/busybox-root.js';
import { isLaminaBuilt, LAMINA_MAIN } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import { pause, until } from './processes.js';

const KILLS = Number(process.env['LAMINA_BUILD_KILLS'] ?? 20);
const SEED = Number(process.env['LAMINA_SEED'] ?? Date.now() % 1e6);
/** How long a build takes here, about: kills fall within. */
const BUILD_MS = 1_800;

const able =
  needs('root', '/dev/fuse', 'command crun') &&
  requirement('busybox-static', hasBusybox()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

/** Two stages side by side, commands that take a while, files that are copied, mounts of several kinds. */
const DOCKERFILE = `FROM base AS one
RUN echo MARK > /one && sleep 0.3 && head -c 3000000 /dev/urandom > /one.bin
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t sleep 0.2; echo MARK > /c/x; cp /c/x /two
FROM base
COPY . /src/
RUN --mount=type=bind,from=base,target=/b sleep 0.3; cp /b/etc/passwd /pw
COPY --from=one /one.bin /two /
RUN rm /src/f3 && sleep 0.1
`;

describe.skipIf(!able)('a build', () => {
  const place = mkdtempSync(join(tmpdir(), 'lamina-build-life-'));
  const [root, run, context] = ['store', 'run', 'context'].map((name) => join(place, name)) as [
    string,
    string,
    string,
  ];

  /** In a process group of its own, so that only it dies with it: what a runtime starts has groups of its own. */
  function start(...args: string[]): { done: Promise<CommandResult>; kill(): void } {
    const env = { ...process.env, LAMINA_ROOT: root, LAMINA_RUN: run, LAMINA_PULL: 'never' };
    const child = spawn(process.execPath, [LAMINA_MAIN, ...args], {
      ...{ env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout!.on('data', (data: Buffer) => (stdout += data.toString('latin1')));
    child.stderr!.on('data', (data: Buffer) => (stderr += data.toString()));
    const done = new Promise<CommandResult>((resolve) =>
      child.once('exit', (code) => setImmediate(() => resolve({ exitCode: code ?? 128, stdout, stderr }))),
    );
    return { done, kill: () => void child.kill('SIGKILL') };
  }
  const ok = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await start(...args).done;
    if (exitCode !== 0) throw new Error(`lamina ${args.join(' ')}: ${exitCode}: ${stderr}`);
    return stdout;
  };
  /** Of this test's store: all that runs and is mounted names its directory. */
  const processes = (): string[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((name) => {
        try {
          const line = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ');
          const isOurs = line.includes(place) || line.includes('sleep 0.');
          return isOurs && !/ Z /.test(readFileSync(`/proc/${name}/stat`, 'latin1')) ? [line] : [];
        } catch {
          return [];
        }
      });
  const mounts = (): string[] =>
    readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(place));
  const names = (...path: string[]): string[] =>
    existsSync(join(place, ...path)) ? readdirSync(join(place, ...path)) : [];

  beforeAll(async () => {
    const base = busyboxRoot(join(place, 'base'));
    mkdirSync(context);
    for (let index = 0; index < 300; index++)
      writeFileSync(join(context, `f${index}`), `file ${index}\n`.repeat(100));
    execFileSync('tar', ['-C', base, '-cf', join(place, 'base.tar'), '.']);
    await ok('import', join(place, 'base.tar'), 'base');
  });
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  test(
    `${KILLS} times killed (seed ${SEED})`,
    async () => {
      process.stderr.write(`LAMINA_SEED=${SEED}\n`);
      let state = SEED;
      const draw = (below: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const before = new Set(processes());
      let killed = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        // Another text each time, so that the cache does not make it short.
        writeFileSync(join(context, 'Dockerfile'), DOCKERFILE.replaceAll('MARK', `mark${kill}`));
        const job = start('build', '-t', `image${kill}`, context);
        await pause(draw(BUILD_MS));
        job.kill();
        if ((await job.done).exitCode === 128) killed++;
        const { exitCode, stderr } = await start('system', 'check', '--repair').done;
        expect([exitCode, stderr]).toEqual([0, '']);
        await until('nothing runs any more', () => processes().every((line) => before.has(line)));
        expect(mounts()).toEqual([]);
        expect(names('run', 'private')).toEqual([]);
        expect(names('run', 'bundles')).toEqual([]);
        expect(names('store', 'tmp')).toEqual([]);
        expect(names('store', 'containers').filter((name) => name !== '.lock')).toEqual([]);
        const check = await start('system', 'check').done;
        expect([check.exitCode, check.stdout.match(/^(damaged|left over).*$/gm)]).toEqual([0, null]);
      }
      // Else nothing was tried.
      expect(killed).toBeGreaterThan(KILLS / 2);
      await ok('build', '-t', 'last', context);
      expect((await ok('fs', 'cat', 'last', '/two')).trim()).toBe(`mark${KILLS - 1}`);
    },
    60_000 + KILLS * 10_000,
  );
});
