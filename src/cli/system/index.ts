/** `lamina system COMMAND`, and `lamina info`. One command a file. */
import type { Command } from 'commander';
import { register as registerCheck } from './check.js';
import { register as registerDf } from './df.js';
import { register as registerInfo } from './info.js';
import { register as registerPrune } from './prune.js';

export function register(program: Command): void {
  registerInfo(program);
  const system = program.command('system').description('Look after the store');
  for (const registerCommand of [registerCheck, registerDf, registerInfo, registerPrune])
    registerCommand(system);
}
