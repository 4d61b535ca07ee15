/** `lamina container prune` (docker/cli cli/command/container/prune.go): a container that is not mounted is a stopped one. */
import type { Command } from 'commander';
import { openImages } from '../image/images-store.js';
import { gather } from '../output/gather.js';

interface Flags {
  dryRun?: boolean;
  filter: string[];
  force?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('prune')
    .description('Remove all stopped containers')
    .option('--dry-run', 'Only show what would be removed')
    .option('--filter <filter>', 'Provide filter values (e.g. "until=<timestamp>")', gather, [])
    .option('-f, --force', 'Do not prompt for confirmation')
    .action(async (flags: Flags) => run(flags));
}

async function run({ dryRun, filter, force }: Flags): Promise<void> {
  const [store, { planContainerPrune, pruneContainers }, output] = await Promise.all([
    openImages(),
    import('../../system/prune.js'),
    import('../output/prune.js'),
  ]);
  const plan = await planContainerPrune(store, output.pruneFilter(filter));
  const show = (one: typeof plan): string => output.containerSection(one) + output.total(one.reclaimedBytes);
  if (dryRun === true) {
    process.stdout.write(output.asDryRun(show(plan)));
    return;
  }
  if (force !== true) {
    const { confirm } = await import('../output/confirm.js');
    await confirm('WARNING! This will remove all stopped containers.', 'container prune');
  }
  process.stdout.write(show(await pruneContainers(store, plan)));
}
