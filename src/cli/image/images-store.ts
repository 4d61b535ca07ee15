/** What commands on images have in common. Modules are loaded when a command runs, not when it is listed. */
import { LaminaError } from '../../errors.js';
import type { ImageStore } from '../../store/image-store.js';
import type { StoredImage } from '../../store/stored-image.js';

export async function openImages(): Promise<ImageStore> {
  const { ImageStore } = await import('../../store/image-store.js');
  return new ImageStore();
}

/** Raises EPLATFORM when the image is not for the platform that was asked for; `text` undefined is any. */
export async function checkPlatform(
  image: StoredImage,
  name: string,
  text: string | undefined,
): Promise<void> {
  if (text === undefined) return;
  const { formatPlatform, parsePlatform, platformRank } = await import('../../oci/platform.js');
  const wanted = parsePlatform(text);
  if (platformRank(image.config.platform, wanted) !== undefined) return;
  const { os, architecture } = image.config.platform;
  throw new LaminaError(
    'EPLATFORM',
    `image with reference ${name} was found but does not provide the specified platform (${formatPlatform(wanted)}); it is for ${os}/${architecture}`,
  );
}
