/** `lamina commit`, `lamina container commit` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { sourceDateEpoch } from '../epoch.js';
import { openStore } from './containers.js';

interface Flags {
  author?: string;
  change: string[];
  message?: string;
  pause: boolean;
}

export function register(parent: Command): void {
  const command = parent
    .command('commit')
    .description("Create a new image from a container's changes")
    .usage(
      '[OPTIONS] CONTAINER [REPOSITORY[:TAG]|oci:DIR[:REF]|oci-archive:FILE[:REF]|docker-archive:FILE[:REF]]',
    )
    .argument('<container>')
    .argument('[target]')
    .option('-a, --author <string>', 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
    .option('-c, --change <list>', 'Apply Dockerfile instruction to the created image', gather, [])
    .option('-m, --message <string>', 'Commit message')
    .option('-p, --pause', 'Make changes of the container wait during commit', true)
    .option('--no-pause', 'Let the container change during commit, and take files as they come')
    .action(async (name: string, target: string | undefined, flags: Flags) => {
      checkPause(command);
      const [{ commit, parseTarget }, { parseTagName }, { openImages }] = await Promise.all([
        import('../../container/commit.js'),
        import('../../image/tag.js'),
        import('../image/images-store.js'),
      ]);
      const parsed =
        target !== undefined && /^(oci|oci-archive|docker-archive):/.test(target)
          ? parseTarget(target)
          : {
              form: 'store' as const,
              images: await openImages(),
              name: target === undefined ? undefined : parseTagName(target),
            };
      const epochSec = sourceDateEpoch();
      const store = await openStore();
      const { imageId } = await commit(store, await store.get(name), parsed, {
        ...(flags.author === undefined ? {} : { author: flags.author }),
        ...(flags.message === undefined ? {} : { message: flags.message }),
        ...(epochSec === undefined ? {} : { epochSec }),
        changes: flags.change,
        pause: flags.pause,
      });
      process.stdout.write(`${imageId}\n`);
    });
}

function gather(value: string, all: string[]): string[] {
  return [...all, value];
}

function checkPause(command: Command): void {
  const raw = (command.parent?.parent ?? command.parent)?.args ?? [];
  const words = raw.slice(0, raw.includes('--') ? raw.indexOf('--') : raw.length);
  if (words.includes('--no-pause') && (words.includes('--pause') || words.includes('-p')))
    throw new LaminaError('EUSAGE', 'conflicting options: --no-pause and --pause cannot be used together', {
      hint: '',
    });
}
