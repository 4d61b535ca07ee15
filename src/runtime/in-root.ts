/**
 * Paths of an image, looked up on the host below the directory where it is mounted: symbolic links are followed as a process inside
 * would, so that none leads out of it. Whoever may still change the root while this looks can mislead it within the root's own files only
 * before the process inside has started; nothing here is written to through a link.
 */
import { lstatSync, mkdirSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';

const MAX_LINKS = 40;

export interface Resolved {
  /** On the host: no part of it is a link but perhaps what lies above `root`. */
  path: string;
  /** Parts at the end that do not exist. */
  missing: readonly string[];
}

/** Follows `inside`, absolute or relative to `/`, as far as it exists. Raises ELOOP. */
export function resolveInRoot(root: string, inside: string): Resolved {
  const todo = inside.split('/').filter((part) => part !== '' && part !== '.');
  let done: string[] = [];
  for (let links = 0; todo.length > 0;) {
    const part = todo.shift()!;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = path.join(root, ...done, part);
    const status = lstatSync(here, { throwIfNoEntry: false });
    if (status === undefined) return { path: path.join(root, ...done), missing: [part, ...todo] };
    if (!status.isSymbolicLink()) {
      done.push(part);
      if (!status.isDirectory() && todo.length > 0) return { path: here, missing: todo };
      continue;
    }
    if (++links > MAX_LINKS)
      throw new LaminaError('ELOOP', `too many symbolic links in ${inside}`, { path: inside });
    const target = readlinkSync(here);
    if (target.startsWith('/')) done = [];
    todo.unshift(...target.split('/').filter((word) => word !== '' && word !== '.'));
  }
  return { path: path.join(root, ...done), missing: [] };
}

/** The file on the host; undefined when there is none. */
export function findInRoot(root: string, inside: string): string | undefined {
  const { path: found, missing } = resolveInRoot(root, inside);
  return missing.length === 0 ? found : undefined;
}

/**
 * Makes the directory with what lies above it, mode 0755, owned by who runs this.
 * @returns on the host: the directory, and what had to be made, the uppermost first. Raises ENOTDIR, ELOOP.
 */
export function makeDirectoryInRoot(root: string, inside: string): { path: string; made: readonly string[] } {
  const { path: start, missing } = resolveInRoot(root, inside);
  if (!statSync(start).isDirectory())
    throw new LaminaError('ENOTDIR', `cannot make ${inside}: a part of it is not a directory`, {
      path: inside,
    });
  let here = start;
  const made: string[] = [];
  for (const part of missing) {
    if (part === '..') {
      here = path.dirname(here);
      continue;
    }
    here = path.join(here, part);
    mkdirSync(here, { mode: 0o755 });
    made.push(here);
  }
  return { path: here, made };
}
