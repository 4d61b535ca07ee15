/** Who uses the images of the store: containers, mounted or not, and mounts of images themselves. */
import { realpathSync } from 'node:fs';
import { ContainerStore } from '../container/store.js';
import { MountTable } from '../mount/table.js';

export interface ImageUse {
  /** Config digest. */
  imageId: string;
  kind: 'running' | 'stopped' | 'mount';
  /** ID of the container; of a mount, its directory. */
  by: string;
  /** Bottom to top; empty for a mount, which holds its files open itself. */
  diffIds: readonly string[];
}

/** A container counts as running while it is mounted. Raises as the system does. */
export async function imageUses(root: string): Promise<ImageUse[]> {
  const containers = new ContainerStore(root);
  const uses: ImageUse[] = [];
  for (const record of await containers.list()) {
    const { imageId, transport, diffIds } = record.image;
    if (transport !== 'store') continue;
    const kind = (await containers.isMounted(record)) ? 'running' : 'stopped';
    uses.push({ imageId, kind, by: record.id, diffIds });
  }
  // The table is the user's: it has the mounts of archives and of other stores as well, of the same images perhaps.
  const mounts = await new MountTable().list();
  const place = mounts.length === 0 ? undefined : realPlace(root);
  for (const { record, state } of mounts)
    if (state === 'live' && record.container === undefined && place !== undefined && record.store === place)
      uses.push({ imageId: record.imageId, kind: 'mount', by: record.mountpoint, diffIds: [] });
  return uses;
}

/** undefined when it is not there. */
function realPlace(root: string): string | undefined {
  try {
    return realpathSync(root);
  } catch {
    return undefined;
  }
}
