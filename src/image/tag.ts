/** `tag`: another name for an image. */
import { LaminaError } from '../errors.js';
import { parseReference, withDefaultTag } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { ImageStore } from '../store/image-store.js';

/** The name that an image is to get. Raises EUSAGE for what is none, or carries a digest. */
export function parseTagName(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.digest !== undefined)
    throw new LaminaError('EUSAGE', 'refusing to create a tag with a digest reference', {
      hint: 'Give it as NAME[:TAG].',
    });
  return name;
}

/** An image that had the name loses it. Raises ENOIMAGE, EUSAGE. */
export async function tagImage(store: ImageStore, source: string, target: string): Promise<void> {
  const name = parseTagName(target);
  await store.update((draft) => {
    const found = draft.before.get(source);
    const entry =
      (found.name === undefined ? undefined : draft.before.named(found.name)) ?? found.image.entries[0]!;
    const { descriptor } = entry;
    draft.add({
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
      sizeBytes: descriptor.sizeBytes,
      platform: descriptor.platform ?? found.image.config.platform,
      name,
      taggedAt: new Date().toISOString(),
    });
  });
}
