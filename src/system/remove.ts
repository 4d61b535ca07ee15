/** `rmi`: removes names and images, under the store's lock, by the rules of `Removal`. */
import type { ImageStore } from '../store/image-store.js';
import type { Collected } from '../store/collect.js';
import { Removal } from './removal.js';
import type { RemovalRecord, RemoveOptions } from './removal.js';
import { imageUses } from './usage.js';

/**
 * Removes one image by a name or an ID. Raises ENOIMAGE, ECONFLICT; the store is then as it was.
 * @param warn is told when blobs had to stay, because something in the store cannot be read
 */
export async function removeImage(
  store: ImageStore,
  text: string,
  options: RemoveOptions = {},
  warn: (message: string) => void = () => {},
): Promise<RemovalRecord[]> {
  return store.update(async (draft) => {
    const removal = new Removal(draft.before, await imageUses(store.root));
    const records = removal.remove(text, options);
    removal.apply(draft);
    // Where only names went, there is nothing to look for.
    if (removal.deletedImages.length > 0) draft.collectAfterwards((collected) => sayRefused(collected, warn));
    return records;
  });
}

export function sayRefused({ refused }: Collected, warn: (message: string) => void): void {
  if (refused !== undefined) warn(`no blob was removed: ${refused.message}`);
}
