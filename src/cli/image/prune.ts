/** `lamina image prune` (docker/cli cli/command/image/prune.go) */
import type { Command } from 'commander';
import { gather } from '../output/gather.js';
import { openImages } from './images-store.js';

interface Flags {
  all?: boolean;
  dryRun?: boolean;
  filter: string[];
  force?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('prune')
    .description('Remove unused images')
    .option('-a, --all', 'Remove all unused images, not just dangling ones')
    .option('--dry-run', 'Only show what would be removed')
    .option('--filter <filter>', 'Provide filter values (e.g. "until=<timestamp>")', gather, [])
    .option('-f, --force', 'Do not prompt for confirmation')
    .action(async (flags: Flags) => run(flags));
}

async function run({ all, dryRun, filter, force }: Flags): Promise<void> {
  const [store, { planImagePrune, pruneImages }, output] = await Promise.all([
    openImages(),
    import('../../system/prune.js'),
    import('../output/prune.js'),
  ]);
  const options = { ...output.pruneFilter(filter), isAll: all === true };
  const plan = await planImagePrune(store, options);
  if (dryRun === true) {
    output.warnRefused(plan);
    process.stdout.write(output.asDryRun(output.imageSections(plan) + output.total(plan.reclaimedBytes)));
    return;
  }
  if (force !== true) {
    const what =
      all === true ? 'all images without at least one container associated to them' : 'all dangling images';
    const { confirm } = await import('../output/confirm.js');
    await confirm(`WARNING! This will remove ${what}.`, 'image prune');
  }
  const done = await pruneImages(store, options, plan.imageIds);
  output.warnRefused(done);
  process.stdout.write(output.imageSections(done) + output.total(done.reclaimedBytes));
}
