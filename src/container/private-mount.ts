/**
 * A mount of a container for as long as something is written to it: the one that is there, or one of our own that nobody else
 * sees the place of. One that a killed process left is taken down by the next that needs a mount or wants the container gone.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { LaminaError } from '../errors.js';
import { mountOpened } from '../image/mount.js';
import type { OpenedImage } from '../image/open.js';
import type { MountContainer } from '../mount/mount.js';
import { parseMountOptions } from '../mount/options.js';
import { mountedDirectories, MountTable, processStart, runDirectory } from '../mount/table.js';
import { umount } from '../mount/umount.js';
import { openBase } from './base.js';
import type { ContainerRecord } from '../store/container-record.js';
import type { ContainerStore } from './store.js';

const run = promisify(execFile);

const PREFIX = 'cp-';

/** Raises EINUSE where it is mounted out of reach, EROFS where it is mounted read-only, and what mounting raises. */
export async function withMount<T>(
  store: ContainerStore,
  record: ContainerRecord,
  work: (mountpoint: string) => Promise<T>,
): Promise<T> {
  await sweepPrivateMounts();
  const entries = await new MountTable().list();
  const own = entries.find(({ record: mount, state }) => mount.container === record.id && state === 'live');
  if (own !== undefined) return work(own.record.mountpoint);
  (await store.holdSoon(record))?.release();
  const image = await openBase(record);
  return withPrivateMount(
    image,
    { container: containerLayer(store, record), close: () => image.close() },
    work,
  );
}

export interface PrivateMount {
  /** What can be written to; without it the mount is read-only. */
  container?: MountContainer;
  /** As `mount -o` takes them. */
  options?: readonly string[];
  /** Called once the mount stands, or does not come about: its server has what it needs. */
  close?: () => void;
}

/** A mount at a place that nobody is told, for as long as `work` takes. Raises what mounting raises. */
export async function withPrivateMount<T>(
  image: OpenedImage,
  { container, options = [], close }: PrivateMount,
  work: (mountpoint: string) => Promise<T>,
): Promise<T> {
  let mountpoint: string | undefined;
  try {
    mountpoint = await privateDirectory();
    const isRoot = process.getuid?.() === 0;
    const parsed = parseMountOptions(['verify=none', ...options], false, isRoot, container !== undefined);
    const mounted = await mountOpened(image, mountpoint, parsed, 'native', undefined, container);
    mounted.release();
  } catch (error) {
    if (mountpoint !== undefined) await rmdir(mountpoint).catch(() => {});
    throw error;
  } finally {
    close?.();
  }
  try {
    return await work(mountpoint);
  } finally {
    await umount(mountpoint).catch(async (error: unknown) => {
      // Somebody looks at every mount there is (updatedb, find /): ours goes all the same.
      if (!(error instanceof LaminaError) || error.code !== 'EBUSY') throw error;
      await umount(mountpoint, { lazy: true });
    });
    await rmdir(mountpoint);
  }
}

/**
 * The kernel's overlayfs over a mount of ours, which is only read then: what is written goes to the upper directory without a
 * server. What is fsynced may be lost with the machine (`volatile`). Only for root. undefined where the kernel does not mount it so.
 */
export async function withOverlay<T>(
  lower: string,
  { upperDirectory, workDirectory }: Pick<MountContainer, 'upperDirectory' | 'workDirectory'>,
  work: (mountpoint: string) => Promise<T>,
): Promise<{ result: T } | undefined> {
  const directories = [lower, upperDirectory, workDirectory];
  // Such names would have to be escaped, differently by each version of mount(8).
  if (directories.some((directory) => /[\\,:"\s]/.test(directory))) return undefined;
  const mountpoint = await privateDirectory();
  try {
    const places = `lowerdir=${lower},upperdir=${upperDirectory},workdir=${workDirectory}`;
    // Renamed directories and changed attributes are understood when the upper is read.
    const options = `${places},redirect_dir=on,metacopy=on,index=off,volatile`;
    await run('mount', ['-t', 'overlay', '-o', options, 'lamina-build', mountpoint]);
  } catch {
    await rmdir(mountpoint);
    return undefined;
  }
  try {
    return { result: await work(mountpoint) };
  } finally {
    await endOverlay(mountpoint);
    await rmdir(mountpoint);
  }
}

async function endOverlay(mountpoint: string): Promise<void> {
  await run('umount', [mountpoint]).catch(() => run('umount', ['-l', mountpoint]));
}

/** What mounting needs of a container. */
export function containerLayer(store: ContainerStore, record: ContainerRecord): MountContainer {
  const { id, name, userXattrs } = record;
  const [upperDirectory, workDirectory] = [store.upperOf(record), store.workOf(record)];
  return { what: 'the container', id, name, userXattrs, upperDirectory, workDirectory };
}

async function privateDirectory(): Promise<string> {
  const parent = path.join(runDirectory(), 'private');
  await new MountTable().directory();
  await mkdir(parent, { recursive: true, mode: 0o700 });
  return mkdtemp(path.join(parent, `${PREFIX}${process.pid}-${processStart(process.pid)}-`));
}

/** Directories in which processes that are gone had something mounted; what is mounted over another comes first. */
export async function abandonedMounts(): Promise<string[]> {
  const parent = path.join(runDirectory(), 'private');
  const known = (await new MountTable().list()).map(({ record }) => record.mountpoint);
  const left = await readdir(parent).catch(() => []);
  const mounted = mountedDirectories();
  const rank = (mountpoint: string): number => (mounted.get(mountpoint) === 'overlay' ? 0 : 1);
  const found = [...new Set([...known, ...left.map((name) => path.join(parent, name))])].filter(
    (mountpoint) => {
      const [, pid, start] = /^cp-(\d+)-(\d+)-/.exec(path.basename(mountpoint)) ?? [];
      return path.dirname(mountpoint) === parent && pid !== undefined && processStart(Number(pid)) !== start;
    },
  );
  return found.sort((a, b) => rank(a) - rank(b));
}

export async function endAbandonedMount(mountpoint: string): Promise<void> {
  try {
    if (mountedDirectories().get(mountpoint) === 'overlay') await endOverlay(mountpoint);
    else
      await umount(mountpoint, { force: true }).catch((error: unknown) => {
        if (!(error instanceof LaminaError) || error.code !== 'ENOTMOUNTED') throw error;
      });
    await rmdir(mountpoint);
  } catch (error) {
    // Somebody else does the same at this moment.
    if (!(error instanceof LaminaError) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Takes down what processes that are gone left mounted. */
export async function sweepPrivateMounts(): Promise<void> {
  for (const mountpoint of await abandonedMounts()) await endAbandonedMount(mountpoint);
}
