/** `lamina rmi`, `lamina image rm` (docker/cli cli/command/image/remove.go) */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { openImages } from './images-store.js';
import { visibleLines } from '../output/visible.js';

interface Flags {
  force?: boolean;
  prune: boolean;
}

export function register(parent: Command): void {
  const isGroup = parent.name() === 'image';
  const command = parent
    .command(isGroup ? 'rm' : 'rmi')
    .description('Remove one or more images')
    .argument('<image...>')
    .option('-f, --force', 'Force removal of the image')
    .option('--no-prune', 'Do not delete untagged parents')
    .action(async (names: string[], flags: Flags) => run(names, flags));
  if (isGroup) command.alias('remove');
}

async function run(names: readonly string[], { force, prune }: Flags): Promise<void> {
  const [store, { removeImage }] = await Promise.all([openImages(), import('../../system/remove.js')]);
  const failures: LaminaError[] = [];
  const warn = (message: string): void => void process.stderr.write(`lamina: warning: ${message}\n`);
  for (const name of names) {
    try {
      const options = { isForced: force === true, prunesParents: prune };
      for (const record of await removeImage(store, name, options, warn))
        process.stdout.write(
          'untagged' in record ? `Untagged: ${record.untagged}\n` : `Deleted: ${record.deleted}\n`,
        );
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
      failures.push(error);
    }
  }
  const last = failures.pop();
  if (last === undefined) return;
  // As docker: what is not there need not be removed by force.
  const isMissing = force === true && [...failures, last].every(({ code }) => code === 'ENOIMAGE');
  for (const { message, code } of isMissing ? [...failures, last] : failures)
    process.stderr.write(
      isMissing ? `Error: ${visibleLines(message)}\n` : `lamina: ${visibleLines(message)} [${code}]\n`,
    );
  if (!isMissing) throw last;
}
