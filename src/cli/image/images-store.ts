/** What every command on images does first. Modules are loaded when a command runs, not when it is listed. */
import type { ImageStore } from '../../store/image-store.js';

export async function openImages(): Promise<ImageStore> {
  const { ImageStore } = await import('../../store/image-store.js');
  return new ImageStore();
}
