/**
 * `lamina bench` on a small image: every figure is there, all subjects did the same work as an independent count says, who cannot take
 * part is named with a reason, and nothing is left behind. The caches of the machine are left alone but in one test.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TemporaryUser } from '../helpers/container-tools.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import { chardev, dir, dockerArchive, file, hardlink, opaque, symlink, whiteout } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const TOP = fileURLToPath(new URL('../../', import.meta.url));
const MAIN = path.join(TOP, 'dist/cli/main.js');

/** Layers of 60 files each, one of which hides things of the lower ones, with a closed directory and odd names. */
const STACK: Stack = [
  [
    dir('usr'),
    dir('usr/bin'),
    ...numbered(60, (n) => file(`usr/bin/low${n}`, 'l'.repeat(n * 10))),
    dir('usr/old'),
    file('usr/old/a', 'old'),
    dir('closed', { mode: 0o700 }),
    file('closed/inside', 'secret'),
    chardev('null', [1, 3]),
    file('big', 'b'.repeat(100_000)),
  ],
  [
    dir('usr/lib'),
    ...numbered(60, (n) => file(`usr/lib/middle${n}`, 'm'.repeat(n))),
    whiteout('usr/bin/low1'),
    opaque('usr/old'),
    file('usr/old/new', 'new'),
    symlink('usr/lib/link', '../bin/low2'),
    file('usr/lib/one', 'two names'),
    hardlink('usr/lib/two', 'usr/lib/one'),
  ],
  [
    dir('etc'),
    ...numbered(60, (n) => file(`etc/high${n}`, 'h'.repeat(5000 + n))),
    file('etc/new\nline', 'n'),
  ],
];
/** Counted by hand from the stack: usr, usr/bin, 59 low, usr/old, new, closed, inside, null, big; usr/lib, 60 middle, link, one, two; etc, 60, newline. */
const NAMES = 2 + 59 + 2 + 2 + 2 + (1 + 60 + 3) + (1 + 60 + 1);
const FILES =
  NAMES - ['usr', 'usr/bin', 'usr/old', 'closed', 'usr/lib', 'etc', 'null', 'usr/lib/link'].length;
const sum = (from: number, to: number): number => ((from + to) * (to - from + 1)) / 2;
const LOW_BYTES = 10 * (sum(0, 59) - 1);
const HIGH_BYTES = sum(5000, 5059);
/** Sizes of all names that are regular files; two names of one file count twice. */
const BYTES =
  LOW_BYTES + 'new'.length + 'secret'.length + 100_000 + sum(0, 59) + 2 * 'two names'.length + HIGH_BYTES + 1;

function numbered<T>(count: number, make: (n: number) => T): T[] {
  return Array.from({ length: count }, (_, n) => make(n));
}

interface Report {
  image: Record<string, unknown>;
  machine: Record<string, unknown>;
  runs: number;
  reference?: string;
  subjects: {
    name: string;
    about?: string;
    reason?: string;
    preparation?: { seconds: number; bytes: number };
  }[];
  results: { metric: string; subject: string; median: number; min: number; max: number; ratio?: number }[];
  samples: {
    metric: string;
    subject: string;
    round: number;
    value: number;
    operations: number;
    bytes: number;
  }[];
}

const base = mkdtempSync(path.join(tmpdir(), 'lamina-e2e-bench-'));
const archive = path.join(base, 'image.tar');
const work = path.join(base, 'work');
const env = {
  ...process.env,
  LAMINA_ROOT: path.join(base, 'root'),
  LAMINA_RUN: path.join(base, 'run'),
};
const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));

function bench(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = env,
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, 'bench', '--work', work, ...args], {
    env: environment,
    encoding: 'utf8',
  });
}

function report(args: readonly string[], environment?: NodeJS.ProcessEnv): Report {
  const { status, stdout, stderr } = bench(['--json', '--quick', '--no-drop-caches', ...args], environment);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout) as Report;
}

/** Mounts below the test's own directory, and what the bench made there. */
function leftovers(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(base));
  const records = existsSync(path.join(base, 'run/mounts')) ? readdirSync(path.join(base, 'run/mounts')) : [];
  return [...mounts, ...records.filter((name) => !name.endsWith('.lock')), ...readdirSync(work)];
}

const subjectsOf = (all: Report): string[] =>
  all.subjects.filter(({ reason }) => reason === undefined).map(({ name }) => name);

