/** `lamina fs`: the files of an image, read without a mount. One command a file; what they share is in image.ts and output.ts. */
import type { Command } from 'commander';
import { register as registerCat } from './cat.js';
import { register as registerCp } from './cp.js';
import { register as registerDiff } from './diff.js';
import { register as registerDu } from './du.js';
import { register as registerDump } from './dump.js';
import { register as registerExport } from './export.js';
import { register as registerFind } from './find.js';
import { register as registerLs } from './ls.js';
import { register as registerStat } from './stat.js';
import { register as registerTree } from './tree.js';
import { register as registerWhich } from './which.js';

export function register(program: Command): void {
  const fs = program.command('fs').description('Read the files of an image without mounting it');
  for (const registerCommand of [
    registerCat,
    registerCp,
    registerDiff,
    registerDu,
    registerDump,
    registerExport,
    registerFind,
    registerLs,
    registerStat,
    registerTree,
    registerWhich,
  ]) {
    registerCommand(fs);
  }
}
