/** `lamina fs tree`: directories as tree(1) draws them. */
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import { utf8ToBytes } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags } from './image.js';

interface TreeFlags extends JsonFlags {
  all?: boolean;
  directories?: boolean;
  level?: string;
}

export const TREE_LINES = {
  middle: utf8ToBytes('\u251c\u2500\u2500 '),
  last: utf8ToBytes('\u2514\u2500\u2500 '),
  through: utf8ToBytes('\u2502\u00a0\u00a0 '),
  none: '    ',
};

export function register(parent: Command): void {
  imageCommand(parent, 'tree', 'Draw directories as a tree')
    .argument('[path]', 'where to begin', '/')
    .option('-a, --all', 'Show names that start with a dot')
    .option('-d, --directories', 'Show directories only')
    .option('--json', 'Print in JSON format')
    .option('-L, --level <number>', 'Show only what is at most so deep')
    .action(async (image: string, path: string, flags: TreeFlags) => {
      const level = flags.level === undefined ? Infinity : Number(flags.level);
      if (!(level >= 1)) {
        throw new LaminaError('EUSAGE', `invalid level "${flags.level}", must be greater than 0`);
      }
      await readImage(image, flags, async ({ view, out }) => {
        const [{ argumentBytes, jsonText }, { jsonFile }, { fsError, joinPath }] = await Promise.all([
          import('./output.js'),
          import('./attributes.js'),
          import('../../merge/view.js'),
        ]);
        const given = argumentBytes(path);
        const root = view.locate(given);
        if (view.toc.inode(root.ino).type !== 'dir') throw fsError('ENOTDIR', 'scandir', given);
        const children = (ino: number): { name: ByteString; ino: number; isDir: boolean }[] =>
          view.toc
            .entries(ino)
            .filter(({ name }) => flags.all === true || !name.startsWith('.'))
            .filter(({ type }) => flags.directories !== true || type === 'dir')
            .map(({ name, ino: child, type }) => ({ name, ino: child, isDir: type === 'dir' }));

        if (flags.json === true) {
          const describe = (ino: number, at: ByteString, depth: number): object => ({
            ...jsonFile(view, view.toc.inode(ino), at),
            ...(depth < level
              ? {
                  children: children(ino).map(({ name, ino: child }) =>
                    describe(child, joinPath(at, name), depth + 1),
                  ),
                }
              : {}),
          });
          await out.print(`${jsonText(describe(root.ino, root.path, 0))}\n`);
          return;
        }

        const counts = { directories: 0, files: 0 };
        const draw = async (ino: number, prefix: ByteString, depth: number): Promise<void> => {
          const shown = children(ino);
          for (const [index, { name, ino: child, isDir }] of shown.entries()) {
            const isLast = index === shown.length - 1;
            const { type, target } = view.toc.inode(child);
            const arrow = type === 'symlink' ? ` -> ${out.name(target)}` : '';
            await out.print(
              `${prefix}${isLast ? TREE_LINES.last : TREE_LINES.middle}${out.name(name)}${arrow}\n`,
            );
            counts[isDir ? 'directories' : 'files']++;
            if (isDir && depth < level) {
              await draw(child, prefix + (isLast ? TREE_LINES.none : TREE_LINES.through), depth + 1);
            }
          }
        };
        await out.print(`${out.name(given)}\n`);
        await draw(root.ino, '', 1);
        const directories = `${counts.directories} director${counts.directories === 1 ? 'y' : 'ies'}`;
        const files = `, ${counts.files} file${counts.files === 1 ? '' : 's'}`;
        await out.print(`\n${directories}${flags.directories === true ? '' : files}\n`);
      });
    });
}
