/** What a process in a container sees, next to podman's of the same image: the same but for a named list of differences. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasBusybox } from '../helpers/busybox-root.js';
import { isLaminaBuilt } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';
import { RunStore } from '../helpers/run-store.js';

const able =
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command podman', 'command runc', 'command crun') &&
  requirement('/bin/busybox (busybox-static)', hasBusybox()) &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

/** podman 4.3 gives 11 capabilities by default, docker and we 14: these three more. */
const MORE_CAPABILITIES = ['--cap-add=AUDIT_WRITE', '--cap-add=MKNOD', '--cap-add=NET_RAW'];

describe.skipIf(!able).each(['crun', 'runc'])('a process by %s and by podman', (runtime) => {
  let store: RunStore;
  let podman: string[];
  beforeAll(async () => {
    store = new RunStore();
    const changes = [
      'ENV FROM_IMAGE=yes',
      'USER worker',
      'WORKDIR /srv',
      'ENTRYPOINT ["sh", "-c"]',
      'STOPSIGNAL SIGUSR1',
    ];
    await store.fill(changes);
    podman = [
      '--root',
      join(store.base, 'podman'),
      '--runroot',
      join(store.base, 'podman-run'),
      '--cgroup-manager=cgroupfs',
    ];
    execFileSync(
      'podman',
      [...podman, 'import', ...changes.flatMap((change) => ['-c', change]), store.tar, 'box'],
      { stdio: 'pipe' },
    );
  });
  afterAll(async () => {
    try {
      execFileSync('umount', [join(store.base, 'podman/overlay')], { stdio: 'ignore' });
    } catch {
      // Not mounted.
    }
    rmSync(join(store.base, 'podman'), { recursive: true, force: true });
    await store.remove();
  });

  /** Both outputs of one command line. */
  const both = async (flags: string[], ...command: string[]): Promise<[ours: string, theirs: string]> => {
    const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000'];
    const ours = await store.ok('run', '--rm', '--runtime', runtime, ...limits, ...flags, 'box', ...command);
    const theirs = execFileSync(
      'podman',
      [
        ...podman,
        '--runtime=runc',
        'run',
        '--rm',
        '--network=host',
        ...limits,
        ...(flags.includes('--cap-drop') ? [] : MORE_CAPABILITIES),
        ...flags,
        'box',
        ...command,
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    return [ours, theirs];
  };

  it.each([
    [[]],
    [['-u', '0']],
    [['-u', '1234:44', '-w', '/tmp', '-h', 'inside', '-e', 'MORE=1', '-e', 'FROM_IMAGE']],
    [['-u', 'daemon', '--cap-drop', 'ALL', '--cap-add', 'CHOWN']],
    [['--group-add', '99', '--env', 'HOME=/other']],
  ])('has the same identity, directory, limits and capabilities: %j', async (flags) => {
    const script =
      'id -u; id -g; id -G | tr " " "\\n" | sort -n | uniq | tr "\\n" " "; echo; pwd; hostname; ulimit -n; umask; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status';
    const [ours, theirs] = await both(flags, script);
    // podman hands what is added on to who is not root by the ambient set; docker does not, and so do we not.
    const isRoot = ours.startsWith('0\n');
    const known = (text: string): string =>
      isRoot ? text : text.replaceAll(/^Cap(Inh|Prm|Eff|Amb):.*\n/gm, '');
    expect(known(ours)).toBe(known(theirs));
    expect(ours).toMatch(/^CapAmb:\s0+$/m);
    if (!isRoot) expect(ours).toMatch(/^CapEff:\s0+$/m);
  });

  it.each([[[]], [['-u', '0', '-e', 'A=b c', '-h', 'inside']]])(
    'has the same environment: %j',
    async (flags) => {
      const sorted = (text: string): string[] => text.trim().split('\n').sort();
      const [ours, theirs] = (await both(flags, 'env')).map(sorted) as [string[], string[]];
      // podman says that it is one (container), and sets TERM without a terminal, which docker does not.
      expect(ours).toEqual(theirs.filter((line) => !/^(container|TERM)=/.test(line)));
    },
  );

  it('has the same mounts', async () => {
    const script = 'cut -d" " -f2,3,4 /proc/mounts | sort';
    const [ours, theirs] = await both(['--tmpfs', '/scratch'], script);
    const places = (text: string): string[] =>
      text
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string, string])
        // What the list of masked files is differs (podman's is older); what is read-only below /proc does not.
        .filter(
          ([place]) => !/^\/(sys\/|proc\/|run\/|$)/.test(place) || /^\/proc\/(bus|fs|irq|sys)$/.test(place),
        )
        .map(([place, type, options]) => {
          const flags = options
            .split(',')
            .filter((word) => ['ro', 'rw', 'nosuid', 'noexec', 'nodev'].includes(word));
          // podman's /dev is noexec as well, and its tmpfs is not; docker has it the other way. crun remounts what is read-only with nothing else.
          if (place.startsWith('/proc/')) return `${place} ${type} ${flags[0]}`;
          return `${place} ${type} ${flags.filter((word) => (place !== '/dev' && place !== '/scratch') || word !== 'noexec').join(',')}`;
        });
    expect(places(ours)).toEqual(places(theirs));
  });

  it('ends as its command does', async () => {
    for (const script of ['exit 0', 'exit 42', "sh -c 'kill -TERM $$'; exit $?"]) {
      const { exitCode } = await store.run('run', '--rm', '--runtime', runtime, 'box', script);
      let expected = 0;
      try {
        execFileSync(
          'podman',
          [
            ...podman,
            '--runtime=runc',
            'run',
            '--rm',
            '--network=host',
            '--ulimit=nofile=1024:1024',
            '--ulimit=nproc=1000:1000',
            'box',
            script,
          ],
          { stdio: 'pipe' },
        );
      } catch (error) {
        expected = (error as { status: number }).status;
      }
      expect(exitCode).toBe(expected);
    }
  });
});
