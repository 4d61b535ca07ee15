/** `lamina container COMMAND`, and the same commands at the top where docker has them there. One command a file. */
import type { Command } from 'commander';
import { register as registerCheck } from './check.js';
import { register as registerCommit } from './commit.js';
import { register as registerCp } from './cp.js';
import { register as registerCreate } from './create.js';
import { register as registerDiff } from './diff.js';
import { register as registerExec } from './exec.js';
import { register as registerExport } from './export.js';
import { register as registerInspect } from './inspect.js';
import { register as registerLogs } from './logs.js';
import { register as registerLs } from './ls.js';
import { register as registerPrune } from './prune.js';
import { register as registerRename } from './rename.js';
import { register as registerRm } from './rm.js';
import { register as registerRun } from './run.js';
import { register as registerStart } from './start.js';
import { register as registerStop } from './stop.js';

const BOTH = [
  registerCommit,
  registerCp,
  registerCreate,
  registerDiff,
  registerExec,
  registerExport,
  registerLogs,
  registerLs,
  registerRename,
  registerRm,
  registerRun,
  registerStart,
  registerStop,
];

export function register(program: Command): void {
  for (const registerCommand of BOTH) registerCommand(program);
  const container = program.command('container').description('Manage containers');
  for (const registerCommand of [...BOTH, registerCheck, registerInspect, registerPrune])
    registerCommand(container);
}
