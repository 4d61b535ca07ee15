/**
 * The places in a root on which something is mounted. A runtime makes those that are missing and leaves them; in a container's own layer they
 * would show as changes that nobody made. So we make them, and take them away again, with the times of the directory that they stood in.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, lstatSync, openSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { findInRoot, makeDirectoryInRoot, resolveInRoot } from './in-root.js';
import type { SpecMount } from './mounts.js';

interface Made {
  path: string;
  isFile: boolean;
}

export interface MountTargets {
  /** Removes what was made and is still empty. Never raises. */
  remove(): void;
}

/** Raises ENOTDIR, ELOOP and what the system says. */
export function makeMountTargets(root: string, mounts: readonly SpecMount[]): MountTargets {
  const made: Made[] = [];
  const times = new Map<string, { mtimeNs: bigint; atimeNs: bigint }>();
  const remember = (directory: string): void => {
    if (!times.has(directory)) times.set(directory, statSync(directory, { bigint: true }));
  };
  const covered: string[] = [];
  for (const mount of mounts) {
    // What stands in another mount is the runtime's to make.
    const isCovered = covered.some((above) => isBelow(mount.destination, above));
    covered.push(mount.destination);
    if (isCovered || findInRoot(root, mount.destination) !== undefined) continue;
    const isFile =
      mount.type === 'bind' && !(statSync(mount.source, { throwIfNoEntry: false })?.isDirectory() ?? true);
    remember(resolveInRoot(root, mount.destination).path);
    const directory = isFile ? path.posix.dirname(mount.destination) : mount.destination;
    const { path: place, made: directories } = makeDirectoryInRoot(root, directory);
    made.push(...directories.map((each) => ({ path: each, isFile: false })));
    if (!isFile) continue;
    const file = path.join(place, path.posix.basename(mount.destination));
    closeSync(openSync(file, 'wx', 0o644));
    made.push({ path: file, isFile });
  }
  return { remove: () => removeMade(made, times) };
}

function isBelow(inside: string, above: string): boolean {
  return inside === above || inside.startsWith(above.endsWith('/') ? above : `${above}/`);
}

function removeMade(
  made: readonly Made[],
  times: ReadonlyMap<string, { mtimeNs: bigint; atimeNs: bigint }>,
): void {
  for (const { path: place, isFile } of [...made].reverse()) {
    try {
      if (!isFile) rmdirSync(place);
      else if (lstatSync(place).isFile() && lstatSync(place).size === 0) unlinkSync(place);
    } catch {
      // Something was put there, or took its place: it is the container's now.
    }
  }
  for (const [directory, { mtimeNs, atimeNs }] of times) {
    // utimes(2) through Node loses nanoseconds.
    const at = (ns: bigint): string =>
      `@${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, '0')}`;
    try {
      execFileSync('touch', ['-c', '-m', '-d', at(mtimeNs), directory], { stdio: 'ignore' });
      execFileSync('touch', ['-c', '-a', '-d', at(atimeNs), directory], { stdio: 'ignore' });
    } catch {
      // Gone, or not ours.
    }
  }
}
