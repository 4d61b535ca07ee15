/** What the harness asks of the system: programs, mounts, caches, module parameters. Linux, root. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** Runs a program to its end; -> its stdout. Any other end than status 0 is an error with what it said. */
export function run(program, args, options = {}) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 600_000,
    ...options,
  });
  if (result.error) throw new Error(`cannot run ${program}: ${result.error.message}`);
  if (result.status !== 0) {
    const said = `${result.stderr ?? ''}${result.stdout ?? ''}`.trim().slice(-2000);
    throw new Error(
      `${program} ${args.slice(0, 3).join(' ')} ended with ${result.status ?? result.signal}: ${said}`,
    );
  }
  return result.stdout;
}

/** Seconds that a program takes from its start to its end. stdout is thrown away. */
export function timed(program, args, options = {}) {
  const start = process.hrtime.bigint();
  run(program, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  return Number(process.hrtime.bigint() - start) / 1e9;
}

export function hasCommand(name) {
  return spawnSync('sh', ['-c', `command -v "$1"`, 'sh', name]).status === 0;
}

/**
 * Dentries and inodes go, pages stay. An inode that has pages in the cache is kept by the kernel (fs/inode.c), so the
 * sources of all subjects are warm; what is cold is what the subject itself gave the kernel since it was mounted.
 */
export function dropDentriesAndInodes() {
  writeFileSync('/proc/sys/vm/drop_caches', '2');
}

export function isMounted(directory) {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${directory} `);
}

/** umount(8), again for a moment while it says that it is busy. */
export function unmount(directory) {
  for (let attempt = 0; ; attempt++) {
    const result = spawnSync('umount', [directory], { encoding: 'utf8' });
    if (result.status === 0) return;
    if (attempt === 20) throw new Error(`umount ${directory}: ${result.stderr}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
}

const URING = '/sys/module/fuse/parameters/enable_uring';

/** Is FUSE-over-io_uring enabled in the kernel? undefined where the kernel does not know it. */
export function uringEnabled() {
  try {
    return readFileSync(URING, 'utf8').trim() === 'Y';
  } catch {
    return undefined;
  }
}

export function setUringEnabled(enabled) {
  writeFileSync(URING, enabled ? 'Y' : 'N');
}
