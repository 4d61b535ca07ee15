/** `lamina rm`, `lamina container rm` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { forEach, mountpointsOf, openStore } from './containers.js';

export function register(parent: Command): void {
  const command = parent
    .command('rm')
    .description('Remove one or more containers')
    .argument('<container...>')
    .option('-f, --force', 'Force the removal of a mounted container: it is unmounted first')
    .action(async (names: string[], flags: { force?: boolean }) => {
      const store = await openStore();
      const { sweepPrivateMounts } = await import('../../container/private-mount.js');
      await sweepPrivateMounts();
      await forEach(names, async (name) => {
        const damaged =
          flags.force === true ? (await store.damaged()).find(({ id }) => id === name) : undefined;
        const record = damaged ?? (await (flags.force === true ? store.find(name) : store.get(name)));
        // As docker: what is not there need not be removed by force.
        if (record === undefined) return;
        if (flags.force === true) {
          const { umount } = await import('../../mount/umount.js');
          for (const mountpoint of await mountpointsOf(record))
            await umount(mountpoint, { force: true }).catch((error: unknown) => {
              // Unmounted meanwhile, and its server about to end.
              if (!(error instanceof LaminaError) || error.code !== 'ENOTMOUNTED') throw error;
            });
        }
        await store.remove(record);
        process.stdout.write(`${name}\n`);
      });
    });
  if (parent.name() === 'container') command.alias('remove');
}
