/**
 * `copy`: an image, or all that an index lists, from one place to another. Bytes go straight from the one to the other; only into our store
 * do they come by way of what verifies and indexes layers. Digests stay what they are, but for plain layers that a registry gets gzipped.
 */
import { LaminaError } from '../../errors.js';
import type { Platform } from '../../oci/platform.js';
import type { RegistryClient } from '../../registry/client.js';
import { SILENT } from '../../registry/progress.js';
import type { TransferProgress } from '../../registry/progress.js';
import { pullImage } from '../../registry/pull.js';
import { Cache } from '../../store/cache.js';
import type { ImageStore } from '../../store/image-store.js';
import { defaultMaxInflated } from '../open.js';
import { gzipCompression } from './compress.js';
import { copyTree } from './copy-tree.js';
import type { ManifestFormat } from './format.js';
import { parseSource, parseTarget } from './name.js';
import type { CopyPlace, CopyTarget } from './name.js';
import { registrySource } from './source.js';
import type { CopySource } from './source.js';
import { openDirectory, openOnDisk } from './stored.js';
import type { CopyDestination } from './target.js';
import { archiveDestination, directoryDestination, layoutDestination } from './to-disk.js';
import { registryDestination } from './to-registry.js';
import { copyIntoStore, requireOneImage } from './to-store.js';

export interface CopyOptions {
  /** Every image of an index, and the index. */
  isAll?: boolean;
  /** Of several the image for it; this host's when absent. */
  platform?: Platform;
  /** Fails rather than changing a digest. */
  preservesDigests?: boolean;
  /** As it is when absent. */
  format?: ManifestFormat;
  progress?: TransferProgress;
  maxInflatedBytes?: number;
  /** What talks to the registries of the two sides; asked for when it is needed. */
  sourceClient: () => Promise<RegistryClient>;
  targetClient: () => Promise<RegistryClient>;
}

export interface CopiedImage {
  /** Of the manifest or index that the destination's name leads to. */
  digest: string;
}

/**
 * Raises EUSAGE, ENOIMAGE, EPLATFORM, EEXIST (an archive or directory is there), ENOTARCHIVE, EDIGEST, EBLOB, EBADIMAGE, EMEDIATYPE,
 * EAUTH, EREGISTRY, ENETWORK, ENOSPC; the destination is then as it was, but for blobs of a registry that nothing leads to.
 */
export async function copyImage(
  store: ImageStore,
  from: string,
  to: string,
  options: CopyOptions,
): Promise<CopiedImage> {
  const target = parseTarget(to);
  const place = parseSource(from, store);
  const { isAll = false, preservesDigests = false, platform, format, progress = SILENT } = options;
  const maxInflatedBytes = options.maxInflatedBytes ?? defaultMaxInflated();
  const closers: (() => void)[] = [];
  try {
    if (target.transport === 'store') {
      if (format !== undefined)
        throw new LaminaError('EUSAGE', 'the store keeps manifests as they come', {
          hint: 'Leave out --format.',
        });
      const pulled = { maxInflatedBytes, progress, ...(platform === undefined ? {} : { platform }) };
      if (place.transport === 'registry') {
        const client = await options.sourceClient();
        const source = registrySource(client, place.reference);
        if (isAll) requireOneImage(source, await source.top());
        const { manifestDigest } = await pullImage(store, client, place.reference, {
          ...pulled,
          as: target.name,
        });
        return { digest: manifestDigest };
      }
      const source = await openSource(store, place, options, maxInflatedBytes);
      closers.push(() => source.close());
      const { digest } = await copyIntoStore(store, source, target.name, { ...pulled, platform, isAll });
      return { digest };
    }
    const source = await openSource(store, place, options, maxInflatedBytes);
    closers.push(() => source.close());
    const cache = await Cache.open(store.root);
    const destination = await openDestination(cache.root, target, source, options);
    const compression = gzipCompression(cache, closers);
    progress.message(`Copying ${source.shown}`);
    const { digest } = await copyTree(source, destination, {
      ...{ isAll, platform, preservesDigests, format, progress, compression },
    });
    return { digest };
  } finally {
    for (const closer of closers.reverse()) closer();
  }
}

async function openSource(
  store: ImageStore,
  place: CopyPlace,
  { sourceClient, platform, isAll }: CopyOptions,
  maxInflatedBytes: number,
): Promise<CopySource> {
  switch (place.transport) {
    case 'registry':
      return registrySource(await sourceClient(), place.reference);
    case 'dir':
      return openDirectory(place.path);
    default:
      return openOnDisk(store, place, { platform: isAll === true ? undefined : platform, maxInflatedBytes });
  }
}

async function openDestination(
  root: string,
  target: Exclude<CopyTarget, { transport: 'store' }>,
  source: CopySource,
  { targetClient }: CopyOptions,
): Promise<CopyDestination> {
  switch (target.transport) {
    case 'registry':
      return registryDestination(await targetClient(), target.reference, root, source.reference);
    case 'dir':
      return directoryDestination(target.path);
    case 'oci':
      return layoutDestination({ form: 'oci', path: target.path, reference: target.reference });
    default:
      return archiveDestination({ form: target.transport, path: target.path, reference: target.reference });
  }
}
