/** Whether a command is there before anything is started for it: in docker's words, and before the runtime's own come to it. */
import { lstatSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { commandNotFound } from './execute.js';
import { findInRoot } from './in-root.js';
import { DEFAULT_PATH } from './environment.js';
import type { SpecMount } from './mounts.js';

/**
 * Raises ENOCOMMAND, ENOTEXECUTABLE. What lies in a mount cannot be seen here and is left to the runtime.
 * @param mounts of the container
 */
export function checkCommand(
  root: string,
  [command = '']: readonly string[],
  { env, cwd, mounts }: { env: readonly string[]; cwd: string; mounts: readonly SpecMount[] },
): void {
  const isCovered = (inside: string): boolean =>
    mounts.some(({ destination }) => inside === destination || inside.startsWith(`${destination}/`));
  if (command.includes('/')) {
    const inside = path.posix.resolve(cwd, command);
    if (isCovered(inside)) return;
    const file = findInRoot(root, inside);
    if (file === undefined) throw commandNotFound(command);
    if (!isExecutable(file)) throw new LaminaError('ENOTEXECUTABLE', `exec: "${command}": permission denied`);
    return;
  }
  const searched = env.find((text) => text.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH;
  let isThere = false;
  for (const directory of searched.split(':')) {
    const inside = path.posix.resolve(cwd, directory, command);
    if (isCovered(inside)) return;
    const file = findInRoot(root, inside);
    if (file === undefined) continue;
    if (isExecutable(file)) return;
    isThere = true;
  }
  if (!isThere) throw commandNotFound(command);
  throw new LaminaError('ENOTEXECUTABLE', `exec: "${command}": permission denied`);
}

function isExecutable(file: string): boolean {
  const status = lstatSync(file);
  return status.isFile() && (status.mode & 0o111) !== 0;
}