describe.skipIf(!able)('lamina bench', () => {
  beforeAll(() => {
    mkdirSync(work);
    dockerArchive(STACK, archive);
  });
  afterEach(() => expect(leftovers()).toEqual([]));
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  const METRICS = [
    ...['lookup-top', 'lookup-middle', 'lookup-bottom', 'lookup-miss', 'find', 'ls'].flatMap((name) => [
      `${name}-cold`,
      `${name}-warm`,
    ]),
    ...['read-first', 'read-warm', 'open-warm'],
  ];

  it.runIf(needs('root', '/dev/fuse', 'kernel overlayfs', 'command fuse-overlayfs'))(
    'measures every scenario with every subject, all of which did the same',
    () => {
      const all = report(['--runs', '2', archive]);
      const subjects = subjectsOf(all);
      expect(subjects).toEqual(
        expect.arrayContaining(['lamina', 'lamina-library', 'overlayfs', 'fuse-overlayfs', 'plain']),
      );
      expect(all.reference).toBe('overlayfs');
      expect(new Set(all.results.map(({ metric }) => metric))).toEqual(new Set(METRICS));
      expect(all.results).toHaveLength(METRICS.length * subjects.length);
      expect(all.samples).toHaveLength(METRICS.length * subjects.length * 2);
      for (const { median, min, max } of all.results) {
        expect(min).toBeGreaterThan(0);
        expect(median).toBe((min + max) / 2);
      }
      const ratios = all.results.filter(({ subject }) => subject === 'overlayfs').map(({ ratio }) => ratio);
      expect(new Set(ratios)).toEqual(new Set([1]));

      const work = (metric: string): Set<string> =>
        new Set(
          all.samples
            .filter((sample) => sample.metric === metric)
            .map(({ operations, bytes }) => `${operations} names, ${bytes} bytes`),
        );
      expect(work('find-cold')).toEqual(new Set([`${NAMES} names, 0 bytes`]));
      expect(work('ls-warm')).toEqual(new Set([`${NAMES} names, ${BYTES} bytes`]));
      // The name with a newline cannot stand in a list.
      expect(work('read-first')).toEqual(new Set([`${FILES - 1} names, ${BYTES - 1} bytes`]));
      expect(work('lookup-top-cold')).toEqual(new Set([`60 names, ${HIGH_BYTES} bytes`]));
      // low0..low59 but low1, big, the closed file, and the device.
      expect(work('lookup-bottom-cold')).toEqual(new Set([`62 names, ${LOW_BYTES + 100_000 + 6} bytes`]));

      expect(all.image).toMatchObject({ layers: 3, names: NAMES });
      expect(all.machine).toMatchObject({ node: process.version, isRoot: true, cachesDropped: false });
      expect(all.subjects.find(({ name }) => name === 'overlayfs')!.preparation!.bytes).toBeGreaterThan(
        BYTES,
      );
      const { about } = all.subjects.find(({ name }) => name === 'lamina')!;
      expect(['/dev/fuse', 'FUSE-over-io_uring']).toContain(about);
      // Either both ways of serving were measured, or it is said why not.
      const noUring = all.subjects.find(({ name }) => name === 'lamina-no-uring')!;
      expect(noUring.reason ?? noUring.about).toMatch(
        about === '/dev/fuse' ? /does not allow/ : /^\/dev\/fuse$/,
      );
    },
    120_000,
  );

  it('names who cannot take part, with a reason, and goes on', () => {
    // Nothing is on the PATH.
    const all = report(['--only', 'find', '--against', 'fuse-overlayfs,plain', archive], {
      ...env,
      PATH: '/nowhere',
    });
    expect(all.subjects.find(({ name }) => name === 'fuse-overlayfs')).toEqual({
      name: 'fuse-overlayfs',
      reason: 'fuse-overlayfs is not installed',
    });
    expect(subjectsOf(all)).toContain('lamina-library');
  });

  it.runIf(needs('root', 'kernel overlayfs'))('looks names up in an image that was made deeper', () => {
    const all = report(['--only', 'depth', '--depth', '2,12', '--against', 'overlayfs,plain', archive]);
    // Two layers are fewer than it has.
    expect(new Set(all.results.map(({ metric }) => metric))).toEqual(
      new Set(['hit', 'miss'].flatMap((what) => [`depth-12-${what}-cold`, `depth-12-${what}-warm`])),
    );
    expect(new Set(all.results.map(({ subject }) => subject))).toContain('overlayfs');
  });

  it.runIf(needs('root', '/dev/fuse', 'command python3'))(
    'empties the caches when it may, prints a table and draws a picture',
    () => {
      const svg = path.join(base, 'bench.svg');
      const args = ['--quick', '--only', 'read,ls', '--against', 'plain', '--svg', svg, archive];
      const { status, stdout, stderr } = bench(args);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(stdout).toMatch(/caches emptied before cold and first/);
      expect(stdout).toMatch(/^read all files, first +\S+ \S+ \(\S+x\)/m);
      const parse =
        'import sys, xml.dom.minidom as m; print(len(m.parse(sys.argv[1]).getElementsByTagName("g")))';
      expect(execFileSync('python3', ['-c', parse, svg], { encoding: 'utf8' })).toBe('4\n');
    },
  );

  it('keeps what was unpacked when asked, and says where', () => {
    const { status, stderr } = bench([
      ...['--quick', '--no-drop-caches', '--keep', '--only', 'find', '--against', 'plain', archive],
    ]);
    expect(status).toBe(0);
    const kept = /^kept: (.*)$/m.exec(stderr)![1]!;
    const plain = readdirSync(kept).find((name) => name.startsWith('plain'))!;
    const found = execFileSync('find', [path.join(kept, plain), '-mindepth', '1', '-printf', 'x']);
    expect(found).toHaveLength(NAMES);
    rmSync(kept, { recursive: true });
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('cleans up after %s, at any moment', async (signal) => {
    for (const afterMs of [300, 700, 1200, 2000]) {
      const args = [MAIN, 'bench', '--work', work, '--no-drop-caches', '--runs', '500', archive];
      const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
      const ended = new Promise((resolve) => child.on('exit', (code, by) => resolve(code ?? by)));
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      const made = readdirSync(work).length;
      child.kill(signal);
      const status = await ended;
      // Before the program has begun, the signal ends it at once.
      expect([signal, signal === 'SIGINT' ? 130 : 143]).toContain(status);
      expect(said).toBe('');
      expect(leftovers()).toEqual([]);
      if (afterMs === 2000) expect(made).toBe(1);
    }
  });

  it('cleans up after an error', () => {
    const cut = path.join(base, 'cut.tar');
    writeFileSync(cut, readFileSync(archive).subarray(0, 60_000));
    expect(bench(['--quick', cut]).status).toBe(1);
    expect(bench(['--quick', path.join(base, 'absent.tar')]).stderr).toMatch(/\[ENOENT\]|\[ENOIMAGE\]/);
    expect(bench(['--only', 'depth', archive])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/nothing to measure.*\[EBENCH\]/) as string,
    });
    expect(bench(['--only', 'nothing', archive]).status).toBe(125);
  });

  it.runIf(needs('root', '/dev/fuse', 'command fusermount3', 'command runuser'))(
    'works without root',
    async () => {
      const user = new TemporaryUser();
      try {
        // Where the checkout lies may be closed to others.
        const at = path.join(user.home, 'lamina');
        mkdirSync(at);
        execFileSync('cp', [
          '-r',
          ...['dist', 'prebuilds', 'package.json'].map((name) => path.join(TOP, name)),
          at,
        ]);
        copyFileSync(archive, path.join(user.home, 'image.tar'));
        symlinkSync(realNode(user.home), path.join(user.home, 'node'));
        const shown = path.join(user.home, 'work');
        mkdirSync(shown);
        chmodSync(shown, 0o777);
        const variables = {
          LAMINA_ROOT: path.join(user.home, 'root'),
          LAMINA_RUN: path.join(user.home, 'run'),
        };
        const args = ['bench', '--quick', '--json', '--work', shown, path.join(user.home, 'image.tar')];
        const all = JSON.parse(
          await user.run(
            [path.join(user.home, 'node'), path.join(at, 'dist/cli/main.js'), ...args],
            variables,
          ),
        ) as Report;
        expect(subjectsOf(all)).toEqual(expect.arrayContaining(['lamina', 'lamina-library', 'plain']));
        expect(all.subjects.find(({ name }) => name === 'overlayfs')!.reason).toBe('mounting it needs root');
        // Nobody but root meets what lies in the closed directory.
        const finds = all.samples.filter(({ metric }) => metric === 'find-cold');
        expect(new Set(finds.map(({ operations }) => operations))).toEqual(new Set([NAMES - 1]));
        expect(readdirSync(shown)).toEqual([]);
        expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(user.home);
      } finally {
        user.remove();
      }
    },
    60_000,
  );
});

/** A node that the user can run: this one may lie in a closed directory. */
function realNode(home: string): string {
  const copy = path.join(home, 'node-binary');
  copyFileSync(process.execPath, copy);
  chmodSync(copy, 0o755);
  return copy;
}
