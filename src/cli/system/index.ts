/** `lamina system COMMAND`. One command a file. */
import type { Command } from 'commander';
import { register as registerCheck } from './check.js';
import { register as registerPrune } from './prune.js';

export function register(program: Command): void {
  const system = program.command('system').description('Look after the store');
  for (const registerCommand of [registerCheck, registerPrune]) registerCommand(system);
}
