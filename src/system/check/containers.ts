/** Records of containers, and whether what they stand on is there. Nothing here is repaired: it may be somebody's only copy. */
import { existsSync } from 'node:fs';
import { ContainerStore } from '../../container/store.js';
import { LaminaError } from '../../errors.js';
import type { ImageStore } from '../../store/image-store.js';
import { openStoredManifest } from '../../store/open-stored.js';
import type { Checked, Finding } from './finding.js';

export async function checkContainers(images: ImageStore, checked: Checked): Promise<Finding[]> {
  // Noted by what looks for half-done work in it.
  if (checked.unreadable.includes('containers')) return [];
  const store = new ContainerStore(images.root);
  const findings: Finding[] = [];
  const damage = (id: string, what: string): void =>
    void findings.push({ kind: 'damage', subject: `container ${id}`, what });
  for (const { id, error } of await store.damaged()) damage(id, error.message);
  for (const record of await store.list()) {
    checked.containers++;
    for (const directory of [store.upperOf(record), store.workOf(record)])
      if (!existsSync(directory)) damage(record.id, `${directory} is gone`);
    const { transport, path, manifestDigest, name } = record.image;
    if (transport !== 'store') {
      if (!existsSync(path)) damage(record.id, `the archive of its image is gone: ${path}`);
      continue;
    }
    try {
      openStoredManifest(images, manifestDigest ?? '').close();
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
      damage(record.id, `its image ${name} cannot be read: ${error.message}; load or pull it again`);
    }
  }
  return findings;
}
