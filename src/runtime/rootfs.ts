/** The root of a container that runs: its writable mount, in its bundle. */
import { openBase } from '../container/base.js';
import { containerLayer } from '../container/private-mount.js';
import type { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import { mountOpened } from '../image/mount.js';
import type { OpenedImage } from '../image/open.js';
import { parseMountOptions } from '../mount/options.js';
import type { RunConfig } from '../oci/config.js';
import type { ContainerRecord } from '../store/container-record.js';
import type { Bundle } from './bundle.js';

/**
 * Mounts a container on its bundle's directory; `endBundle` unmounts it.
 * @param opened its image, where it is open already; it stays open
 * @returns the image's config. Raises EINUSE when it is mounted elsewhere, EBASE, and what mounting raises.
 */
export async function mountRoot(
  store: ContainerStore,
  record: ContainerRecord,
  bundle: Bundle,
  opened?: OpenedImage,
): Promise<RunConfig> {
  const image = opened ?? (await openBase(record));
  try {
    const isRoot = process.getuid?.() === 0;
    const options = parseMountOptions(isRoot ? ['suid,dev'] : [], isRoot, isRoot, true);
    const mount = () =>
      mountOpened(image, bundle.rootfs, options, undefined, undefined, containerLayer(store, record));
    const mounted = await mount().catch(async (error: unknown) => {
      if (!(error instanceof LaminaError) || error.code !== 'EINUSE') throw error;
      // A server whose mount has just gone may still hold the container.
      (await store.holdSoon(record))?.release();
      return mount();
    });
    mounted.release();
    return image.archived.config.config;
  } finally {
    if (opened === undefined) image.close();
  }
}
