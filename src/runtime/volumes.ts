/** What a container has mounted besides the standard set: binds, tmpfs, and directories of its own that are kept with it. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ContainerStore } from '../container/store.js';
import { fromSystemError } from '../errors.js';
import type { ContainerMount, ContainerRecord } from '../store/container-record.js';
import { findInRoot } from './in-root.js';
import { bindMount, tmpfsMount } from './mounts.js';
import type { SpecMount } from './mounts.js';

const VOLUMES = 'volumes';

/** Directory of a container's own volume. */
export function volumeDirectory(store: ContainerStore, record: ContainerRecord, target: string): string {
  const name = createHash('sha256').update(target).digest('hex').slice(0, 16);
  return path.join(store.fileOf(record, VOLUMES), name);
}

/** In the order of their targets, so that none covers what lies below it. A volume that is new gets what the image has in its place. */
export function settingsMounts(
  store: ContainerStore,
  record: ContainerRecord,
  mounts: readonly ContainerMount[],
  rootfs: string,
): SpecMount[] {
  const depth = ({ target }: ContainerMount): number => target.split('/').filter(Boolean).length;
  return [...mounts]
    .sort((a, b) => depth(a) - depth(b))
    .map((mount) => {
      const { target, type, readOnly } = mount;
      const options = [...(readOnly ? ['ro'] : []), ...mount.options];
      if (type === 'tmpfs') return tmpfsMount(target, options);
      const source = type === 'bind' ? mount.source! : ownVolume(store, record, target, rootfs);
      return bindMount(source, target, options);
    });
}

function ownVolume(store: ContainerStore, record: ContainerRecord, target: string, rootfs: string): string {
  const directory = volumeDirectory(store, record, target);
  if (existsSync(directory)) return directory;
  const temporary = `${directory}.${process.pid}`;
  try {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true, mode: 0o755 });
    const inImage = findInRoot(rootfs, target);
    if (inImage !== undefined && statSync(inImage).isDirectory()) {
      execFileSync('cp', ['-a', '--', `${inImage}/.`, temporary], { stdio: ['ignore', 'ignore', 'pipe'] });
      const { mode, uid, gid } = statSync(inImage);
      chownSync(temporary, uid, gid);
      chmodSync(temporary, mode & 0o7777);
    }
    renameSync(temporary, directory);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw fromSystemError(error, 'cannot make a volume for', target);
  }
  return directory;
}
