/** `lamina fs cat IMAGE PATH...` */
import type { Command } from 'commander';
import { imageCommand, readImage } from './image.js';
import type { ImageFlags } from './image.js';

export function register(parent: Command): void {
  imageCommand(parent, 'cat', 'Print the content of files')
    .argument('<path...>')
    .action(async (image: string, paths: string[], flags: ImageFlags) => {
      await readImage(image, flags, async ({ view, out }) => {
        const [{ fsError }, { argumentBytes }] = await Promise.all([
          import('../../merge/view.js'),
          import('./output.js'),
        ]);
        for (const path of paths.map(argumentBytes)) {
          const inode = view.toc.inode(view.resolve(path, { syscall: 'open' }));
          if (inode.type === 'dir') throw fsError('EISDIR', 'read', path);
          if (inode.type !== 'file') throw fsError('EINVAL', 'read', path);
          for (const chunk of view.chunks(inode.ino)) await out.write(chunk);
        }
      });
    });
}
