/**
 * From a name on the command line to an image that can be read or mounted: archive, layers, merged TOC. Uncompressed
 * layers are read where they lie; compressed ones, and compressed archives, are inflated into the cache once.
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { ArchivedImage, LayerBlob, OpenedArchive } from '../archive/image.js';
import { openArchive } from '../archive/open.js';
import { fromSystemError, LaminaError } from '../errors.js';
import { detectCompression } from '../layer/compression.js';
import { indexLayer } from '../layer/index-layer.js';
import type { LayerToc } from '../layer/tree.js';
import { encodeToc } from '../merge/encode.js';
import { mergeLayers } from '../merge/merge.js';
import { TocReader } from '../merge/toc-reader.js';
import { parsePlatform } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { Cache, DEFAULT_MAX_INFLATED_BYTES, hashed, identityOf } from '../store/cache.js';
import { ImageStore } from '../store/image-store.js';
import { openStored, openStoredManifest } from '../store/open-stored.js';
import type { OpenedStored } from '../store/open-stored.js';
import { contentStamp, verifyLayers } from '../store/verify.js';
import type { UnverifiedLayer } from '../store/verify.js';
import type { ByteSource } from '../tar/source.js';
import { locateImage } from './locate.js';
import type { LocatedImage } from './locate.js';

export interface OpenImageOptions {
  /** What the name means, where that is known already; the name is then only shown. */
  parsed?: LocatedImage;
  /** `os[/arch[/variant]]`, which the image must be for. When absent, the host's is preferred among several images. */
  platform?: string;
  /** Directory of the cache; LAMINA_ROOT or the default when absent. */
  root?: string;
  /** Most bytes that one layer, or a compressed archive, may have when decompressed. */
  maxInflatedBytes?: number;
  /** Called while something is inflated: stored bytes read so far, of all that must be. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** An image with everything that reading it takes. `close` when done: it holds file descriptors. */
export interface OpenedImage {
  /** As it was asked for. */
  name: string;
  /** What that meant. */
  located: LocatedImage;
  archived: ArchivedImage;
  /** The file of the merged TOC. */
  tocPath: string;
  /** The merged TOC, read and checked on the first call. */
  toc(): Promise<TocReader>;
  /** Makes the file of the merged TOC anew, when somebody found it damaged. */
  renewToc(): Promise<void>;
  /** The uncompressed tar of each layer, bottom to top. */
  sources: readonly ByteSource[];
  cache: Cache;
  /** What is still to be verified; empty when every layer is known to be right. */
  unverified(): Promise<UnverifiedLayer[]>;
  /** Hashes what is still to be verified. Raises EDIGEST. */
  verify(): Promise<void>;
  /** The TOC of each layer, bottom to top, indexed anew on the first call. */
  layerTocs(): Promise<TocReader[]>;
  close(): void;
}

/**
 * Opens an image of the store by any name that docker takes, or one in an archive by path or transport (`docker-archive:PATH[:REF]`,
 * `oci:PATH[:REF]`, `oci-archive:PATH[:REF]`). A name that begins with `/`, `./` or `../` is a path, `store:NAME` is none.
 * Raises ENOENT, ENOTARCHIVE, ENOIMAGE, EPLATFORM, EBADIMAGE, EBLOB, EMEDIATYPE, EDIGEST, ELIMIT, EBADTAR and the layer's
 * own EBADPATH, EWHITEOUT, EBADLAYER; everything that was opened is closed then.
 */
