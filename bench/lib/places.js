/**
 * Where uppers lie: a filesystem made for the run. `disk` is ext4 with its defaults in a sparse file of the work directory,
 * read and written past the page cache of what lies below (direct I/O): the options of the machine's own filesystem, such as
 * `discard`, which makes each unlink wait for the device, would otherwise be what is measured. `tmpfs` is one.
 */
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMounted, run, unmount } from './system.js';

export const PLACES = ['disk', 'tmpfs'];

const DISK_BYTES = 12 * 2 ** 30;

const mounted = new Map();

/** The root of a place, which is mounted by the first that asks and taken away when the process ends. */
export function placeDirectory(work, place) {
  if (!mounted.has(place)) {
    const directory = join(work, `upper-${place}`);
    mkdirSync(directory, { recursive: true });
    clear(directory);
    const end = place === 'disk' ? mountDisk(work, directory) : mountTmpfs(directory);
    mounted.set(place, directory);
    process.on('exit', end);
  }
  return mounted.get(place);
}

/** A run that was killed leaves its mounts; there is one run at a time in a work directory. */
function clear(directory) {
  const left = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((path) => path === directory || path?.startsWith(`${directory}/`));
  for (const path of left.reverse()) run('umount', ['--lazy', path]);
}

function mountTmpfs(directory) {
  run('mount', ['-t', 'tmpfs', '-o', 'size=8g', 'lamina-bench', directory]);
  return () => unmount(directory);
}

function mountDisk(work, directory) {
  const file = join(work, 'disk.img');
  rmSync(file, { force: true });
  writeFileSync(file, '');
  truncateSync(file, DISK_BYTES);
  run('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard', file]);
  const device = run('losetup', ['--find', '--show', '--direct-io=on', file]).trim();
  // Detached now, it goes with the mount.
  try {
    run('mount', ['-o', 'nodiscard,noinit_itable', device, directory]);
  } finally {
    run('losetup', ['--detach', device]);
  }
  return () => {
    if (isMounted(directory)) unmount(directory);
    rmSync(file, { force: true });
  };
}
