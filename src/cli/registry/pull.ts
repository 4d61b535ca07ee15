/** `lamina pull`, `lamina image pull` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { openImages } from '../image/images-store.js';
import { addTlsOption, withClient } from './client.js';
import type { TlsFlags } from './client.js';
import { createTransferProgress } from './show.js';

interface Flags extends TlsFlags {
  allTags?: boolean;
  platform?: string;
  quiet?: boolean;
}

export function register(parent: Command): void {
  addTlsOption(
    parent
      .command('pull')
      .description('Download an image from a registry')
      .usage('[OPTIONS] NAME[:TAG|@DIGEST]')
      .argument('<name>')
      .option('-a, --all-tags', 'Download all tagged images in the repository')
      .option('--platform <string>', 'Set platform if the registry has several (DOCKER_DEFAULT_PLATFORM)')
      .option('-q, --quiet', 'Suppress verbose output'),
  ).action(async (name: string, flags: Flags) => run(name, flags));
}

async function run(text: string, flags: Flags): Promise<void> {
  const [store, { pullImage, pullAllTags }, { defaultMaxInflated }, references, { parsePlatform }] =
    await Promise.all([
      openImages(),
      import('../../registry/pull.js'),
      import('../../image/open.js'),
      import('../../oci/reference.js'),
      import('../../oci/platform.js'),
    ]);
  const reference = references.parseReference(text);
  const { familiarReference, formatReference, withDefaultTag } = references;
  const hasTag = reference.tag !== undefined || reference.digest !== undefined;
  if (flags.allTags === true && hasTag)
    throw new LaminaError('EUSAGE', "tag can't be used with --all-tags/-a");
  const isQuiet = flags.quiet === true;
  const say = (line: string): void => {
    if (!isQuiet) process.stdout.write(`${line}\n`);
  };
  const platform = flags.platform ?? process.env.DOCKER_DEFAULT_PLATFORM;
  const progress = createTransferProgress(isQuiet);
  const options = {
    maxInflatedBytes: defaultMaxInflated(),
    progress,
    ...(platform ? { platform: parsePlatform(platform) } : {}),
  };
  await withClient(flags, async (client) => {
    const status = (isNewer: boolean, shown: string): string =>
      `Status: ${isNewer ? 'Downloaded newer image' : 'Image is up to date'} for ${shown}`;
    try {
      if (flags.allTags === true) {
        const pulled = await pullAllTags(store, client, reference, options, ({ digest }) =>
          progress.message(`Digest: ${digest}`),
        );
        progress.finish();
        say(
          status(
            pulled.some(({ isNewer }) => isNewer),
            familiarReference(reference),
          ),
        );
        process.stdout.write(`${formatReference(reference)}\n`);
        return;
      }
      if (!hasTag) say('Using default tag: latest');
      const { digest, isNewer, reference: pulled } = await pullImage(store, client, reference, options);
      progress.finish();
      say(`Digest: ${digest}`);
      say(status(isNewer, familiarReference(pulled)));
      process.stdout.write(`${formatReference(withDefaultTag(reference))}\n`);
    } finally {
      progress.finish();
    }
  });
}
