/** The library's image: its files in the shapes of Node's `fs/promises`, and what it is made of. */
import type { ImageConfig } from '../oci/config.js';
import { formatPlatform } from '../oci/platform.js';
import type { TocReader } from '../merge/toc-reader.js';
import { ImageView } from '../merge/view.js';
import { ImageFs } from './image-fs.js';
import { openImage as openData } from './open.js';
import type { OpenedImage, OpenImageOptions } from './open.js';

/** An open image. It holds file descriptors: `close` it, or declare it with `await using` where that is known. */
export class Image extends ImageFs {
  /** @internal what mounting needs */
  readonly opened: OpenedImage;

  constructor(opened: OpenedImage, toc: TocReader) {
    super(new ImageView(toc, opened.sources));
    this.opened = opened;
  }

  /** Config digest, `sha256:<hex>`. */
  get id(): string {
    return this.opened.archived.imageId;
  }

  /** `os/arch[/variant]`. */
  get platform(): string {
    return formatPlatform(this.opened.archived.platform);
  }

  /** Names and tags that the archive gives it. */
  get references(): readonly string[] {
    return this.opened.archived.references;
  }

  get config(): ImageConfig {
    return this.opened.archived.config;
  }

  /** Digests of the uncompressed layers, bottom to top. */
  get diffIds(): readonly string[] {
    return this.opened.archived.layers.map(({ diffId }) => diffId);
  }

  /** Hashes the layers that are read where they lie, once for each archive. Raises EDIGEST. */
  async verify(): Promise<void> {
    await this.opened.verify();
  }

  /** Closes the archive and its layers. Reads that are under way fail. */
  async close(): Promise<void> {
    this.opened.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens an image by path or transport.
 *
 * @example
 * const image = await openImage('docker-archive:app.tar');
 * console.log(await image.readFile('/etc/os-release', 'utf8'));
 * await image.close();
 */
export async function openImage(name: string, options: OpenImageOptions = {}): Promise<Image> {
  const opened = await openData(name, options);
  try {
    return new Image(opened, await opened.toc());
  } catch (error) {
    opened.close();
    throw error;
  }
}
