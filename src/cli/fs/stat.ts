/** `lamina fs stat`: as GNU stat, with the layer that gave the attributes and the extended attributes. */
import type { Command } from 'commander';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags } from './image.js';

interface StatFlags extends JsonFlags {
  dereference?: boolean;
  format?: string;
}

export function register(parent: Command): void {
  imageCommand(parent, 'stat', 'Print the attributes of files')
    .argument('<path...>')
    .option('-c, --format <string>', 'Print so, with directives of GNU stat: %n %s %a %U %y ...')
    .option('--json', 'Print in JSON format')
    .option('-L, --dereference', 'Follow symbolic links')
    .action(async (image: string, paths: string[], flags: StatFlags) => {
      await readImage(image, flags, async (reading) => {
        const [{ StatPrinter }, { argumentBytes, JsonArray }, { jsonFile }] = await Promise.all([
          import('./stat-format.js'),
          import('./output.js'),
          import('./attributes.js'),
        ]);
        const { view, out } = reading;
        const follow = flags.dereference === true;
        const found = paths.map(argumentBytes).map((path) => ({
          path,
          inode: view.toc.inode(view.resolve(path, { follow, syscall: follow ? 'stat' : 'lstat' })),
        }));
        if (flags.json === true) {
          const json = new JsonArray(out);
          for (const { path, inode } of found) await json.add(jsonFile(view, inode, path));
          await json.end();
          return;
        }
        const printer = new StatPrinter(reading);
        for (const { path, inode } of found) {
          await out.print(
            flags.format === undefined
              ? printer.describe(path, inode)
              : `${printer.format(argumentBytes(flags.format), path, inode)}\n`,
          );
        }
      });
    });
}
