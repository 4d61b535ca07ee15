/** `lamina run` in the foreground, through the built program and real runtimes; docker's words and exit statuses. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasBusybox } from '../helpers/busybox-root.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import { RunStore } from '../helpers/run-store.js';

const able =
  needs('root', '/dev/fuse', 'command crun', 'command runc') &&
  requirement('/bin/busybox (busybox-static)', hasBusybox()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able).each(['crun', 'runc'])('run by %s', (runtime) => {
  let store: RunStore;
  beforeAll(async () => {
    store = new RunStore();
    await store.fill(['ENV FROM_IMAGE=yes', 'CMD ["sh", "-c", "echo default"]']);
  });
  afterAll(() => store.remove());
  afterEach(() => expect(store.leftovers()).toEqual([]));

  const run = (...args: readonly string[]) => store.run('run', '--rm', '--runtime', runtime, ...args);
  const out = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await run(...args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    return stdout;
  };

  it('gives the output and the status of the command', async () => {
    expect(await out('box')).toBe('default\n');
    expect(await run('box', 'sh', '-c', 'echo out; echo err >&2; exit 42')).toEqual({
      exitCode: 42,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect((await run('box', 'sh', '-c', "sh -c 'kill -KILL $$'; exit $?")).exitCode).toBe(137);
    expect(await out('--entrypoint', 'echo', 'box', '--rm', '-e', 'x')).toBe('--rm -e x\n');
    expect(await out('box', 'echo', '--read-only=1', '--init=true')).toBe('--read-only=1 --init=true\n');
  });

  it('has the exit statuses of docker for what does not start', async () => {
    expect(await run('box', 'nosuch')).toMatchObject({
      exitCode: 127,
      stderr: expect.stringMatching(
        /exec: "nosuch": executable file not found in \$PATH \[ENOCOMMAND\]/,
      ) as string,
    });
    expect(await run('box', '/etc/passwd')).toMatchObject({
      exitCode: 126,
      stderr: expect.stringMatching(/exec: "\/etc\/passwd": permission denied/) as string,
    });
    expect(await run('nosuchimage', 'true')).toMatchObject({ exitCode: 125 });
    expect(await run('-u', 'nobody', 'box', 'true')).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(
        /unable to find user nobody: no matching entries in passwd file/,
      ) as string,
    });
    expect(await run('--network', 'bridge', 'box')).toMatchObject({ exitCode: 125 });
    expect(await run('--no-such-flag', 'box')).toMatchObject({ exitCode: 125 });
    expect(await run('-it', 'box')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/the input device is not a TTY/) as string,
    });
    expect(await store.ok('ps', '-aq')).toBe('');
  });

  it('takes environment, user, directory and host name', async () => {
    const file = join(store.base, 'env');
    writeFileSync(file, '# comment\nFROM_FILE=a b\n');
    const text = await out(
      ...['-e', 'GIVEN=1', '--env-file', file, '-u', 'worker', '-w', '/made/here', '-h', 'inside'],
      ...[
        'box',
        'sh',
        '-c',
        'id -u; id -g; id -G; pwd; hostname; echo $HOME $HOSTNAME $GIVEN $FROM_FILE $FROM_IMAGE',
      ],
    );
    const lines = text.trim().split('\n');
    expect(
      lines[2]
        ?.split(' ')
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual([29, 44, 2345]);
    lines.splice(2, 1);
    expect(lines).toEqual(['1234', '2345', '/made/here', 'inside', '/home/worker inside 1 a b yes']);
    expect(await out('box', 'hostname')).toBe(`${os.hostname()}\n`);
  });

  it('mounts, and refuses to write where it may not', async () => {
    const host = join(store.base, 'host');
    mkdirSync(host, { recursive: true });
    writeFileSync(join(host, 'file'), 'of the host\n');
    const volumes = ['-v', `${host}:/data`, '-v', `${host}:/ro:ro`, '--tmpfs', '/scratch:size=1m'];
    const bind = ['--mount', `type=bind,src=${host}/file,dst=/mnt/one,readonly`];
    const script =
      'cat /mnt/one; echo new > /data/new; touch /ro/x 2>&1; grep -o "/scratch tmpfs.*size=1024k" /proc/mounts | cut -c1-14';
    expect(await out(...volumes, ...bind, 'box', 'sh', '-c', script)).toBe(
      'of the host\ntouch: /ro/x: Read-only file system\n/scratch tmpfs\n',
    );
    expect(readFileSync(join(host, 'new'), 'utf8')).toBe('new\n');
    expect((await run('--read-only', 'box', 'touch', '/x')).stderr).toBe(
      'touch: /x: Read-only file system\n',
    );
    expect(await run('-v', 'named:/x', 'box', 'true')).toMatchObject({ exitCode: 125 });
  });

  it('passes standard input only when it is asked for', async () => {
    const { execFileSync } = await import('node:child_process');
    const { LAMINA_MAIN } = await import('../helpers/lamina.js');
    const cat = (...flags: string[]): string =>
      execFileSync(
        process.execPath,
        [LAMINA_MAIN, 'run', '--rm', '--runtime', runtime, ...flags, 'box', 'cat'],
        {
          input: 'typed',
          encoding: 'utf8',
          env: { ...process.env, LAMINA_ROOT: store.root },
        },
      );
    expect(cat('-i')).toBe('typed');
    expect(cat()).toBe('');
  });

  it('gives a terminal, also into a pipe', async () => {
    expect(await out('-t', 'box', 'sh', '-c', 'tty; echo $TERM')).toBe('/dev/pts/0\r\nxterm\r\n');
    const { spawnSync } = await import('node:child_process');
    const { LAMINA_MAIN } = await import('../helpers/lamina.js');
    // script(1) is the terminal that a person sits at.
    const command = `${process.execPath} ${LAMINA_MAIN} run -it --rm --runtime ${runtime} box sh -c 'test -t 0 && tty; exit 7'`;
    const typed = spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      input: '',
      env: { ...process.env, LAMINA_ROOT: store.root },
    });
    expect([typed.status, typed.stdout]).toEqual([7, expect.stringContaining('/dev/pts/0') as string]);
  });

  it('passes signals on', async () => {
    const { spawn } = await import('node:child_process');
    const { LAMINA_MAIN } = await import('../helpers/lamina.js');
    const script = 'trap "echo told; exit 9" TERM; echo ready; while :; do sleep 0.1; done';
    const args = [LAMINA_MAIN, 'run', '--rm', '--runtime', runtime, 'box', 'sh', '-c', script];
    const child = spawn(process.execPath, args, { env: { ...process.env, LAMINA_ROOT: store.root } });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (said === '') child.kill('SIGTERM');
      said += text;
    });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(9);
    expect(said).toBe('ready\ntold\n');
  });

  it('keeps a container that is not to be removed, with what it wrote and what it said', async () => {
    const { exitCode } = await store.run(
      'run',
      '--runtime',
      runtime,
      '--name',
      'kept',
      'box',
      'sh',
      '-c',
      'echo said; touch /new; exit 3',
    );
    expect(exitCode).toBe(3);
    expect(await store.ok('logs', 'kept')).toBe('said\n');
    expect(await store.ok('diff', 'kept')).toBe('A /new\n');
    expect(await store.ok('ps', '-a', '--format', '{{.Status}}')).toMatch(
      /^Exited \(3\) (\d+ seconds?|Less than a second) ago\n$/,
    );
    expect(await store.ok('ps', '-q', '-f', 'exited=3')).not.toBe('');
    expect(await store.ok('ps', '-q', '-f', 'exited=4')).toBe('');
    expect(await store.ok('wait', 'kept')).toBe('3\n');
    expect(await store.run('exec', 'kept', 'true')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/is not running \[ENOTRUNNING\]/) as string,
    });
    expect((await store.run('start', '-a', 'kept')).exitCode).toBe(3);
    expect(await store.ok('logs', 'kept')).toBe('said\nsaid\n');
    await store.ok('rm', 'kept');
  });
});
