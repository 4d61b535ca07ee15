/** The workflows of docker's image tutorials from end to end, with Debian's docker-registry, debootstrap's root and archives on the other side. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasBusybox } from '../helpers/busybox-root.js';
import { startDockerRegistry } from '../helpers/docker-registry.js';
import type { RunningRegistry } from '../helpers/docker-registry.js';
import { isLaminaBuilt, lamina, laminaOk, LAMINA_MAIN } from '../helpers/lamina.js';
import { canMakeRealImage, REAL_IMAGE_COMMANDS, realImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';
import { RunStore } from '../helpers/run-store.js';

const able =
  needs('root', '/dev/fuse', 'command crun', 'command runc', 'command docker-registry') &&
  requirement('/bin/busybox (busybox-static)', hasBusybox()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));
const hasReal =
  able &&
  needs(...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const)) &&
  requirement('the Debian mirror, or the image made before', await canMakeRealImage());

describe.skipIf(!able)('a tutorial', () => {
  let store: RunStore;
  let registry: RunningRegistry;
  beforeAll(async () => {
    store = new RunStore();
    await store.fill();
    registry = await startDockerRegistry();
  });
  afterAll(async () => {
    await registry.stop();
    await store.remove();
  });
  afterEach(() => expect(store.leftovers()).toEqual([]));

  it('run, change, commit, tag, push, remove, pull, run', async () => {
    const { ok } = bound(store);
    // "Installs" a program, as apt-get would, and a file that it needs.
    const install =
      'printf "#!/bin/sh\\ncat /etc/greeting\\n" > /bin/greet && chmod 755 /bin/greet && echo hello > /etc/greeting && rm /bin/wget';
    await ok('run', '--name', 'work', '-e', 'LANG=C', 'box', 'sh', '-c', install);
    expect(await ok('diff', 'work')).toBe('C /bin\nA /bin/greet\nD /bin/wget\nC /etc\nA /etc/greeting\n');
    await ok('commit', '-a', 'A. Author', '-m', 'say hello', '-c', 'CMD ["greet"]', 'work', 'greeter');
    expect(await ok('history', '--format', '{{.Comment}}', 'greeter')).toMatch(/^say hello\n/);
    expect(
      await ok('inspect', '-f', '{{.Author}} {{json .Config.Cmd}} {{json .Config.Env}}', 'greeter'),
    ).toBe('A. Author ["greet"] ["LANG=C"]\n');
    expect(await ok('run', '--rm', 'greeter')).toBe('hello\n');
    const name = `${registry.domain}/tutorial/greeter:1`;
    await ok('tag', 'greeter', name);
    await ok('push', '-q', name);
    await ok('rm', 'work');
    await ok('rmi', name, 'greeter');
    expect((await store.run('run', '--rm', '--pull', 'never', name)).exitCode).toBe(125);
    await ok('pull', '-q', name);
    expect(await ok('run', '--rm', name)).toBe('hello\n');
    expect((await store.run('run', '--rm', name, 'wget')).exitCode).toBe(127);
    await ok('rmi', name);
    // Not there, and so pulled.
    const env = { ...process.env, LAMINA_ROOT: store.root, LAMINA_PULL: '' };
    expect(
      execFileSync(process.execPath, [LAMINA_MAIN, 'run', '--rm', name], {
        env,
        encoding: 'utf8',
        stdio: 'pipe',
      }),
    ).toBe('hello\n');
  });

  it('save, move to another store, load, run', async () => {
    const { ok } = bound(store);
    const [archive, other] = [join(store.base, 'moved.tar'), join(store.base, 'other')];
    await ok('save', '-o', archive, 'box');
    await laminaOk(['load', '-i', archive], other);
    expect(await laminaOk(['run', '--rm', 'box', 'echo', 'moved'], other)).toBe('moved\n');
    expect(await laminaOk(['run', '--rm', archive, 'echo', 'straight from the archive'], other)).toBe(
      'straight from the archive\n',
    );
    expect((await lamina(['ps', '-aq'], other)).stdout).toBe('');
  });

  it('works on a container in the background', async () => {
    const { ok } = bound(store);
    await ok('run', '-d', '--name', 'server', 'box', 'sh', '-c', 'while :; do sleep 0.1; done');
    await ok('exec', 'server', 'sh', '-c', 'echo edited > /etc/edited');
    await ok('cp', 'server:/etc/edited', join(store.base, 'edited'));
    expect(existsSync(join(store.base, 'edited'))).toBe(true);
    await ok('stop', '-t', '0', 'server');
    await ok('commit', 'server', 'edited');
    expect(await ok('run', '--rm', 'edited', 'cat', '/etc/edited')).toBe('edited\n');
    await ok('rm', 'server');
  });

  it.skipIf(!hasReal)(
    'a Debian root piped to import, then run, changed and run again',
    { timeout: 600_000 },
    async () => {
      const { ok } = bound(store);
      // debootstrap's root as other tests have made it; what is piped is the same as from debootstrap itself.
      const { paths } = await realImage();
      const main = `${process.execPath} ${LAMINA_MAIN}`;
      const env = { ...process.env, LAMINA_ROOT: store.root };
      const pipe = `${main} fs export ${paths['docker-archive']} | ${main} import -c 'CMD ["bash"]' - debian:tutorial`;
      execFileSync('bash', ['-o', 'pipefail', '-c', pipe], { env, stdio: 'pipe' });
      expect(
        await ok('run', '--rm', 'debian:tutorial', 'bash', '-c', '. /etc/os-release; echo $VERSION_CODENAME'),
      ).toBe('bookworm\n');
      await ok(
        'run',
        '--name',
        'user',
        'debian:tutorial',
        'bash',
        '-c',
        'useradd -m tutor && dpkg --remove --force-all hello 2>/dev/null; id -u tutor',
      );
      await ok('commit', 'user', 'debian:changed');
      expect(
        await ok('run', '--rm', '-u', 'tutor', 'debian:changed', 'bash', '-c', 'whoami; echo $HOME'),
      ).toBe('tutor\n/home/tutor\n');
      await ok('rm', 'user');
    },
  );
});

function bound(store: RunStore): { ok: (...args: string[]) => Promise<string> } {
  return { ok: (...args) => store.ok(...args) };
}
