/** `lamina create IMAGE`, `lamina container create IMAGE` */
import type { Command } from 'commander';
import { openStore } from './containers.js';

interface Flags {
  name?: string;
  platform?: string;
}

export function register(parent: Command): void {
  parent
    .command('create')
    .description('Create a new container')
    .argument('<image>')
    .option('--name <string>', 'Assign a name to the container')
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .action(async (image: string, flags: Flags) => {
      const [{ openImage }, { openOrPull }, { createContainer }, { createBar }] = await Promise.all([
        import('../../image/open.js'),
        import('../registry/on-demand.js'),
        import('../../container/create.js'),
        import('../output/progress.js'),
      ]);
      const progress = createBar('Decompressing');
      const opened = await openOrPull(image, flags.platform, () =>
        openImage(image, {
          ...(flags.platform === undefined ? {} : { platform: flags.platform }),
          onProgress: progress.update,
        }),
      ).finally(() => progress.finish());
      try {
        const { id } = await createContainer(await openStore(), opened, flags.name);
        process.stdout.write(`${id}\n`);
      } finally {
        opened.close();
      }
    });
}
