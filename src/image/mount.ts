/** Mounting an image, for the library and for the command line. */
import { LaminaError } from '../errors.js';
import { formatPlatform } from '../oci/platform.js';
import { mountImage } from '../mount/mount.js';
import type { MountContainer, Mounted } from '../mount/mount.js';
import { parseMountOptions } from '../mount/options.js';
import type { DriverName, MountOptions } from '../mount/options.js';
import { umount } from '../mount/umount.js';
import type { UmountOptions } from '../mount/umount.js';
import { Image, openImage } from './image.js';
import type { OpenedImage, OpenImageOptions } from './open.js';

export interface LibraryMountOptions extends OpenImageOptions {
  /** The native server, or the portable driver where there is none, when absent. */
  driver?: DriverName;
  /** Let users other than this one see the files. */
  allowOther?: boolean;
  /** As `lamina mount -o`: comma-separated. */
  options?: string;
}

/** A mount that was made; it outlives this process. */
export interface Mount {
  readonly mountpoint: string;
  umount(options?: UmountOptions): Promise<void>;
}

/**
 * Mounts an image, open or by name, on a directory that exists. An image that is passed open stays open.
 * Raises what `openImage` and `mountImage` raise.
 *
 * @example
 * const mount_ = await mount('app.tar', '/mnt');
 * await mount_.umount();
 */
export async function mount(
  image: Image | string,
  directory: string,
  options: LibraryMountOptions = {},
): Promise<Mount> {
  const opened = image instanceof Image ? image : await openImage(image, options);
  try {
    const parsed = parseMountOptions(
      [options.options ?? ''],
      options.allowOther === true,
      process.getuid?.() === 0,
    );
    const mounted = await mountOpened(opened.opened, directory, parsed, options.driver);
    mounted.release();
    const { mountpoint } = mounted.record;
    return { mountpoint, umount: (how) => umount(mountpoint, how) };
  } finally {
    if (opened !== image) await opened.close();
  }
}

/** Mounts an opened image, or a container of it; the image may be closed afterwards. */
export async function mountOpened(
  opened: OpenedImage,
  directory: string,
  options: MountOptions,
  driver: DriverName | undefined,
  warn?: (message: string) => void,
  container?: MountContainer,
): Promise<Mounted> {
  const image = {
    name: opened.name,
    imageId: opened.archived.imageId,
    platform: formatPlatform(opened.archived.platform),
    tocPath: opened.tocPath,
    sources: opened.sources,
    cache: opened.cache,
    unverified: await opened.unverified(),
    ...(opened.located.transport === 'store' ? { store: opened.located.path } : {}),
    ...(container === undefined ? {} : { container }),
  };
  try {
    return await mountImage(image, directory, options, driver, warn);
  } catch (error) {
    // The index in the cache is damaged, or of a version that the server does not know: it can be made again.
    if (!(error instanceof LaminaError) || error.code !== 'EBADTOC') throw error;
    await opened.renewToc();
    return mountImage(image, directory, options, driver, warn);
  }
}
