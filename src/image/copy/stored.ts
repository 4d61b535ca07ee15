/** Archives, layouts, directories and the store as sources of `copy`. */
import { closeSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { DirectoryFiles } from '../../archive/directory-files.js';
import { DocumentReader } from '../../archive/files.js';
import { DEFAULT_ARCHIVE_LIMITS } from '../../archive/image.js';
import type { ArchivedImage, LayerBlob, OpenedArchive } from '../../archive/image.js';
import { manifestFor } from '../../archive/manifest-for.js';
import { OciLayout } from '../../archive/oci-layout.js';
import { LaminaError } from '../../errors.js';
import { IMAGE_NAME, REF_NAME } from '../../oci/annotations.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { hashBytes } from '../../oci/digest.js';
import type { Platform } from '../../oci/platform.js';
import { formatReference, tryParseReference, withDefaultTag } from '../../oci/reference.js';
import { sourceChunks } from '../../registry/source-chunks.js';
import { Cache } from '../../store/cache.js';
import type { ImageStore } from '../../store/image-store.js';
import type { ByteSource } from '../../tar/source.js';
import type { LocatedImage } from '../locate.js';
import { InflateTotal, openPossiblyCompressed } from '../open.js';
import { mediaTypeOf } from './document.js';
import type { CopyDocument } from './document.js';
import { storedSource } from './source.js';
import type { CopySource } from './source.js';

export interface StoredOptions {
  /** Decides between several images of one name where they have no index of their own. */
  platform: Platform | undefined;
  /** Of an archive that is compressed as a whole. */
  maxInflatedBytes: number;
}

type OnDisk = CopySource & Required<Pick<CopySource, 'open'>>;

/** Raises what opening and selecting raise. `close` it. */
export async function openOnDisk(
  store: ImageStore,
  place: LocatedImage,
  options: StoredOptions,
): Promise<OnDisk> {
  if (place.transport === 'store') return fromStore(store, place.reference, options.platform);
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0).reverse()) closer();
  };
  try {
    const cache = await Cache.open(store.root);
    const archive = await openPossiblyCompressed(
      ...[place.path, place.transport, cache, options.maxInflatedBytes, new InflateTotal(undefined), closers],
    );
    closers.push(() => archive.close());
    if (archive instanceof OciLayout) return fromLayout(archive, place, options.platform, close);
    return await fromImage(select(archive, place, options.platform), place.path, close);
  } catch (error) {
    close();
    throw error;
  }
}

function select(
  archive: OpenedArchive,
  { reference }: { reference: string | undefined },
  platform: Platform | undefined,
): ArchivedImage {
  return archive.select({
    ...(reference === undefined ? {} : { reference }),
    ...(platform === undefined ? {} : { platform }),
  });
}

function fromStore(store: ImageStore, name: string, platform: Platform | undefined): OnDisk {
  const snapshot = store.snapshot();
  const found = snapshot.get(name);
  const entry =
    (found.name === undefined ? undefined : snapshot.named(found.name)) ?? found.image.entries[0]!;
  const { digest, mediaType } =
    platform === undefined ? entry.descriptor : snapshot.manifestOf(entry, platform).descriptor;
  const bytes = store.blobs.document(digest);
  const opened = new Map<string, ByteSource>();
  return storedSource({
    shown: `store:${name}`,
    top: { bytes, digest, mediaType: mediaTypeOf(bytes, mediaType, `manifest ${digest}`) },
    bytes: (other) => (store.blobs.has(other) ? store.blobs.document(other) : undefined),
    blob: (other) => {
      if (!opened.has(other) && store.blobs.has(other)) opened.set(other, store.blobs.open(other));
      return opened.get(other);
    },
    close: () => {
      for (const { fd } of opened.values()) closeSync(fd);
      opened.clear();
    },
  });
}

