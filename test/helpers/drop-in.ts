/** `lamina-fuse -o lowerdir=..,upperdir=..,workdir=.. DIR`, and kernel overlayfs with every feature on: the two sides of a writable union. */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isServerBuilt, SERVER } from './server-binary.js';

const run = promisify(execFile);

const ENABLE_URING = '/sys/module/fuse/parameters/enable_uring';

/** The directories of a stack. */
export interface Layers {
  /** Uppermost first, as both take them. */
  lowers: readonly string[];
  upper: string;
  work: string;
}

/** What overlayfs needs to rename lower directories, keep hard links and copy attributes alone. */
export const ALL_FEATURES = 'redirect_dir=on,index=on,metacopy=on';

export function layerOptions({ lowers, upper, work }: Layers): string {
  return `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`;
}

export async function mountKernel(layers: Layers, dir: string, features = ALL_FEATURES): Promise<void> {
  await run('mount', ['-t', 'overlay', '-o', `${layerOptions(layers)},${features}`, 'overlay', dir]);
}

/** Returns when the union is mounted, as mount_program does, with devices as the kernel has them. `options` start with a comma. */
export async function mountDropIn(layers: Layers, dir: string, options = ''): Promise<void> {
  const log = openSync(`${layers.work}.log`, 'a+');
  try {
    const child = spawn(SERVER, ['-o', `${layerOptions(layers)},dev${options}`, dir], {
      stdio: ['ignore', log, log],
    });
    const [status] = (await once(child, 'exit')) as [number | null];
    if (status !== 0)
      throw new Error(`lamina-fuse: ${status}: ${readFileSync(`${layers.work}.log`, 'utf8')}`);
  } finally {
    closeSync(log);
  }
}

/** The server goes on writing what it knows when it is told to stop, and another may start once it has. */
export async function unmountDropIn(dir: string): Promise<void> {
  await run('umount', [dir]);
}

/** `use` with FUSE over io_uring allowed ("Y") or not ("N") to mounts that are made meanwhile. */
export async function withUring<T>(value: 'Y' | 'N', use: () => Promise<T>): Promise<T> {
  if (!existsSync(ENABLE_URING)) return use();
  const before = readFileSync(ENABLE_URING, 'utf8').trim();
  if (before !== value) writeFileSync(ENABLE_URING, value);
  try {
    return await use();
  } finally {
    if (before !== value) writeFileSync(ENABLE_URING, before);
  }
}

let isBuilt: boolean | undefined;

/** Whether the server mounts a union that can be written to: by doing it. */
export function isWritableServerBuilt(): boolean {
  return (isBuilt ??= probe());
}

function probe(): boolean {
  if (!isServerBuilt()) return false;
  const base = mkdtempSync(join(tmpdir(), 'lamina-probe-'));
  const [lower, upper, work, dir] = ['lower', 'upper', 'work', 'mnt'].map((name) => join(base, name)) as [
    string,
    string,
    string,
    string,
  ];
  [lower, upper, work, dir].forEach((path) => mkdirSync(path));
  try {
    const options = layerOptions({ lowers: [lower], upper, work });
    execFileSync(SERVER, ['-o', options, dir], { timeout: 10_000, stdio: 'ignore' });
    writeFileSync(join(dir, 'probe'), '');
    return existsSync(join(upper, 'probe'));
  } catch {
    return false;
  } finally {
    spawnSync('umount', ['-l', dir], { stdio: 'ignore' });
    rmSync(base, { recursive: true, force: true });
  }
}

/** Unmounts whatever is mounted at or below `path`, the last first. For the end of a test that failed. */
export function unmountBelow(path: string): void {
  const below = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${path}/`));
  for (const point of below.reverse()) spawnSync('umount', ['-l', point], { stdio: 'ignore' });
}
