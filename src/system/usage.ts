/** Who uses the images of the store: containers, mounted or not, and mounts of images themselves. */
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
  for (const { record, state } of await new MountTable().list())
    if (state === 'live' && record.container === undefined)
      uses.push({ imageId: record.imageId, kind: 'mount', by: record.mountpoint, diffIds: [] });
  return uses;
}
