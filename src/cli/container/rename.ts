/** `lamina rename`, `lamina container rename` */
import type { Command } from 'commander';
import { openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('rename')
    .description('Rename a container')
    .argument('<container>')
    .argument('<new_name>')
    .action(async (container: string, name: string) => (await openStore()).rename(container, name));
}
