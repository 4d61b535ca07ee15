/** `lamina __complete KIND`: the names that there are, one a line, for the shells' scripts. It says nothing of what goes wrong. */
import type { Word } from './model.js';

export async function namesOf(kind: Word): Promise<string[]> {
  if (kind === 'image') return imageNames();
  if (kind === 'container') {
    const { ContainerStore } = await import('../../container/store.js');
    return (await new ContainerStore().list()).map(({ name }) => name);
  }
  if (kind !== 'mount') return [];
  const { MountTable } = await import('../../mount/table.js');
  return (await new MountTable().list()).map(({ record }) => record.mountpoint);
}

async function imageNames(): Promise<string[]> {
  const [{ ImageStore }, { familiarReference }] = await Promise.all([
    import('../../store/image-store.js'),
    import('../../oci/reference.js'),
  ]);
  const names = new ImageStore()
    .snapshot()
    .images.flatMap(({ entries }) =>
      entries.flatMap(({ name }) => (name === undefined ? [] : [familiarReference(name)])),
    );
  return [...new Set(names)].sort();
}
