/** `lamina inspect`: containers and images by one command, as docker's. */
import type { Command } from 'commander';
import { LaminaError } from '../errors.js';
import { FORMAT_HELP } from './image/inspect.js';

interface Flags {
  format?: string;
  type?: string;
}

export function register(program: Command): void {
  program
    .command('inspect')
    .description('Return low-level information on containers and images')
    .usage('[OPTIONS] NAME|ID [NAME|ID...]')
    .argument('<name...>')
    .option('-f, --format <string>', FORMAT_HELP)
    .option('--type <string>', 'Only inspect objects of the given type ("container", "image")')
    .action(async (names: string[], { format, type }: Flags) => {
      if (type !== undefined && type !== 'container' && type !== 'image')
        throw new LaminaError('EUSAGE', `unknown type: "${type}"`, {
          hint: 'The types are "container" and "image".',
        });
      const [{ inspectAll }, { openImages }, { imageObject }, { openStore }, { containerObject }] =
        await Promise.all([
          import('./inspect-all.js'),
          import('./image/images-store.js'),
          import('./image/inspect.js'),
          import('./container/containers.js'),
          import('./container/inspect.js'),
        ]);
      const images = await openImages();
      const containers = await openStore();
      await inspectAll(names, format, async (name) => {
        if (type !== 'image') {
          const record = await (type === 'container' ? containers.get(name) : containers.find(name));
          if (record !== undefined) return containerObject(containers, record);
        }
        const found = type === 'image' ? images.snapshot().get(name) : images.snapshot().find(name);
        if (found !== undefined) return imageObject(found.image, images.root);
        throw new LaminaError('ENOIMAGE', `No such object: ${name}`, {
          hint: 'List what there is with: lamina images -a, lamina ps -a.',
        });
      });
    });
}
