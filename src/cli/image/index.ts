/** `lamina image COMMAND`, and the same commands at the top where docker has them there. One command a file. */
import type { Command } from 'commander';
import { register as registerBuild } from './build.js';
import { register as registerBuilder } from './builder.js';
import { register as registerCopy } from './copy.js';
import { register as registerHistory } from './history.js';
import { register as registerImport } from './import.js';
import { register as registerInspect } from './inspect.js';
import { register as registerLoad } from './load.js';
import { register as registerLs } from './ls.js';
import { register as registerPull } from '../registry/pull.js';
import { register as registerPush } from '../registry/push.js';
import { register as registerPrune } from './prune.js';
import { register as registerRm } from './rm.js';
import { register as registerSave } from './save.js';
import { register as registerTag } from './tag.js';

const BOTH = [
  registerBuild,
  registerCopy,
  registerHistory,
  registerImport,
  registerLoad,
  registerLs,
  registerPull,
  registerPush,
  registerRm,
  registerSave,
  registerTag,
];

export function register(program: Command): void {
  for (const registerCommand of BOTH) registerCommand(program);
  registerBuilder(program);
  const image = program.command('image').description('Manage images');
  for (const registerCommand of [...BOTH, registerInspect, registerPrune]) registerCommand(image);
}
