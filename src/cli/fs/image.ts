/** What every `lamina fs` command does first and last: open the image, look at it, close it. */
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import type { OpenedImage } from '../../image/open.js';
import type { ImageView } from '../../merge/view.js';
import type { Output } from './output.js';

export interface ImageFlags {
  verify?: boolean;
  platform?: string;
}

export interface JsonFlags extends ImageFlags {
  json?: boolean;
}

/** An open image, what it shows, and where the command prints. */
export interface Reading {
  opened: OpenedImage;
  view: ImageView;
  out: Output;
}

/** A subcommand that takes an image first. */
export function imageCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .option('--verify', 'Hash layers that are read in place before reading them')
    .argument('<image>');
}

/** Opens the image, runs `use`, and waits until what it printed is written. */
export async function readImage(
  name: string,
  flags: ImageFlags,
  use: (reading: Reading) => void | Promise<void>,
): Promise<void> {
  const [{ openImage }, { openOrPull }, { ImageView }, { Output }, { createBar }] = await Promise.all([
    import('../../image/open.js'),
    import('../registry/on-demand.js'),
    import('../../merge/view.js'),
    import('./output.js'),
    import('../output/progress.js'),
  ]);
  const progress = createBar('Decompressing');
  const opened = await openOrPull(name, flags.platform, () =>
    openImage(name, {
      ...(flags.platform === undefined ? {} : { platform: flags.platform }),
      onProgress: progress.update,
    }),
  ).finally(() => progress.finish());
  try {
    if (flags.verify === true) await opened.verify();
    const out = new Output(process.stdout);
    await use({ opened, view: new ImageView(await opened.toc(), opened.sources), out });
    await out.flush();
  } finally {
    opened.close();
  }
}

/** Absolute, as every path within an image is taken. */
export function absolute(path: ByteString): ByteString {
  return path.startsWith('/') ? path : `/${path}`;
}
