/** `lamina push`, `lamina image push` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { openImages } from '../image/images-store.js';
import { addTlsOption, withClient } from './client.js';
import type { TlsFlags } from './client.js';
import { createTransferProgress } from './show.js';

interface Flags extends TlsFlags {
  allTags?: boolean;
  lazyIndex?: boolean;
  quiet?: boolean;
}

export function register(parent: Command): void {
  addTlsOption(
    parent
      .command('push')
      .description('Upload an image to a registry')
      .usage('[OPTIONS] NAME[:TAG]')
      .argument('<name>')
      .option('-a, --all-tags', 'Push all tags of an image to the repository')
      .option('--lazy-index', 'Also push an index of each gzip layer, for "lamina mount --lazy"')
      .option('-q, --quiet', 'Suppress verbose output'),
  ).action(async (name: string, flags: Flags) => run(name, flags));
}

async function run(text: string, flags: Flags): Promise<void> {
  const [store, { pushImage, tagsToPush }, references] = await Promise.all([
    openImages(),
    import('../../registry/push.js'),
    import('../../oci/reference.js'),
  ]);
  const reference = references.parseReference(text);
  if (reference.digest !== undefined)
    throw new LaminaError('EUSAGE', 'cannot push a digest reference', { hint: 'Give it as NAME[:TAG].' });
  if (flags.allTags === true && reference.tag !== undefined)
    throw new LaminaError('EUSAGE', "tag can't be used with --all-tags/-a", {
      hint: 'Leave out one of them.',
    });
  const isQuiet = flags.quiet === true;
  const progress = createTransferProgress(isQuiet);
  if (flags.allTags !== true && reference.tag === undefined) progress.message('Using default tag: latest');
  const names =
    flags.allTags === true ? tagsToPush(store, reference) : [references.withDefaultTag(reference)];
  const bare = { ...reference, tag: undefined };
  progress.message(`The push refers to repository [${references.formatReference(bare)}]`);
  await withClient(flags, async (client) => {
    try {
      for (const name of names) {
        const { digest, sizeBytes, lazyIndex } = await pushImage(store, client, name, {
          progress,
          lazyIndex: flags.lazyIndex === true,
        });
        progress.message(`${name.tag}: digest: ${digest} size: ${sizeBytes}`);
        if (flags.lazyIndex === true)
          progress.message(
            lazyIndex === undefined
              ? `${name.tag}: no layer needs an index`
              : `${name.tag}: lazy index: ${lazyIndex.digest} layers: ${lazyIndex.layers}`,
          );
      }
    } finally {
      progress.finish();
    }
  });
  if (isQuiet)
    process.stdout.write(`${references.formatReference(flags.allTags === true ? bare : names[0]!)}\n`);
}
