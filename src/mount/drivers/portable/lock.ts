/**
 * The lock on a container's work directory: flock(2), which the native server takes as well and which dies with its process. Node has
 * no such call; another program locks a descriptor that it inherits, and since the lock belongs to the open file it stays with us.
 */
import { spawnSync } from 'node:child_process';
import { LaminaError } from '../../../errors.js';
import { serverBinary } from '../../../server-binary.js';

/** What a helper's exit status means: lamina-fuse lock, flock(1). */
const LAMINA_HELD = 3;
const FLOCK_HELD = 1;

/** Whether the lock was free. Raises EDRIVER where there is no program that takes it. */
export function tryLock(directoryFd: number): boolean {
  let program: [string, string[], number] = ['flock', ['-n', '3'], FLOCK_HELD];
  try {
    program = [serverBinary(), ['lock', '--try', '3'], LAMINA_HELD];
  } catch {
    // The portable driver is for hosts without one.
  }
  const [command, args, held] = program;
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'ignore', directoryFd] });
  if (status === 0) return true;
  if (status === held) return false;
  throw new LaminaError(
    'EDRIVER',
    `cannot lock the layer of the container: ${command} ${error?.message ?? `ended with status ${status}`}`,
    { hint: 'Install the command flock (package util-linux).', cause: error },
  );
}
