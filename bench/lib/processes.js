/** Who serves a mount, and how much memory that takes (proc(5): /proc/PID/cmdline, smaps). */
import { readdirSync, readFileSync } from 'node:fs';

/** Ids of the processes, but this one and its parents, that name the mount point on their command line. */
export function serversOf(directory) {
  const found = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || name === String(process.pid)) continue;
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      if (words.includes(directory)) found.push(Number(name));
    } catch {
      // The process ended while we looked.
    }
  }
  return found;
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
