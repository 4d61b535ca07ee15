/** `lamina system prune` (docker/cli cli/command/system/prune.go): containers, images, and derived data in the place of the build cache. */
import type { Command } from 'commander';
import { openImages } from '../image/images-store.js';
import { gather } from '../output/gather.js';

interface Flags {
  all?: boolean;
  dryRun?: boolean;
  filter: string[];
  force?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('prune')
    .description('Remove unused data')
    .option('-a, --all', 'Remove all unused images not just dangling ones')
    .option('--dry-run', 'Only show what would be removed')
    .option('--filter <filter>', 'Provide filter values (e.g. "label=<key>=<value>")', gather, [])
    .option('-f, --force', 'Do not prompt for confirmation')
    .action(async (flags: Flags) => run(flags));
}

async function run(flags: Flags): Promise<void> {
  const [store, { planSystemPrune, pruneSystem }, output] = await Promise.all([
    openImages(),
    import('../../system/prune.js'),
    import('../output/prune.js'),
  ]);
  const options = { ...output.pruneFilter(flags.filter), isAll: flags.all === true };
  const plan = await planSystemPrune(store, options);
  const show = ({ containers, images, derived }: typeof plan): string =>
    output.containerSection(containers) +
    output.imageSections(images) +
    output.section(
      'Deleted Derived Data',
      derived.map(({ name }) => name),
    ) +
    output.total(
      [containers, images, ...derived.map(({ sizeBytes }) => ({ reclaimedBytes: sizeBytes }))].reduce(
        (sum, { reclaimedBytes }) => sum + reclaimedBytes,
        0,
      ),
    );
  if (flags.dryRun === true) {
    output.warnRefused(plan.images);
    process.stdout.write(output.asDryRun(show(plan)));
    return;
  }
  if (flags.force !== true) {
    const { confirm } = await import('../output/confirm.js');
    await confirm(question(flags), 'system prune');
  }
  const done = await pruneSystem(store, options, plan);
  output.warnRefused(done.images);
  process.stdout.write(show(done));
}

function question({ all, filter }: Flags): string {
  const warnings = [
    'all stopped containers',
    all === true ? 'all images without at least one container associated to them' : 'all dangling images',
    'derived data that no image and no container needs',
  ];
  const filters =
    filter.length === 0
      ? ''
      : `\n  Items to be pruned will be filtered with:\n${[...filter]
          .sort()
          .map((text) => `  - ${text}\n`)
          .join('')}`;
  return `WARNING! This will remove:\n${warnings.map((text) => `  - ${text}\n`).join('')}${filters}`;
}
