/**
 * `run --rm IMAGE true` by Lamina and by podman: node bench/run-container.js [ROUNDS]. One small image (Debian's busybox-static), both under the
 * same OCI runtime, and Lamina under each that is there; rounds are interleaved, times are medians of the whole command, with the warm store of
 * each. podman runs with the host's network as Lamina does, on the kernel's overlayfs.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './lib/stats.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const rounds = Number(process.argv[2] ?? 15);
const base = mkdtempSync(join(tmpdir(), 'lamina-bench-run-'));
const at = (...names) => join(base, ...names);

mkdirSync(at('rootfs/bin'), { recursive: true });
copyFileSync('/bin/busybox', at('rootfs/bin/busybox'));
for (const name of ['sh', 'true']) symlinkSync('busybox', at('rootfs/bin', name));
execFileSync('tar', ['-C', at('rootfs'), '-cf', at('rootfs.tar'), '.']);

const env = { ...process.env, LAMINA_ROOT: at('store'), LAMINA_RUN: at('run') };
const podman = ['--root', at('podman'), '--runroot', at('podman-run'), '--cgroup-manager=cgroupfs'];
// What a sandbox without the right to raise limits needs.
const limits = ['--network=host', '--ulimit=nofile=1024:1024', '--ulimit=nproc=1000:1000', '--pull=never'];
execFileSync(process.execPath, [MAIN, 'import', at('rootfs.tar'), 'box'], { env, stdio: 'ignore' });
execFileSync('podman', [...podman, 'import', at('rootfs.tar'), 'box'], { stdio: 'ignore' });

const lamina = (runtime) => () =>
  spawnSync(process.execPath, [MAIN, 'run', '--rm', '--runtime', runtime, 'box', 'true'], { env });
const byPodman = (runtime) => () =>
  spawnSync('podman', [...podman, '--runtime', runtime, 'run', '--rm', ...limits, 'box', 'true']);
const subjects = Object.entries({
  'podman, runc': byPodman('runc'),
  'podman, crun': byPodman('crun'),
  'lamina, runc': lamina('runc'),
  'lamina, crun': lamina('crun'),
  'node alone': () => spawnSync(process.execPath, ['-e', '0']),
}).filter(([name, run]) => {
  const { status, stderr } = run();
  if (status !== 0) console.log(`${name}: cannot run here: ${String(stderr).trim().split('\n').at(-1)}`);
  return status === 0;
});

const samples = new Map(subjects.map(([name]) => [name, []]));
try {
  for (let round = 0; round < rounds; round++)
    for (const [name, run] of subjects) {
      const begun = process.hrtime.bigint();
      const { status, stderr } = run();
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
      samples.get(name).push(Number(process.hrtime.bigint() - begun) / 1e6);
    }
  const reference = median(samples.get('podman, runc') ?? samples.get('podman, crun'));
  for (const [name, times] of samples) {
    const [least, middle] = [Math.min(...times), median(times)];
    console.log(
      `${name.padEnd(14)} median ${middle.toFixed(0).padStart(4)} ms  least ${least.toFixed(0).padStart(4)} ms  ${(middle / reference).toFixed(2)} x podman`,
    );
  }
} finally {
  spawnSync('podman', [...podman, 'rmi', '-af'], { stdio: 'ignore' });
  spawnSync('umount', [at('podman/overlay')], { stdio: 'ignore' });
  rmSync(base, { recursive: true, force: true });
}
