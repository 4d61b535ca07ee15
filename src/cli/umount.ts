/** `lamina umount DIR` */
import type { Command } from 'commander';

export function register(program: Command): void {
  program
    .command('umount')
    .alias('unmount')
    .description('Unmount what was mounted on one or more directories')
    .argument('<dir...>')
    .option('-f, --force', 'Break the connection: open files fail from now on')
    .option('-l, --lazy', 'Detach now, end when the last open file is closed')
    .action(async (directories: string[], flags: { force?: boolean; lazy?: boolean }) => {
      const { umount } = await import('../mount/umount.js');
      for (const directory of directories) await umount(directory, flags);
    });
}
