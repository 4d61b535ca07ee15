/** A process in a root filesystem, under real runtimes. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bindMount, tmpfsMount } from '../../../src/runtime/mounts.js';
import { ownProfile } from '../../../src/runtime/seccomp-own.js';
import { runInRoot } from '../../../src/runtime/run-in-root.js';
import type { RunInRoot } from '../../../src/runtime/run-in-root.js';
import { busyboxRoot, hasBusybox } from '../../helpers/busybox-root.js';
import { needs, requirement } from '../../helpers/require.js';

const able =
  needs('root', 'command crun', 'command runc') && requirement('/bin/busybox (busybox-static)', hasBusybox());

describe.skipIf(!able).each(['crun', 'runc'])('runInRoot by %s', (runtime) => {
  const base = able ? mkdtempSync(join(tmpdir(), 'lamina-run-')) : '';
  const rootfs = join(base, 'rootfs');
  const before = process.env['LAMINA_RUN'];

  beforeAll(() => {
    process.env['LAMINA_RUN'] = join(base, 'run');
    busyboxRoot(rootfs);
  });
  afterAll(() => {
    if (before === undefined) delete process.env['LAMINA_RUN'];
    else process.env['LAMINA_RUN'] = before;
    rmSync(base, { recursive: true, force: true });
  });

  const run = async (
    args: readonly string[],
    more: Partial<RunInRoot> = {},
  ): Promise<{ status: number; out: string; err: string }> => {
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    const status = await runInRoot({
      rootfs,
      args,
      env: [],
      runtime,
      stdout: (chunk) => out.push(chunk),
      stderr: (chunk) => err.push(chunk),
      ...more,
    });
    return { status, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
  };

  it('gives status and output', async () => {
    expect(await run(['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      status: 7,
      out: 'out\n',
      err: 'err\n',
    });
  });

  it('leaves nothing behind', async () => {
    const names = readdirSync(rootfs).sort();
    const { mtimeNs } = statSync(rootfs, { bigint: true });
    await run(['true']);
    expect(readdirSync(rootfs).sort()).toEqual(names);
    expect(statSync(rootfs, { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(readdirSync(join(base, 'run/bundles'))).toEqual([]);
    expect(readdirSync(join(base, 'run/runtime', runtime))).toEqual([]);
  });

  it('runs as the user of the root, in a directory that is made', async () => {
    const { out } = await run(['sh', '-c', 'id -u; id -g; id -G; pwd; echo $HOME; echo $PATH'], {
      user: 'worker',
      cwd: '/srv/made here',
    });
    const [uid, gid, groups, cwd, home, path] = out.trim().split('\n');
    expect([uid, gid, cwd, home]).toEqual(['1234', '2345', '/srv/made here', '/home/worker']);
    expect(groups?.split(' ').map(Number).sort()).toEqual([2345, 29, 44].sort());
    expect(path).toBe('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin');
    rmSync(join(rootfs, 'srv'), { recursive: true });
  });

  it('says 127 and 126 for commands that cannot run, and takes its input', async () => {
    await expect(run(['nosuch'])).rejects.toMatchObject({ code: 'ENOCOMMAND', exitCode: 127 });
    await expect(run(['/no/such'])).rejects.toMatchObject({ code: 'ENOCOMMAND', exitCode: 127 });
    await expect(run(['/etc/passwd'])).rejects.toMatchObject({ code: 'ENOTEXECUTABLE', exitCode: 126 });
    // docker leaves this one to the runtime as well: it is noticed when the process is there.
    writeFileSync(join(rootfs, 'bin/bad'), 'no program', { mode: 0o755 });
    const { status, err } = await run(['bad']);
    expect(status).toBe(1);
    expect(err).toMatch(/^exec .*bad.*: exec format error\n$/i);
    rmSync(join(rootfs, 'bin/bad'));
    await expect(run(['true'], { user: 'nobody-here' })).rejects.toMatchObject({ code: 'EUSER' });
    expect((await run(['cat'], { stdin: Buffer.from('given') })).out).toBe('given');
    expect((await run(['cat'])).out).toBe('');
  });

  it('mounts what is asked for and takes away its places', async () => {
    const shared = join(base, 'shared');
    mkdirSync(shared, { recursive: true });
    writeFileSync(join(shared, 'file'), 'of the host');
    const mounts = [
      bindMount(shared, '/mnt/deep/shared', ['ro']),
      bindMount(join(shared, 'file'), '/run/secrets/one'),
      tmpfsMount('/cache', ['size=1m']),
    ];
    const script =
      'cat /mnt/deep/shared/file /run/secrets/one; touch /mnt/deep/shared/x 2>&1; grep -c " /cache tmpfs" /proc/mounts';
    const { out } = await run(['sh', '-c', script], { mounts });
    expect(out).toBe('of the hostof the hosttouch: /mnt/deep/shared/x: Read-only file system\n1\n');
    expect(
      ['mnt', 'run', 'cache', 'proc', 'sys', 'dev'].filter((name) => existsSync(join(rootfs, name))),
    ).toEqual([]);
  });

  it('shows the network that it is told', async () => {
    const script = 'cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d " "; hostname; cat /etc/hostname';
    const none = await run(['sh', '-c', script], { network: 'none', hostname: 'inside' });
    expect(none.out).toBe('lo\ninside\ninside\n');
    const host = await run(['sh', '-c', script]);
    expect(host.out.trim().split('\n').at(-1)).toBe(os.hostname());
  });

  it('filters system calls, by our own profile as well', async () => {
    const profile = join(base, 'own.json');
    writeFileSync(profile, JSON.stringify(ownProfile()));
    const show = ['grep', '^Seccomp:', '/proc/self/status'];
    for (const seccomp of ['default', profile])
      expect((await run(show, { seccomp })).out).toBe('Seccomp:\t2\n');
    expect((await run(show, { seccomp: 'unconfined' })).out).toBe('Seccomp:\t0\n');
    // The kernel lets anybody make a user namespace; the filter does not.
    const { err } = await run(['unshare', '-U', 'true'], { seccomp: profile });
    expect(err).toMatch(/Operation not permitted/);
    expect((await run(['unshare', '-U', 'true'], { seccomp: 'unconfined' })).status).toBe(0);
  });

  it('is killed by its caller', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const began = Date.now();
    const { status } = await run(['sh', '-c', 'sleep 60 & sleep 60'], { abort: controller.signal });
    expect(status).toBe(137);
    expect(Date.now() - began).toBeLessThan(10_000);
    expect(readdirSync(join(base, 'run/runtime', runtime))).toEqual([]);
  });
});
