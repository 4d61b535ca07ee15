/** `lamina rm`, `lamina container rm` */
import type { Command } from 'commander';
import type { ContainerPlace, ContainerStore } from '../../container/store.js';
import type { ContainerRecord } from '../../store/container-record.js';
import { LaminaError } from '../../errors.js';
import { forEach, mountpointsOf, openStore } from './containers.js';

export function register(parent: Command): void {
  const command = parent
    .command('rm')
    .description('Remove one or more containers')
    .argument('<container...>')
    .option('-v, --volumes', 'Accepted: the volumes of a container always go with it')
    .option(
      '-f, --force',
      'Force the removal of a running or mounted container: it is killed and unmounted first',
    )
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
        await endRun(store, record, flags.force === true);
        if (flags.force === true) {
          const { umount } = await import('../../mount/umount.js');
          for (const mountpoint of await mountpointsOf(record))
            await umount(mountpoint, { force: true }).catch((error: unknown) => {
              // Unmounted meanwhile, and its server about to end.
              if (!(error instanceof LaminaError) || error.code !== 'ENOTMOUNTED') throw error;
            });
        }
        await store.remove(record).catch((error: unknown) => {
          // Removed meanwhile, as it said that it would be when it ends.
          if (flags.force !== true || !(error instanceof LaminaError) || error.code !== 'ENOCONTAINER')
            throw error;
        });
        const isStored = !('image' in record) || record.image.transport === 'store';
        if (isStored) await collectAfter('image' in record ? record.image.manifestDigest : undefined);
        process.stdout.write(`${name}\n`);
      });
    });
  if (parent.name() === 'container') command.alias('remove');
}

/** Raises EINUSE when it runs and is not to be ended. What a killed process left of it goes in any case. */
async function endRun(store: ContainerStore, record: ContainerPlace, force: boolean): Promise<void> {
  const { containerState } = await import('../../runtime/state.js');
  const { forceStop, untilGone } = await import('../../runtime/stop.js');
  if (!('image' in record)) return;
  const whole = record as ContainerRecord;
  if (containerState(store, whole).status !== 'running') return untilGone(store, whole);
  if (force) return forceStop(store, whole);
  throw new LaminaError(
    'EINUSE',
    `cannot remove container "/${record.name}": container is running: stop the container before removing or force remove`,
    { hint: 'Stop it with: lamina stop CONTAINER, or give --force.' },
  );
}

/** Blobs that only the container held go with it: its image had been removed by force. */
async function collectAfter(manifestDigest: string | undefined): Promise<void> {
  const [{ openImages }, { collectBlobs }] = await Promise.all([
    import('../image/images-store.js'),
    import('../../system/prune.js'),
  ]);
  const images = await openImages();
  const { entries } = images.snapshot();
  if (entries.some(({ descriptor }) => descriptor.digest === manifestDigest)) return;
  await collectBlobs(images);
}
