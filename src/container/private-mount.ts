/**
 * A mount of a container for as long as something is written to it: the one that is there, or one of our own that nobody else
 * sees the place of. One that a killed process left is taken down by the next that needs a mount or wants the container gone.
 */
import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { mountOpened } from '../image/mount.js';
import type { MountContainer } from '../mount/mount.js';
import { parseMountOptions } from '../mount/options.js';
import { MountTable, processStart, runDirectory } from '../mount/table.js';
import { umount } from '../mount/umount.js';
import { openBase } from './base.js';
import type { ContainerRecord } from '../store/container-record.js';
import type { ContainerStore } from './store.js';

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
  let mountpoint: string | undefined;
  try {
    mountpoint = await privateDirectory();
    const isRoot = process.getuid?.() === 0;
    const options = parseMountOptions(['verify=none'], false, isRoot, true);
    const mounted = await mountOpened(
      image,
      mountpoint,
      options,
      undefined,
      undefined,
      containerLayer(store, record),
    );
    mounted.release();
  } catch (error) {
    if (mountpoint !== undefined) await rmdir(mountpoint).catch(() => {});
    throw error;
  } finally {
    image.close();
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

/** Takes down what processes that are gone left mounted. */
export async function sweepPrivateMounts(): Promise<void> {
  const parent = path.join(runDirectory(), 'private');
  for (const { record } of await new MountTable().list()) {
    if (path.dirname(record.mountpoint) !== parent) continue;
    const [, pid, start] = /^cp-(\d+)-(\d+)-/.exec(path.basename(record.mountpoint)) ?? [];
    if (pid === undefined || processStart(Number(pid)) === start) continue;
    try {
      await umount(record.mountpoint, { force: true });
      await rmdir(record.mountpoint);
    } catch (error) {
      // Somebody else does the same at this moment.
      if (!(error instanceof LaminaError) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
