/** Who serves a mount, and how much memory that takes (proc(5): fdinfo, smaps). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * Ids of the processes that hold the FUSE connection of a mount: fdinfo of an open /dev/fuse names it by the number that is
 * the minor of the mount's device (fs/fuse/dev.c, fuse_dev_show_fdinfo).
 */
export function serversOf(directory) {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((mount) => mount.split(' ')[4] === directory);
  // Other mounts can have the number of a connection whose own mount is gone.
  if (!/ - fuse[ .]/.test(line ?? '')) return [];
  const connection = line.split(' ')[2].split(':')[1];
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && holdsConnection(name, connection));
}

function holdsConnection(pid, connection) {
  // A process may end while it is looked at.
  try {
    return readdirSync(`/proc/${pid}/fd`).some(
      (fd) =>
        readlinkSync(`/proc/${pid}/fd/${fd}`) === '/dev/fuse' &&
        new RegExp(`^fuse_connection:\\s*${connection}$`, 'm').test(
          readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'),
        ),
    );
  } catch {
    return false;
  }
}

/** Seconds of processor time, user and system, that a process and its threads have taken (proc_pid_stat(5)). */
export function processorTime(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const [user, system] = [11, 12].map((index) => Number(fields[index]));
  // USER_HZ, which is 100 on every architecture that Node runs on.
  return (user + system) / 100;
}

/** Mapped TOCs: the cache keeps merged ones under chains/. */
const TOC = / \/.*\/chains\/[^/]+$/;

/** KiB of resident memory of a process, without the pages of mapped TOCs. */
export function residentLessToc(pid) {
  let resident = 0;
  let isToc = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isToc = TOC.test(line);
    else if (!isToc && line.startsWith('Rss:')) resident += Number(line.split(/\s+/)[1]);
  }
  return resident;
}
