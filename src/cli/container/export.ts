/** `lamina export`, `lamina container export`: what a mount of the container shows, as one tar. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('export')
    .description("Export a container's filesystem as a tar archive")
    .argument('<container>')
    .option('-o, --output <string>', 'Write to a file, instead of STDOUT')
    .action(async (name: string, flags: { output?: string }) => {
      if (flags.output === undefined && process.stdout.isTTY)
        throw new LaminaError(
          'EUSAGE',
          'cowardly refusing to save to a terminal. Use the -o flag or redirect',
        );
      const [{ openContainer }, { writeMergedTar }, { ROOT_INO }, { Output }] = await Promise.all([
        import('../../container/open.js'),
        import('../../image/merged-tar.js'),
        import('../../layer/tree.js'),
        import('../fs/output.js'),
      ]);
      const store = await openStore();
      const opened = await openContainer(store, await store.get(name));
      try {
        // Whoever takes all of it away gets what the image's digests promise.
        await opened.base.verify();
        const root = { ino: ROOT_INO, path: '/' };
        if (flags.output === undefined) {
          const out = new Output(process.stdout);
          await writeMergedTar(opened.view, root, '.', (chunk) => out.write(chunk));
        } else {
          const { writeFileOrNothing } = await import('../fs/file-output.js');
          await writeFileOrNothing(flags.output, (write) => writeMergedTar(opened.view, root, '.', write));
        }
      } finally {
        opened.close();
      }
    });
}