function fromLayout(
  layout: OciLayout,
  { path, reference }: { path: string; reference: string | undefined },
  platform: Platform | undefined,
  close: () => void,
): OnDisk {
  const listed = entriesNamed(layout.entries(), reference);
  let top: CopyDocument;
  if (new Set(listed.map(({ digest }) => digest)).size === 1) {
    const [entry] = listed as [Descriptor];
    const bytes = layout.document(entry);
    top = { bytes, digest: entry.digest, mediaType: mediaTypeOf(bytes, entry.mediaType, entry.digest) };
  } else {
    // One image for each of several platforms, or a name that only an index inside knows.
    const { manifest, manifestDigest } = select(layout, { reference }, platform);
    top = { ...manifest!, digest: manifestDigest! };
  }
  return storedSource({
    shown: `${layout.form}:${path}`,
    top,
    bytes: (digest) => layout.bytes(digest),
    blob: (digest) => layout.open(digest),
    close,
  });
}

/** By the rules of archive/choose.ts, for what index.json itself lists. */
function entriesNamed(entries: readonly Descriptor[], reference: string | undefined): readonly Descriptor[] {
  if (reference === undefined) return entries;
  const position = /^@(\d+)$/.exec(reference)?.[1];
  if (position !== undefined) return entries.slice(Number(position), Number(position) + 1);
  const namesOf = ({ annotations }: Descriptor): string[] =>
    [REF_NAME, IMAGE_NAME].flatMap((key) => annotations.get(key) ?? []);
  const exact = entries.filter((entry) => namesOf(entry).includes(reference));
  if (exact.length > 0) return exact;
  const full = (text: string): string | undefined => {
    const name = tryParseReference(text);
    return name === undefined ? undefined : formatReference(withDefaultTag(name));
  };
  const wanted = full(reference);
  const named =
    wanted === undefined
      ? []
      : entries.filter((entry) => namesOf(entry).some((name) => full(name) === wanted));
  return named.length > 0 ? named : entries.filter(({ digest }) => digest === reference);
}

/** A docker archive has no manifest where its tool wrote none; then it gets one, always the same. */
async function fromImage(image: ArchivedImage, path: string, close: () => void): Promise<OnDisk> {
  const blobs = new Map<string, ByteSource>();
  const layers: { digest: string; sizeBytes: number; compression: LayerBlob['compression'] }[] = [];
  for (const layer of image.layers) {
    const digest = layer.digest ?? (await digestOf(layer));
    blobs.set(digest, layer.blob);
    layers.push({ digest, sizeBytes: layer.blob.sizeBytes, compression: layer.compression });
  }
  const manifest = image.manifest ?? manifestFor(image.configBytes, image.imageId, layers);
  const digest = image.manifestDigest ?? hashBytes('sha256', manifest.bytes);
  return storedSource({
    shown: `docker-archive:${path}`,
    top: { ...manifest, digest },
    bytes: () => undefined,
    blob: (other) => blobs.get(other),
    inMemory: new Map([[image.imageId, image.configBytes]]),
    close,
  });
}

/** A plain layer's blob is its tar. */
async function digestOf({ blob, compression, diffId }: LayerBlob): Promise<string> {
  if (compression === 'none') return diffId;
  const hash = createHash('sha256');
  for await (const chunk of sourceChunks(blob)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** What `skopeo copy` writes as dir: (containers-transports(5)): documents and blobs side by side, by the hex of their digests. */
export function openDirectory(path: string): OnDisk {
  const files = new DirectoryFiles(path);
  const documents = new DocumentReader(files, DEFAULT_ARCHIVE_LIMITS);
  const hex = (digest: string): string => digest.slice(digest.indexOf(':') + 1);
  try {
    const bytes = documents.read('manifest.json', `${path}, manifest.json`);
    if (bytes === undefined)
      throw new LaminaError('ENOTARCHIVE', `${path} is no image: it holds no manifest.json`, { path });
    return storedSource({
      shown: `dir:${path}`,
      top: {
        bytes,
        digest: hashBytes('sha256', bytes),
        mediaType: mediaTypeOf(bytes, '', `${path}, manifest.json`),
      },
      bytes: (digest) => documents.read(`${hex(digest)}.manifest.json`, digest),
      blob: (digest) => files.open(hex(digest)),
      close: () => files.close(),
    });
  } catch (error) {
    files.close();
    throw error;
  }
}
