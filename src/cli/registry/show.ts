/** Docker shows transfers on stdout: bars on a terminal, lines elsewhere. */
import { createProgress } from '../output/progress.js';
import type { Progress } from '../output/progress.js';

export function createTransferProgress(isQuiet: boolean): Progress {
  if (!isQuiet) return createProgress({ stream: process.stdout });
  return { update: () => {}, done: () => {}, message: () => {}, finish: () => {} };
}
