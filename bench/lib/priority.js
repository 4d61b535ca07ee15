/**
 * Processor time on a machine that is shared: the scheduler divides it by session (sched(7), autogroup), and a server
 * that has put itself into the background is a session of its own. So a weight must be given to both sides of a mount.
 */
import { writeFileSync } from 'node:fs';

let nice = 0;

/** For this session from now on, and for every server that `prioritise` is told of. */
export function setPriority(value) {
  nice = value;
  prioritise(['self']);
}

export function prioritise(pids) {
  if (nice === 0) return;
  for (const pid of pids) writeFileSync(`/proc/${pid}/autogroup`, String(nice));
}
