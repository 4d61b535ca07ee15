/** Times of files to the nanosecond where that can be had: Node sets microseconds, and none before 1970. */
import { spawnSync } from 'node:child_process';
import { utimesSync } from 'node:fs';

const NS = 1_000_000_000n;

/**
 * utimensat(2) of what `path` leads to, a path of this process's descriptors. What Node cannot say touch(1) does, from coreutils;
 * where there is none the time is cut to microseconds.
 */
export function setTimes(path: string, atimeNs: bigint, mtimeNs: bigint): void {
  utimesSync(path, seconds(atimeNs), seconds(mtimeNs));
  // Nobody compares access times.
  if (isExact(mtimeNs)) return;
  const second = mtimeNs / NS;
  const rest = mtimeNs % NS;
  const sign = mtimeNs < 0n ? '-' : '';
  const text = `${sign}${abs(second)}.${String(abs(rest)).padStart(9, '0')}`;
  const ours = path.replace('/proc/self/', `/proc/${process.pid}/`);
  spawnSync('touch', ['-c', '-m', '-d', `@${text}`, ours], { stdio: 'ignore' });
}

/** libuv's uv__fs_to_timespec cuts a double to microseconds; half of one more keeps what is meant above the cut. */
function seconds(ns: bigint): number {
  const micros = ns < 0n ? 0n : ns / 1000n;
  return Number(micros / 1_000_000n) + (Number(micros % 1_000_000n) + 0.5) / 1e6;
}

function isExact(ns: bigint): boolean {
  return ns >= 0n && ns % 1000n === 0n;
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}
