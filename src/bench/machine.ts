/** What the figures were taken on, and the kernel's caches. */
import { writeFileSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { runProgram } from './programs.js';

export interface MachineFacts {
  date: string;
  lamina: string;
  kernel: string;
  node: string;
  cpus: number;
  cpu: string;
  memoryGiB: number;
  /** Of the directory with the unpacked layers. */
  filesystem: string;
  isRoot: boolean;
  /** Whether the kernel's caches were emptied before what is cold. */
  cachesDropped: boolean;
  loadBefore: number;
}

export function machineFacts(
  laminaVersion: string,
  workDirectory: string,
  cachesDropped: boolean,
): MachineFacts {
  return {
    date: new Date().toISOString(),
    lamina: laminaVersion,
    kernel: release(),
    node: process.version,
    cpus: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    filesystem: filesystemOf(workDirectory),
    isRoot: process.getuid?.() === 0,
    cachesDropped,
    loadBefore: Number(loadavg()[0]!.toFixed(2)),
  };
}

/** Type of the filesystem that a directory lies on: the longest mountpoint above it (proc_pid_mountinfo(5)). */
function filesystemOf(directory: string): string {
  let [longest, type] = ['', 'unknown'];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before, after] = line.split(' - ');
    const mountpoint = before?.split(' ')[4];
    if (mountpoint === undefined || after === undefined) continue;
    const isAbove =
      directory === mountpoint || directory.startsWith(mountpoint === '/' ? '/' : `${mountpoint}/`);
    if (isAbove && mountpoint.length >= longest.length) [longest, type] = [mountpoint, after.split(' ')[0]!];
  }
  return type;
}

const DROP_CACHES = '/proc/sys/vm/drop_caches';

/** Whether this process may empty the kernel's caches (proc_sys_vm(5)). */
export function mayDropCaches(): boolean {
  try {
    writeFileSync(DROP_CACHES, '2');
    return true;
  } catch {
    return false;
  }
}

/** `names`: dentries and inodes that hold no pages; `pages`: everything, once it is written. */
export async function dropCaches(what: 'names' | 'pages', signal: AbortSignal): Promise<void> {
  if (what === 'pages') await runProgram('sync', [], { signal });
  writeFileSync(DROP_CACHES, what === 'pages' ? '3' : '2');
}
