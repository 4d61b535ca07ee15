/** `lamina create IMAGE`, `lamina container create IMAGE` */
import type { Command } from 'commander';
import { addRunOptions } from './run-flags.js';
import type { RunFlags } from './run-flags.js';

export function register(parent: Command): void {
  addRunOptions(
    parent
      .command('create')
      .description('Create a new container')
      .usage('[OPTIONS] IMAGE [COMMAND] [ARG...]')
      .argument('<image>')
      .argument('[command...]')
      .passThroughOptions(),
  ).action(async (image: string, words: string[], flags: RunFlags) => {
    const { makeContainer } = await import('./make.js');
    const { record, opened } = await makeContainer(image, words, flags);
    opened.close();
    process.stdout.write(`${record.id}\n`);
  });
}