export async function openImage(name: string, options: OpenImageOptions = {}): Promise<OpenedImage> {
  const cache = await Cache.open(options.root);
  const store = new ImageStore(cache.root);
  const located = options.parsed ?? locateImage(name, store);
  const progress = new InflateTotal(options.onProgress);
  const maxBytes = options.maxInflatedBytes ?? defaultMaxInflated();
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0).reverse()) closer();
  };
  // A platform that was asked for must fit; without one the host's only decides between several images.
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  try {
    let archived: ArchivedImage;
    if (located.transport === 'store') {
      const stored = openStoredBy(store, located, platform);
      closers.push(stored.close);
      archived = stored.archived;
    } else {
      const archive = await openPossiblyCompressed(
        located.path,
        located.transport,
        cache,
        maxBytes,
        progress,
        closers,
      );
      closers.push(() => archive.close());
      archived = archive.select({
        ...(platform === undefined ? {} : { platform }),
        ...(located.reference === undefined ? {} : { reference: located.reference }),
      });
    }
    return await openLayers({ name, located, archived }, cache, { maxBytes, progress, closers });
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * The same of an image that is open already: its layers' blobs stay open until it is closed, and are the caller's to close. Raises as
 * `openImage` does of the layers.
 */
export async function openArchived(
  image: Pick<OpenedImage, 'name' | 'located' | 'archived'>,
  cache: Cache,
): Promise<OpenedImage> {
  const closers: (() => void)[] = [];
  try {
    const progress = new InflateTotal(undefined);
    return await openLayers(image, cache, { maxBytes: defaultMaxInflated(), progress, closers });
  } catch (error) {
    for (const closer of closers.splice(0).reverse()) closer();
    throw error;
  }
}

async function openLayers(
  { name, located, archived }: Pick<OpenedImage, 'name' | 'located' | 'archived'>,
  cache: Cache,
  { maxBytes, progress, closers }: { maxBytes: number; progress: InflateTotal; closers: (() => void)[] },
): Promise<OpenedImage> {
  const sources = await plainLayers(archived.layers, cache, maxBytes, progress, closers);
  // Taken before indexing: what is written to from then on is noticed when the layer is verified.
  const stamps = sources.map(contentStamp);
  const unverified = (): Promise<UnverifiedLayer[]> =>
    unverifiedLayers(archived.layers, sources, stamps, cache);
  const key = hashed(archived.layers.map((layer, index) => layerKey(layer, sources[index]!)));
  const indexOne = (place: number, index: number): LayerToc => {
    const source = sources[place]!;
    return indexLayer(source, { diffId: archived.layers[place]!.diffId, sizeBytes: source.sizeBytes }, index);
  };
  const places = [...archived.layers.keys()];
  const makeToc = (): Promise<string> =>
    cache.chainToc(key, () => encodeToc(mergeLayers(places.map((place) => indexOne(place, place)))));
  const tocPath = await makeToc();
  const renewToc = async (): Promise<void> => {
    await cache.discard(tocPath);
    await makeToc();
  };
  let toc: Promise<TocReader> | undefined;
  let layerTocs: Promise<TocReader[]> | undefined;
  return {
    name,
    located,
    archived,
    tocPath,
    toc: () => (toc ??= loadToc(tocPath, renewToc)),
    renewToc,
    sources,
    cache,
    unverified,
    verify: async () => verifyLayers(await unverified(), cache),
    layerTocs: () =>
      (layerTocs ??= Promise.all(
        places.map(
          async (place) => new TocReader(await encodeToc(indexOne(place, 0)), archived.layers[place]!.diffId),
        ),
      )),
    close: () => {
      for (const closer of closers.splice(0).reverse()) closer();
    },
  };
}

/** LAMINA_MAX_INFLATED in bytes, or the default. */
export function defaultMaxInflated(): number {
  const text = process.env.LAMINA_MAX_INFLATED;
  return text ? parseSize(text, 'LAMINA_MAX_INFLATED') : DEFAULT_MAX_INFLATED_BYTES;
}

/** `512`, `64k`, `10MB`, `2GiB` -> bytes; kB, MB, GB are decimal, a bare letter or KiB, MiB, GiB binary. Raises EUSAGE. */
export function parseSize(text: string, what: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?b)?)?b?$/i.exec(text.trim());
  if (match === null)
    throw new LaminaError(
      'EUSAGE',
      `invalid size "${text}" for ${what}: expected a number with k, M, G or T`,
    );
  const base = match[3]?.toLowerCase() === 'b' ? 1000 : 1024;
  const power = match[2] === undefined ? 0 : 'kmgt'.indexOf(match[2].toLowerCase()) + 1;
  return Math.floor(Number(match[1]) * base ** power);
}

