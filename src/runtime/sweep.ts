/** Takes away what killed commands left: processes, mounts and the directories of bundles that nobody looks after any more. */
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { LaminaError } from '../errors.js';
import { mountedDirectories, MountTable } from '../mount/table.js';
import { umount } from '../mount/umount.js';
import {
  bundleAt,
  bundleNames,
  bundleOwner,
  bundlesDirectory,
  isAbandoned,
  isOwned,
  removeBundle,
} from './bundle.js';
import type { Bundle } from './bundle.js';
import { deleteContainer } from './execute.js';
import { runtimeAt } from './find.js';

export interface Orphan {
  /** The name of its directory. */
  name: string;
  directory: string;
  /** ID of the container that it ran. */
  container: string | undefined;
}

/** Bundles whose owners are gone. */
export function orphanedBundles(): Orphan[] {
  return bundleNames().flatMap((name) => {
    const directory = path.join(bundlesDirectory(), name);
    if (name.startsWith('.')) return isAbandoned(name) ? [{ name, directory, container: undefined }] : [];
    const owner = bundleOwner(name);
    if (owner !== undefined && isOwned(owner)) return [];
    return [{ name, directory, container: owner?.container }];
  });
}

/**
 * Ends what runs in it, unmounts what is mounted in it, removes it.
 * @param beforeUnmount called when nothing runs in it any more
 */
export async function removeOrphan(
  { name, directory }: Orphan,
  beforeUnmount: () => unknown = () => {},
): Promise<void> {
  if (name.startsWith('.'))
    return removeBundle({ id: name, directory, rootfs: path.join(directory, 'rootfs') });
  const owner = bundleOwner(name);
  if (owner !== undefined) await endProcesses(bundleAt(name), owner.runtime);
  beforeUnmount();
  await endBundle(bundleAt(name));
}

/** Of the whole machine; it costs a look at one directory where there are none. */
export async function sweepBundles(): Promise<void> {
  for (const orphan of orphanedBundles()) await removeOrphan(orphan);
}

/** Unmounts what is mounted in a bundle and removes it. */
export async function endBundle(bundle: Bundle): Promise<void> {
  if (mountedDirectories().has(bundle.rootfs)) await unmountForGood(bundle.rootfs);
  await forgetMount(bundle.rootfs);
  removeBundle(bundle);
}

/** What the table of mounts has of one that never came to be, or whose server was killed. */
async function forgetMount(mountpoint: string): Promise<void> {
  const table = new MountTable();
  const id = table.idOf(mountpoint);
  const directory = path.dirname(table.file(id, 'json'));
  for (const name of await readdir(directory).catch((): string[] => []))
    if (name.startsWith(`${id}.`) || name.startsWith(`mount-${id}.`))
      await rm(path.join(directory, name), { force: true });
}

async function unmountForGood(directory: string): Promise<void> {
  try {
    await umount(directory, { force: true });
  } catch (error) {
    if (!(error instanceof LaminaError)) throw error;
    if (error.code === 'ENOTMOUNTED') return;
    await umount(directory, { lazy: true });
  }
}

/**
 * A runtime may be about to start the process, and it has no name for the container before: whatever names the bundle on its command line
 * goes first, then the container, until neither is there.
 */
async function endProcesses(bundle: Bundle, runtimePath: string): Promise<void> {
  const runtime = runtimeAt(runtimePath);
  for (let tries = 0; tries < 50; tries++) {
    // The server of a mount that is there ends with it; one that is about to mount has to be kept from it.
    const isMounted = mountedDirectories().has(bundle.rootfs);
    const named = processesNaming(bundle.directory).filter((pid) => !isMounted || !isServer(pid));
    for (const pid of named) kill(pid);
    deleteContainer(runtime, bundle.id);
    if (named.length === 0) return;
    await setTimeout(20);
  }
}

function processesNaming(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function isServer(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[1] === 'serve';
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
