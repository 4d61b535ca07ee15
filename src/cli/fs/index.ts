/** `lamina fs`: the files of an image, read without a mount. One command a file; what they have in common is in image.ts and output.ts. */
import type { Command } from 'commander';

export function register(program: Command): void {
  program.command('fs').description('Read the files of an image without mounting it');
}
