/** The OCI runtime: crun or runc, whichever is there, and how it is called on this machine. */
import { accessSync, constants, readFileSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { runDirectory } from '../mount/table.js';

export interface Runtime {
  /** The last part of its path: `crun`, `runc`. */
  name: string;
  path: string;
  /** What is run, before the command's own words: the runtime with its global options. */
  command: readonly string[];
  /** Where it keeps what it knows of its containers. */
  state: string;
  /** Whether it makes a cgroup for each container; without one, devices cannot be kept from it. */
  cgroups: boolean;
}

/** crun first: it starts a process in a third of the time of runc. */
const KNOWN = ['crun', 'runc'];
/** A user's PATH often lacks these, and Debian has runc there. */
const ALSO = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/**
 * @param wanted a name or a path; undefined: LAMINA_RUNTIME, or the first that is there. Any other than crun and runc is called as runc is.
 * Raises ENORUNTIME that says what to install.
 */
export function findRuntime(wanted: string | undefined = process.env.LAMINA_RUNTIME || undefined): Runtime {
  const names = wanted === undefined ? inOrder() : [wanted];
  for (const name of names) {
    const file = name.includes('/') ? executable(path.resolve(name)) : onPath(name);
    if (file !== undefined) return runtimeAt(file);
  }
  throw new LaminaError(
    'ENORUNTIME',
    wanted === undefined
      ? 'no OCI runtime is installed: neither crun nor runc is in PATH'
      : `the OCI runtime ${wanted} is not installed`,
    wanted === undefined || KNOWN.includes(wanted)
      ? {
          hint: `Install the Debian package ${wanted ?? 'crun (or runc)'}: apt-get install ${wanted ?? 'crun'}.`,
        }
      : {},
  );
}

/** The runtime as the path that `findRuntime` gave says. */
export function runtimeAt(file: string): Runtime {
  const name = path.basename(file);
  const state = path.join(runDirectory(), 'runtime', name);
  const cgroups = canMakeCgroups();
  if (name !== 'crun') return { name, path: file, command: [file, '--root', state], state, cgroups };
  const options = ['--root', state, ...(cgroups ? [] : ['--cgroup-manager=disabled'])];
  return {
    name,
    path: file,
    command: [...(isHybrid() ? WITHOUT_UNIFIED : []), file, ...options],
    state,
    cgroups,
  };
}

/** runc takes both hierarchies of cgroups at once; crun has to be kept from seeing the second. */
function inOrder(): readonly string[] {
  return isHybrid() && process.getuid?.() !== 0 ? [...KNOWN].reverse() : KNOWN;
}

/** crun refuses to run where controllers are left in a second, unified hierarchy beside version 1 (its cgroup.c). */
function isHybrid(): boolean {
  try {
    return readFileSync('/sys/fs/cgroup/unified/cgroup.controllers', 'utf8').trim() !== '';
  } catch {
    return false;
  }
}

const WITHOUT_UNIFIED = [
  'unshare',
  '--mount',
  '--propagation=slave',
  'sh',
  '-c',
  'umount /sys/fs/cgroup/unified && exec "$@"',
  'sh',
];

function canMakeCgroups(): boolean {
  if (process.getuid?.() !== 0) return false;
  // Version 1 has a directory for each controller, version 2 none.
  return ['/sys/fs/cgroup/devices', '/sys/fs/cgroup'].some((directory, index) => {
    try {
      accessSync(directory, constants.W_OK);
      return index === 0 || readFileSync(`${directory}/cgroup.controllers`, 'utf8') !== '';
    } catch {
      return false;
    }
  });
}

function onPath(name: string): string | undefined {
  for (const directory of [...(process.env.PATH ?? '').split(path.delimiter), ...ALSO]) {
    const found = directory === '' ? undefined : executable(path.join(directory, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

function executable(file: string): string | undefined {
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch {
    return undefined;
  }
}
