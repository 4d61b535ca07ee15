/** Who may run containers. */
import { LaminaError } from '../errors.js';

/** Raises EPERM: the ids of an image need a user namespace with ranges of subordinate ids, which is not made yet. */
export function checkUser(): void {
  if (process.getuid?.() === 0) return;
  throw new LaminaError('EPERM', 'only root may run containers', {
    hint: 'Run it as root. What needs no process works without: lamina fs, mount, cp, diff, commit, export.',
    exitCode: 125,
  });
}
