/** `lamina fs export IMAGE`: the merged root filesystem as one tar, the same bytes for the same image. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { imageCommand, readImage } from './image.js';
import type { ImageFlags } from './image.js';

interface ExportFlags extends ImageFlags {
  output?: string;
}

export function register(parent: Command): void {
  imageCommand(parent, 'export', 'Write the whole root filesystem as one tar')
    .option('-o, --output <string>', 'Write to a file, instead of STDOUT')
    .action(async (image: string, flags: ExportFlags) => {
      if (flags.output === undefined && process.stdout.isTTY) {
        throw new LaminaError(
          'EUSAGE',
          'cowardly refusing to save to a terminal. Use the -o flag or redirect',
        );
      }
      // Whoever takes the whole image away gets what its digests promise.
      await readImage(image, { ...flags, verify: true }, async ({ view, out }) => {
        const [{ writeMergedTar }, { ROOT_INO }] = await Promise.all([
          import('../../image/merged-tar.js'),
          import('../../merge/toc-reader.js'),
        ]);
        const root = { ino: ROOT_INO, path: '/' };
        if (flags.output === undefined) await writeMergedTar(view, root, '.', (chunk) => out.write(chunk));
        else {
          const { writeFileOrNothing } = await import('./file-output.js');
          await writeFileOrNothing(flags.output, (write) => writeMergedTar(view, root, '.', write));
        }
      });
    });
}
