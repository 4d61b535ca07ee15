/** `lamina fs`: the files of an image, read without a mount. One command a file; what they share is in image.ts and output.ts. */
import type { Command } from 'commander';
import { register as registerCat } from './cat.js';
import { register as registerDu } from './du.js';
import { register as registerDump } from './dump.js';
import { register as registerLs } from './ls.js';
import { register as registerStat } from './stat.js';
import { register as registerTree } from './tree.js';

export function register(program: Command): void {
  const fs = program.command('fs').description('Read the files of an image without mounting it');
  for (const command of [registerCat, registerDu, registerDump, registerLs, registerStat, registerTree])
    command(fs);
}