/** An archive, inflated into the cache first where it is compressed as a whole. `closers` are to be called last first, after its own. */
export async function openPossiblyCompressed(
  path: string,
  transport: OpenedArchive['form'] | undefined,
  cache: Cache,
  maxBytes: number,
  progress: InflateTotal,
  closers: (() => void)[],
): Promise<OpenedArchive> {
  const form = transport === undefined ? {} : { transport };
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile()) return openArchive(path, form);
  const fd = openSync(path, 'r');
  try {
    const blob: ByteSource = { fd, offset: 0, sizeBytes: stats.size, name: path };
    const compression = detectCompression(blob);
    if (compression === 'none') return openArchive(path, form);
    progress.expect(blob.sizeBytes);
    const source = await cache.inflatedArchive(blob, compression, maxBytes, progress.advance);
    closers.push(() => closeSync(source.fd));
    return openArchive(path, { ...form, source });
  } finally {
    closeSync(fd);
  }
}

/** The tar of every layer, inflating as many at once as there are cores. Equal layers are inflated once. */
async function plainLayers(
  layers: readonly LayerBlob[],
  cache: Cache,
  maxBytes: number,
  progress: InflateTotal,
  closers: (() => void)[],
): Promise<ByteSource[]> {
  const sources = new Array<ByteSource>(layers.length);
  const waiting = [...layers.entries()].filter(([, layer]) => layer.compression !== 'none');
  for (const [, layer] of waiting) progress.expect(layer.blob.sizeBytes);
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, layer] = next;
      const source = await cache.inflatedLayer(layer, maxBytes, progress.advance);
      closers.push(() => closeSync(source.fd));
      sources[index] = source;
    }
  };
  const workers = Array.from({ length: Math.min(availableParallelism(), waiting.length) }, work);
  const results = await Promise.allSettled(workers);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  for (const [index, layer] of layers.entries()) sources[index] ??= layer.blob;
  return sources;
}

/** A file that cannot be used (damaged, or of another version) is made once more. */
async function loadToc(file: string, renew: () => Promise<void>): Promise<TocReader> {
  const load = async (): Promise<TocReader> => {
    const toc = new TocReader(await readFile(file), file);
    await toc.verifyChecksums();
    return toc;
  };
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof LaminaError)) throw fromSystemError(error, 'cannot read', file);
    await renew();
    return load();
  }
}

/** By the digest of its manifest where that is known: an image that was untagged is still what a container stands on. */
function openStoredBy(
  store: ImageStore,
  { reference, manifestDigest }: Extract<LocatedImage, { transport: 'store' }>,
  platform: Platform | undefined,
): OpenedStored {
  return manifestDigest === undefined
    ? openStored(store, reference, platform)
    : openStoredManifest(store, manifestDigest);
}

/** What the layer's part of a TOC depends on: its content where that was verified, the place it lies where it was not. */
function layerKey(layer: LayerBlob, source: ByteSource): string {
  return isInPlace(layer) ? `${layer.diffId}@${identityOf(source)}` : layer.diffId;
}

/** Its bytes lie in a file that is not ours: nobody has hashed them, and anybody may write there. */
function isInPlace({ compression, isVerified }: LayerBlob): boolean {
  return compression === 'none' && isVerified !== true;
}

async function unverifiedLayers(
  layers: readonly LayerBlob[],
  sources: readonly ByteSource[],
  stamps: readonly string[],
  cache: Cache,
): Promise<UnverifiedLayer[]> {
  const found: UnverifiedLayer[] = [];
  for (const [index, layer] of layers.entries()) {
    if (!isInPlace(layer)) continue;
    const key = hashed([layerKey(layer, sources[index]!)]);
    if (!(await cache.isVerified(key)))
      found.push({ diffId: layer.diffId, source: sources[index]!, key, stamp: stamps[index]! });
  }
  return found;
}

/** Adds up what all inflating does, for one progress bar. */
export class InflateTotal {
  #done = 0;
  #total = 0;

  constructor(private readonly report: ((doneBytes: number, totalBytes: number) => void) | undefined) {}

  expect(bytes: number): void {
    this.#total += bytes;
  }

  readonly advance = (bytes: number): void => {
    this.#done += bytes;
    this.report?.(this.#done, this.#total);
  };
}
