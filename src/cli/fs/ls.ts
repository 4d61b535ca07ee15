/** `lamina fs ls`: as GNU ls prints in the C locale to a file, one name a line; names of users and groups are the image's own. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags } from './image.js';

export interface LsFlags extends JsonFlags {
  long?: boolean;
  recursive?: boolean;
  all?: boolean;
  almostAll?: boolean;
  directory?: boolean;
  humanReadable?: boolean;
  inode?: boolean;
  numericUidGid?: boolean;
  reverse?: boolean;
  sortBySize?: boolean;
  sortByTime?: boolean;
  timeStyle: string;
}

export function register(parent: Command): void {
  imageCommand(parent, 'ls', 'List directories')
    .argument('[path...]')
    .option('-a, --all', 'Show names that start with a dot, and . and ..')
    .option('-A, --almost-all', 'Show names that start with a dot')
    .option('-d, --directory', 'List directories themselves, not what is in them')
    .option('-h, --human-readable', 'Print sizes as 1K 234M 2G')
    .option('-i, --inode', 'Print the number of the inode')
    .option('--json', 'Print in JSON format')
    .option('-l, --long', 'Print mode, links, owner, group, size and time')
    .option('-n, --numeric-uid-gid', 'As -l, with numbers of users and groups')
    .option('-R, --recursive', 'List subdirectories too')
    .option('-r, --reverse', 'Reverse the order')
    .option('-S, --sort-by-size', 'Largest first')
    .option('-t, --sort-by-time', 'Newest first')
    .option('--time-style <string>', 'One of locale, iso, long-iso, full-iso', 'locale')
    .action(async (image: string, paths: string[], flags: LsFlags) => {
      const [{ Listing }, { TIME_STYLES }, { argumentBytes }] = await Promise.all([
        import('./listing.js'),
        import('./attributes.js'),
        import('./output.js'),
      ]);
      const timeStyle = TIME_STYLES.find((style) => style === flags.timeStyle);
      if (timeStyle === undefined) {
        throw new LaminaError('EUSAGE', `unknown time style "${flags.timeStyle}"`, {
          hint: `The styles are ${TIME_STYLES.join(', ')}.`,
        });
      }
      await readImage(image, flags, (reading) =>
        new Listing(reading, flags, timeStyle).list(paths.length === 0 ? ['/'] : paths.map(argumentBytes)),
      );
    });
}
