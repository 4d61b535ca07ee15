/** `lamina save`, `lamina image save` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { openImages } from './images-store.js';

interface Flags {
  output?: string;
  platform?: string;
}

export function register(parent: Command): void {
  parent
    .command('save')
    .description('Save one or more images to a tar archive (streamed to STDOUT by default)')
    .argument('<image...>')
    .option('-o, --output <string>', 'Write to a file, instead of STDOUT')
    .option('--platform <string>', 'Save only the given platform (os[/arch[/variant]])')
    .action(async (names: string[], flags: Flags) => {
      if (flags.output === undefined && process.stdout.isTTY)
        throw new LaminaError(
          'EUSAGE',
          'cowardly refusing to save to a terminal. Use the -o flag or redirect',
          {
            hint: '',
          },
        );
      const [store, { saveImages }] = await Promise.all([openImages(), import('../../image/save.js')]);
      const saved = saveImages(store, names, flags.platform);
      try {
        if (flags.output === undefined) {
          const [{ writeMembers }, { Output }] = await Promise.all([
            import('../../archive/members.js'),
            import('../fs/output.js'),
          ]);
          const out = new Output(process.stdout);
          await writeMembers(saved.members, (chunk) => out.write(chunk));
          await out.flush();
        } else {
          const { replaceArchiveFile } = await import('../../archive/write.js');
          await replaceArchiveFile(flags.output, saved.members);
        }
      } finally {
        saved.close();
      }
    });
}
