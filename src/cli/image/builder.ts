/** `lamina builder COMMAND` */
import type { Command } from 'commander';
import { register as registerBuild } from './build.js';
import { openImages } from './images-store.js';

export function register(program: Command): void {
  const builder = program.command('builder').description('Manage builds');
  registerBuild(builder);
  builder
    .command('prune')
    .description('Remove what the cache mounts of builds hold')
    .option('-a, --all', 'Accepted without effect: all of it is removed')
    .option('-f, --force', 'Do not prompt for confirmation')
    .action(async ({ force }: { force?: boolean }) => {
      const [store, { pruneCacheMounts }, { confirm }, { total }] = await Promise.all([
        openImages(),
        import('../../build/cache-mounts.js'),
        import('../output/confirm.js'),
        import('../output/prune.js'),
      ]);
      if (force !== true)
        await confirm('WARNING! This will remove what the cache mounts of builds hold.', 'builder prune');
      process.stdout.write(total(await pruneCacheMounts(store.root)));
    });
}
