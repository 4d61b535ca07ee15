/** What every kind of archive yields: images, their layers bottom to top, and where the bytes of each layer lie. */
import type { ImageConfig } from '../oci/config.js';
import type { Platform } from '../oci/platform.js';
import type { ByteSource } from '../tar/source.js';

export type ArchiveForm = 'docker-archive' | 'oci' | 'oci-archive';

/** Where an image named on the command line lies. */
export type ImageTransport = ArchiveForm | 'store';

export interface LayerBlob {
  /** Digest of the uncompressed tar, from the config. Not verified yet. */
  diffId: string;
  /** Digest of the blob as it is stored, where the archive gives one. Not verified yet. */
  digest: string | undefined;
  /** undefined in a docker archive, which gives none. */
  mediaType: string | undefined;
  /** Found from the blob's first bytes, which win over the media type. */
  compression: 'none' | 'gzip' | 'zstd';
  /** Valid until the archive is closed. */
  blob: ByteSource;
  /** It was hashed when it came into the store, and nobody but the store writes there. */
  isVerified?: boolean;
}

export interface ArchivedImage {
  /** The names it has in the archive, as they are written there; none for an image without a name. */
  references: readonly string[];
  /** Digest of the config. */
  imageId: string;
  config: ImageConfig;
  configBytes: Buffer;
  /** undefined in a docker archive without manifests. */
  manifestDigest: string | undefined;
  /** The manifest itself, where there is one. */
  manifest: { mediaType: string; bytes: Buffer } | undefined;
  platform: Platform;
  /** Bottom to top. */
  layers: readonly LayerBlob[];
}

export interface ImageSummary {
  references: readonly string[];
  /** undefined for images of Docker before 1.10, which have no config. */
  imageId: string | undefined;
  manifestDigest: string | undefined;
  platform: Platform;
}

export interface SelectOptions {
  /** A name, `@N` (the Nth image, from 0), a digest, or an image ID of which at least 6 digits are given. */
  reference?: string;
  /** The image must fit it (EPLATFORM). When absent, the host's decides between several, and a single one is taken. */
  platform?: Platform;
}

export interface OpenedArchive {
  readonly form: ArchiveForm;
  readonly path: string;
  /** Every image that is complete enough to be described, in the archive's order. */
  list(): ImageSummary[];
  /**
   * The one image that is asked for, its manifest and config verified. Raises ENOIMAGE when none or several fit,
   * EPLATFORM, EBLOB, EDIGEST, EBADIMAGE, EMEDIATYPE, ELIMIT, EBADPATH, ELOOP.
   */
  select(options?: SelectOptions): ArchivedImage;
  /** Closes every file that the archive has opened; blobs cannot be read any more. */
  close(): void;
}

/** What a hostile archive may make us hold in memory. Passing one is ELIMIT. */
export interface ArchiveLimits {
  /** One JSON document: index, manifest or config. */
  maxJsonBytes: number;
  /** All JSON documents of an archive together. */
  maxTotalJsonBytes: number;
  /** Members of the outer tar. */
  maxMembers: number;
  maxLayers: number;
  /** How deep indexes may be nested. */
  maxIndexDepth: number;
}

/** FORMAT.md allows 4096 layers. */
export const DEFAULT_ARCHIVE_LIMITS: Readonly<ArchiveLimits> = {
  maxJsonBytes: 4 * 1024 * 1024,
  maxTotalJsonBytes: 64 * 1024 * 1024,
  maxMembers: 1024 * 1024,
  maxLayers: 4096,
  maxIndexDepth: 8,
};
