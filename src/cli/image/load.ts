/** `lamina load`, `lamina image load` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { shortId } from '../output/ids.js';
import { openImages } from './images-store.js';

interface Flags {
  input?: string;
  quiet?: boolean;
  platform?: string;
}

export function register(parent: Command): void {
  parent
    .command('load')
    .description('Load an image from a tar archive or STDIN')
    .option('-i, --input <string>', 'Read from tar archive file, or OCI layout, instead of STDIN')
    .option('--platform <string>', 'Load only the given platform (os[/arch[/variant]])')
    .option('-q, --quiet', 'Suppress the load output')
    .action(async (flags: Flags) => run(flags));
}

async function run(flags: Flags): Promise<void> {
  if (flags.input === undefined && process.stdin.isTTY)
    throw new LaminaError('EUSAGE', 'requested load from stdin, but stdin is empty', {
      hint: 'Name a file with -i, or redirect one into the command.',
    });
  const [store, { loadArchive }, { withInput }, { createProgress }] = await Promise.all([
    openImages(),
    import('../../image/load.js'),
    import('../../image/input.js'),
    import('../output/progress.js'),
  ]);
  const progress = flags.quiet === true ? undefined : createProgress({ isPlain: false });
  const loaded = await withInput(store.root, flags.input, (file) =>
    loadArchive(store, file, {
      ...(flags.platform === undefined ? {} : { platform: flags.platform }),
      onProgress: (id, current, total) =>
        progress?.update(shortId(id), { action: 'Loading layer', current, total }),
    }),
  ).finally(() => progress?.finish());
  for (const { imageId, names, moved } of loaded) {
    for (const { name, imageId: old } of moved)
      process.stdout.write(
        `The image ${name} already exists, renaming the old one with ID ${old} to empty string\n`,
      );
    for (const name of names) process.stdout.write(`Loaded image: ${name}\n`);
    if (names.length === 0) process.stdout.write(`Loaded image ID: ${imageId}\n`);
  }
}
