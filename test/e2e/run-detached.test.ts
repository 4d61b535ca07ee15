/** Containers that run on their own: their monitor, logs, ends; and what is left when any part is killed at any moment. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasBusybox } from '../helpers/busybox-root.js';
import { isLaminaBuilt, LAMINA_MAIN } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import { RunStore } from '../helpers/run-store.js';

const able =
  needs('root', '/dev/fuse', 'command crun', 'command runc') &&
  requirement('/bin/busybox (busybox-static)', hasBusybox()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

const KILLS = Number(process.env['LAMINA_RUN_KILLS'] ?? 25);

describe.skipIf(!able).each(['crun', 'runc'])('run -d by %s', (runtime) => {
  let store: RunStore;
  beforeAll(async () => {
    store = new RunStore();
    await store.fill(['CMD ["sh"]', 'VOLUME /data']);
  });
  afterAll(() => store.remove());
  afterEach(async () => {
    const ids = (await store.ok('ps', '-aq', '--no-trunc')).split('\n').filter(Boolean);
    if (ids.length > 0) await store.ok('rm', '-f', ...ids);
    expect(store.leftovers()).toEqual([]);
  });

  const start = async (name: string, script: string, ...flags: readonly string[]): Promise<string> =>
    (
      await store.ok('run', '-d', '--runtime', runtime, '--name', name, ...flags, 'box', 'sh', '-c', script)
    ).trim();
  const state = async (name: string): Promise<Record<string, unknown>> =>
    JSON.parse(await store.ok('container', 'inspect', '-f', '{{json .State}}', name)) as Record<
      string,
      unknown
    >;

  it('runs, tells what it prints and how it ended', async () => {
    const id = await start('one', 'echo out; echo err >&2; sleep 1; exit 4');
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await store.ok('ps', '--format', '{{.Names}} {{.State}} {{.Status}}')).toMatch(
      /^one running Up (Less than a second|\d+ seconds?)\n$/,
    );
    expect(await state('one')).toMatchObject({ Status: 'running', Running: true });
    expect((await store.run('rm', 'one')).stderr).toMatch(
      /cannot remove container "\/one": container is running: stop the container before removing or force remove/,
    );
    expect(await store.ok('wait', 'one')).toBe('4\n');
    const { stdout, stderr } = await store.run('logs', 'one');
    expect([stdout, stderr]).toEqual(['out\n', 'err\n']);
    const lines = readFileSync(join(store.root, 'containers', id, 'log.json'), 'utf8')
      .trim()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { log: 'out\n', stream: 'stdout' },
      { log: 'err\n', stream: 'stderr' },
    ]);
    expect(await store.ok('logs', '-t', 'one')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out\n$/);
    expect(await state('one')).toMatchObject({ Status: 'exited', ExitCode: 4, Pid: 0 });
  });

  it('keeps every byte of long output, and its last lines', async () => {
    await start('long', 'seq 1 20000; head -c 40000 /dev/zero | tr "\\0" x');
    await store.ok('wait', 'long');
    const expected = `${Array.from({ length: 20_000 }, (_, index) => index + 1).join('\n')}\n${'x'.repeat(40_000)}`;
    expect(await store.ok('logs', 'long')).toBe(expected);
    expect((await store.ok('logs', '--tail', '2', 'long')).length).toBe(40_000 - 16_384);
  });

  it('is stopped by its signal, or after a time by force', async () => {
    await start('polite', 'trap "exit 9" TERM; while :; do sleep 0.1; done');
    await store.ok('stop', 'polite');
    expect(await state('polite')).toMatchObject({ ExitCode: 9 });
    await start('usr', 'trap "exit 8" USR1; while :; do sleep 0.1; done', '--stop-signal', 'SIGUSR1');
    await store.ok('stop', 'usr');
    expect(await state('usr')).toMatchObject({ ExitCode: 8 });
    await start('deaf', 'sleep 100');
    const began = Date.now();
    await store.ok('stop', '-t', '1', 'deaf');
    expect(Date.now() - began).toBeGreaterThan(900);
    expect(await state('deaf')).toMatchObject({ ExitCode: 137 });
    expect((await store.run('kill', 'deaf')).stderr).toMatch(/is not running \[ENOTRUNNING\]/);
    await store.ok('restart', 'polite');
    expect(await state('polite')).toMatchObject({ Status: 'running' });
    await store.ok('kill', 'polite');
    expect(await state('polite')).toMatchObject({ Status: 'exited', ExitCode: 137 });
  });

  it('takes further processes', async () => {
    await start('host', 'sleep 100', '-e', 'GIVEN=1', '-w', '/tmp');
    const exec = (...args: string[]) => store.run('exec', ...args);
    expect(await exec('host', 'sh', '-c', 'echo $GIVEN; pwd; cat; exit 6')).toEqual({
      exitCode: 6,
      stdout: '1\n/tmp\n',
      stderr: '',
    });
    const { stdout } = await exec(
      '-u',
      'worker',
      '-w',
      '/',
      '-e',
      'MORE=2',
      'host',
      'sh',
      '-c',
      'id -u; id -g; pwd; echo $HOME $MORE',
    );
    expect(stdout).toBe('1234\n2345\n/\n/home/worker 2\n');
    expect(await exec('host', 'nosuch')).toMatchObject({ exitCode: 127 });
    expect(await exec('host', '/etc/passwd')).toMatchObject({ exitCode: 126 });
    await store.ok('exec', '-d', 'host', 'touch', '/left');
    for (let tries = 0; tries < 100 && !(await store.ok('diff', 'host')).includes('/left'); tries++)
      await setTimeout(50);
    expect(await store.ok('diff', 'host')).toContain('A /left\n');
  });

  it('has a terminal when it is asked for, and an open input', async () => {
    await start('tty', 'tty; cat', '-it');
    for (let tries = 0; tries < 100 && (await store.ok('logs', 'tty')) === ''; tries++) await setTimeout(50);
    expect(await store.ok('logs', 'tty')).toBe('/dev/pts/0\r\n');
    expect(await state('tty')).toMatchObject({ Status: 'running' });
    await start('open', 'cat', '-i');
    await start('closed', 'cat');
    expect(await store.ok('wait', 'closed')).toBe('0\n');
    expect(await state('open')).toMatchObject({ Status: 'running' });
  });

  it('goes when it was to go, and keeps its volume otherwise', async () => {
    await start('gone', 'sleep 0.5; exit 2', '--rm');
    expect(await store.ok('wait', 'gone')).toBe('2\n');
    for (let tries = 0; tries < 100 && (await store.ok('ps', '-aq')) !== ''; tries++) await setTimeout(50);
    expect(await store.ok('ps', '-aq')).toBe('');
    await start('volume', 'echo x >> /data/file; wc -l < /data/file');
    await store.ok('wait', 'volume');
    expect((await store.run('start', '-a', 'volume')).stdout).toBe('2\n');
    expect(await store.ok('diff', 'volume')).not.toContain('file');
    expect((await store.run('start', 'nosuch')).exitCode).toBe(1);
  });

  it('says 127 for what does not start, and shows why', async () => {
    const { exitCode } = await store.run(
      'run',
      '-d',
      '--runtime',
      runtime,
      '--name',
      'never',
      'box',
      'nosuch',
    );
    expect(exitCode).toBe(127);
    expect(await state('never')).toMatchObject({
      Status: 'created',
      ExitCode: 127,
      Error: expect.stringMatching(/nosuch/) as string,
    });
  });

  it('costs little while it waits', async () => {
    const id = await start('small', 'sleep 100');
    const monitor = JSON.parse(readFileSync(join(store.base, 'run/bundles', id, 'owner.json'), 'utf8')) as {
      pid: number;
    };
    const rssKb = Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${monitor.pid}/status`, 'utf8'))?.[1]);
    expect(rssKb).toBeLessThan(4096);
  });

  it('is not called running when its monitor was killed with it, and is repaired', async () => {
    const id = await start('orphan', 'sleep 1000');
    const owner = JSON.parse(readFileSync(join(store.base, 'run/bundles', id, 'owner.json'), 'utf8')) as {
      pid: number;
    };
    const { Pid: pid } = await state('orphan');
    process.kill(owner.pid, 'SIGKILL');
    // The process is there still.
    expect(await state('orphan')).toMatchObject({ Status: 'running' });
    const { stdout, exitCode } = await store.run('system', 'check');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('who ran it is gone')]);
    await store.ok('system', 'check', '--repair');
    expect(isAlive(pid as number)).toBe(false);
    expect(await state('orphan')).toMatchObject({ Status: 'exited' });
    expect(store.leftovers()).toEqual([]);
    await start('again', 'sleep 1000');
    const both = JSON.parse(
      readFileSync(join(store.base, 'run/bundles', await idOf('again'), 'owner.json'), 'utf8'),
    ) as { pid: number };
    const { Pid: second } = await state('again');
    process.kill(both.pid, 'SIGKILL');
    process.kill(second as number, 'SIGKILL');
    await setTimeout(100);
    expect(await store.ok('ps', '-q')).not.toMatch(/running/);
    expect(await state('again')).toMatchObject({ Status: expect.not.stringMatching(/running/) as string });
    expect((await store.run('start', 'again')).exitCode).toBe(0);
  });

  const idOf = async (name: string): Promise<string> =>
    (await store.ok('container', 'inspect', '-f', '{{.Id}}', name)).trim();

  it(`leaves nothing after ${KILLS} kills at random moments and a repair`, { timeout: 600_000 }, async () => {
    for (let index = 0; index < KILLS; index++) {
      const flags = index % 2 === 0 ? [] : ['-d'];
      const args = ['run', '--rm', '--runtime', runtime, ...flags, 'box', 'sleep', '1000'];
      const child = spawn(process.execPath, [LAMINA_MAIN, ...args], {
        env: { ...process.env, LAMINA_ROOT: store.root },
        stdio: 'ignore',
      });
      const exited = new Promise((resolve) => child.once('exit', resolve));
      await setTimeout((index / KILLS) * 500 + Math.random() * 20);
      child.kill('SIGKILL');
      await exited;
      // What runs in the background is in order: its monitor goes the same way.
      for (const monitor of monitors()) process.kill(monitor, 'SIGKILL');
      await store.ok('system', 'check', '--repair');
      expect(store.leftovers()).toEqual([]);
      expect(processesOf(store.base)).toEqual([]);
      expect(await store.ok('ps', '-aq')).toBe('');
    }
  });

  const monitors = (): number[] =>
    processesOf(store.base).filter((pid) => commandLine(pid).includes('\0monitor\0'));

  it('is recorded for its user alone', async () => {
    const id = await start('private', 'true');
    await store.ok('wait', 'private');
    for (const name of ['log.json', 'state.jsonl'])
      expect(statSync(join(store.root, 'containers', id, name)).mode & 0o777).toBe(0o600);
  });
});

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

/** A process that nobody has waited for yet is dead all the same. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Processes that name a directory on their command line. */
function processesOf(directory: string): number[] {
  const text = execFileSync('ps', ['-eo', 'pid=,args=', '-ww'], { encoding: 'utf8' });
  return text
    .split('\n')
    .filter((line) => line.includes(directory) && !line.includes('ps -eo'))
    .map((line) => Number(line.trim().split(' ')[0]));
}
