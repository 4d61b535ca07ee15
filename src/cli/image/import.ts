/** `lamina import`, `lamina image import` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { ImportOptions } from '../../image/import-image.js';
import { sourceDateEpoch } from '../epoch.js';
import { openImages } from './images-store.js';

interface Flags {
  change: string[];
  message?: string;
  platform?: string;
}

export function register(parent: Command): void {
  parent
    .command('import')
    .description('Import the contents from a tarball to create a filesystem image')
    .usage('[OPTIONS] file|URL|- [REPOSITORY[:TAG]]')
    .argument('<file>')
    .argument('[name]')
    .option('-c, --change <list>', 'Apply Dockerfile instruction to the created image', gather, [])
    .option('-m, --message <string>', 'Set commit message for imported image')
    .option('--platform <string>', 'Set platform of the image (os[/arch[/variant]])')
    .action(async (file: string, name: string | undefined, flags: Flags) => run(file, name, flags));
}

function gather(value: string, all: string[]): string[] {
  return [...all, value];
}

async function run(file: string, name: string | undefined, flags: Flags): Promise<void> {
  const [store, { importImage, withDownload }, { withInput }, { parseTagName }, { createBar }] =
    await Promise.all([
      openImages(),
      import('../../image/import-image.js'),
      import('../../image/input.js'),
      import('../../image/tag.js'),
      import('../output/progress.js'),
    ]);
  const epochSec = sourceDateEpoch();
  const platform = flags.platform ?? process.env.DOCKER_DEFAULT_PLATFORM;
  const isUrl = /^https?:\/\//.test(file);
  const progress = createBar(isUrl ? 'Downloading' : 'Importing');
  const options: ImportOptions = {
    ...(name === undefined ? {} : { name: parseTagName(name) }),
    ...(flags.message === undefined ? {} : { message: flags.message }),
    ...(platform ? { platform } : {}),
    ...(epochSec === undefined ? {} : { epochSec }),
    changes: flags.change,
    // docker names only URLs: a file is sent to its daemon as a stream.
    source: isUrl ? file : '-',
    onProgress: progress.update,
  };
  const make = (at: string): Promise<string> => importImage(store, at, options);
  if (file === '-' && process.stdin.isTTY)
    throw new LaminaError('EUSAGE', 'cannot import from a terminal: redirect a tar into the command', {
      hint: 'For example: tar -C DIR -c . | lamina import - NAME',
    });
  if (isUrl) process.stdout.write(`Downloading from ${file}\n`);
  const imageId = await (
    isUrl ? withDownload(store.root, file, make, progress.update) : withInput(store.root, file, make)
  ).finally(() => progress.finish());
  process.stdout.write(`${imageId}\n`);
}
