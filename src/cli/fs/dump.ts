/** `lamina fs dump IMAGE [PATH]`: the canonical dump (FORMAT.md), one line a name. */
import type { Command } from 'commander';
import { imageCommand, readImage } from './image.js';
import type { ImageFlags } from './image.js';

export function register(parent: Command): void {
  imageCommand(parent, 'dump', 'Print every name with all its attributes, one line each, in a fixed form')
    .argument('[path]', 'where to begin', '/')
    .action(async (image: string, path: string, flags: ImageFlags) => {
      await readImage(image, flags, async ({ view, out }) => {
        const [{ dumpLines }, { argumentBytes }] = await Promise.all([
          import('../../merge/dump.js'),
          import('./output.js'),
        ]);
        const start = view.locate(argumentBytes(path), { follow: false, syscall: 'lstat' });
        for (const line of dumpLines(view.toc, view.sources, start)) await out.print(`${line}\n`);
      });
    });
}
