/**
 * The places in a root on which something is mounted. A runtime makes those that are missing and leaves them; in a container's own layer they
 * would show as changes that nobody made. So we make them, and take them away again, with the times of the directory that they stood in.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, lstatSync, openSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { findInRoot, makeDirectoryInRoot, resolveInRoot } from './in-root.js';
import type { SpecMount } from './mounts.js';

/** What was made, and the times of what it was made in; plain data, so that another process can take it away. */
export interface MadeTargets {
  /** In the order in which they were made. */
  made: readonly { path: string; isFile: boolean }[];
  /** Times of modification, as touch(1) takes them. */
  times: Readonly<Record<string, string>>;
}

/** Raises ENOTDIR, ELOOP and what the system says. */
export function makeMountTargets(root: string, mounts: readonly SpecMount[]): MadeTargets {
  const made: { path: string; isFile: boolean }[] = [];
  const times: Record<string, string> = {};
  const remember = (directory: string): void => {
    times[directory] ??= touchTime(statSync(directory, { bigint: true }).mtimeNs);
  };
  const covered: string[] = [];
  for (const mount of mounts) {
    // What stands in another mount is the runtime's to make.
    const isCovered = covered.some((above) => isBelow(mount.destination, above));
    covered.push(mount.destination);
    if (isCovered || findInRoot(root, mount.destination) !== undefined) continue;
    const source = mount.type === 'bind' ? statSync(mount.source, { throwIfNoEntry: false }) : undefined;
    const isFile = source !== undefined && !source.isDirectory();
    remember(resolveInRoot(root, mount.destination).path);
    const directory = isFile ? path.posix.dirname(mount.destination) : mount.destination;
    const { path: place, made: directories } = makeDirectoryInRoot(root, directory);
    made.push(...directories.map((each) => ({ path: each, isFile: false })));
    if (!isFile) continue;
    const file = path.join(place, path.posix.basename(mount.destination));
    closeSync(openSync(file, 'wx', 0o644));
    made.push({ path: file, isFile });
  }
  return { made, times };
}

/** Node's utimes(2) loses nanoseconds. */
function touchTime(ns: bigint): string {
  return `@${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, '0')}`;
}

function isBelow(inside: string, above: string): boolean {
  return inside === above || inside.startsWith(above.endsWith('/') ? above : `${above}/`);
}

/** Removes what was made and is still empty. Never raises. */
export function removeMade({ made, times }: MadeTargets): void {
  for (const { path: place, isFile } of [...made].reverse()) {
    try {
      if (!isFile) rmdirSync(place);
      else if (lstatSync(place).isFile() && lstatSync(place).size === 0) unlinkSync(place);
    } catch {
      // Something was put there, or took its place: it is the container's now.
    }
  }
  for (const [directory, mtime] of Object.entries(times)) {
    try {
      execFileSync('touch', ['-c', '-m', '-d', mtime, directory], { stdio: 'ignore' });
    } catch {
      // Gone, or not ours.
    }
  }
}
