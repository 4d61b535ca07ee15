/** What a name leads to, from one place to another: blobs first, then what lists them, the name last. */
import { LaminaError } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { parseIndex } from '../../oci/image-index.js';
import { documentKind } from '../../oci/media-types.js';
import { parseConfig } from '../../oci/config.js';
import { formatPlatform, platformRank } from '../../oci/platform.js';
import type { Platform } from '../../oci/platform.js';
import { chooseImage } from '../../registry/choose.js';
import { inParallel } from '../../registry/pool.js';
import { shortId } from '../../registry/progress.js';
import type { TransferProgress } from '../../registry/progress.js';
import { blobsOf } from './document.js';
import type { CopyDocument } from './document.js';
import { convertIndex, convertManifest } from './format.js';
import type { ManifestFormat } from './format.js';
import { finalErrors, readSmall, verifiedBlob } from './source.js';
import type { CopySource } from './source.js';
import type { CopyBlob, CopyDestination } from './target.js';

export interface TreeOptions {
  /** Every image of an index, and the index. */
  isAll: boolean;
  /** Of an index one image is taken, for it or for this host. */
  platform: Platform | undefined;
  /** Fails where a digest would change. */
  preservesDigests: boolean;
  /** undefined: as it is, or as the destination must have it. */
  format: ManifestFormat | undefined;
  progress: TransferProgress;
  compression: LayerCompression;
}

/** Of plain layers, for who wants them compressed. */
export interface LayerCompression {
  /** What it became before; undefined when nobody knows. */
  known(layer: Descriptor): Descriptor | undefined;
  /** What it gives is valid until the copy ends. */
  compress(source: CopySource, layer: Descriptor): Promise<CopyBlob>;
}

const MAX_DEPTH = 8;
/** Of all indexes together. */
const MAX_DOCUMENTS = 10_000;

/** Returns what the name leads to afterwards. Raises what source and destination raise; the destination is abandoned then. */
export async function copyTree(
  source: CopySource,
  destination: CopyDestination,
  options: TreeOptions,
): Promise<CopyDocument> {
  const tree = new TreeCopy(source, destination, options);
  try {
    const top = await tree.run();
    await destination.finish(top);
    for (const id of tree.unsaid) options.progress.done(id, 'Copied');
    return top;
  } catch (error) {
    await destination.abandon();
    throw error;
  }
}

/** The one image that is meant. Raises EPLATFORM. */
export async function chooseOne(
  source: CopySource,
  top: CopyDocument,
  platform: Platform | undefined,
): Promise<CopyDocument> {
  if (documentKind(top.mediaType) === 'index') {
    const listed = new Map<string, Descriptor>();
    const manifest = async (reference: string): Promise<CopyDocument> => {
      const document = reference === top.digest ? top : await source.document(listed.get(reference)!);
      if (documentKind(document.mediaType) === 'index')
        for (const one of parseIndex(document.bytes, `index ${document.digest}`).manifests)
          listed.set(one.digest, one);
      return document;
    };
    return (await chooseImage({ manifest }, top.digest, platform)).document;
  }
  if (platform === undefined) return top;
  const config = await readSmall(source, blobsOf(top).at(-1)!);
  const own = parseConfig(config, `config of ${source.shown}`).platform;
  if (platformRank(own, platform) === undefined)
    throw new LaminaError(
      'EPLATFORM',
      `${source.shown} is for ${formatPlatform(own)}, not for ${formatPlatform(platform)}`,
    );
  return top;
}

class TreeCopy {
  /** By digest: platforms share layers. */
  readonly #blobs = new Map<string, Promise<Descriptor>>();
  readonly #documents = new Map<string, CopyDocument>();
  readonly #format: ManifestFormat | undefined;
  /** Of blobs that are there only when all is. */
  readonly unsaid: string[] = [];

  constructor(
    private readonly source: CopySource,
    private readonly destination: CopyDestination,
    private readonly options: TreeOptions,
  ) {
    this.#format = options.format ?? (options.preservesDigests ? undefined : destination.format);
  }

  async run(): Promise<CopyDocument> {
    const top = await this.source.top();
    if (!this.options.isAll) return this.#manifest(await chooseOne(this.source, top, this.options.platform));
    if (documentKind(top.mediaType) === 'index' && !this.destination.takesIndex)
      throw new LaminaError(
        'EUSAGE',
        `${this.source.shown} has several images, the destination can hold one`,
        {
          hint: 'Leave out --all, choose one with --platform, or copy to oci-archive:FILE.',
        },
      );
    return this.#document(top, 0);
  }

  async #document(document: CopyDocument, depth: number): Promise<CopyDocument> {
    if (documentKind(document.mediaType) !== 'index') return this.#manifest(document);
    if (depth > MAX_DEPTH)
      throw new LaminaError(
        'ELIMIT',
        `indexes are nested more than ${MAX_DEPTH} deep in ${this.source.shown}`,
      );
    const { manifests } = parseIndex(document.bytes, `index ${document.digest}`);
    const copied = new Map<string, CopyDocument>();
    for (const descriptor of manifests) {
      const { digest } = descriptor;
      let known = this.#documents.get(digest);
      if (known === undefined) {
        if (this.#documents.size >= MAX_DOCUMENTS)
          throw new LaminaError('ELIMIT', `${this.source.shown} lists more than ${MAX_DOCUMENTS} manifests`);
        known = await this.#document(await this.source.document(descriptor), depth + 1);
        await this.destination.putDocument(known);
        this.#documents.set(digest, known);
      }
      copied.set(digest, known);
    }
    const index = convertIndex(document, copied, this.#format);
    return this.#checked(document, index);
  }

  async #manifest(document: CopyDocument): Promise<CopyDocument> {
    const listed = blobsOf(document);
    const { destination, options } = this;
    const taken = listed.filter(({ urls }) => urls.length === 0 || !destination.takesForeign);
    for (const { digest, urls } of listed)
      if (urls.length > 0 && destination.takesForeign)
        options.progress.done(shortId(digest), 'Skipped foreign layer');
    const changed = new Map<string, Descriptor>();
    await inParallel(taken, destination.concurrency, async (descriptor) => {
      const sent = await this.#once(descriptor);
      if (sent.digest !== descriptor.digest) changed.set(descriptor.digest, sent);
    });
    return this.#checked(document, convertManifest(document, changed, this.#format));
  }

  #checked(before: CopyDocument, after: CopyDocument): CopyDocument {
    if (!this.options.preservesDigests || after.digest === before.digest) return after;
    throw new LaminaError('EDIGEST', `${before.digest} would become ${after.digest}`, {
      digest: before.digest,
      hint: 'Leave out --preserve-digests, or --format.',
    });
  }

  /** Returns what it has become. */
  #once(descriptor: Descriptor): Promise<Descriptor> {
    const { digest } = descriptor;
    let blob = this.#blobs.get(digest);
    if (blob === undefined) {
      blob = this.#blob(descriptor);
      this.#blobs.set(digest, blob);
    }
    return blob;
  }

  async #blob(descriptor: Descriptor): Promise<Descriptor> {
    const { source, destination, options } = this;
    const { progress } = options;
    const id = shortId(descriptor.digest);
    const total = descriptor.sizeBytes;
    const onProgress = (current: number): void => progress.update(id, { action: 'Copying', current, total });
    const onRetry = (seconds: number): void =>
      progress.update(id, { action: `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}` });
    let blob: CopyBlob = {
      descriptor,
      read: (from) => finalErrors(source.read(descriptor, from, onRetry)),
      verified: () => verifiedBlob(source, descriptor, onProgress, onRetry),
    };
    if (destination.compresses && !options.preservesDigests && isPlainLayer(descriptor) && source.open) {
      const known = options.compression.known(descriptor);
      const there = known === undefined ? undefined : await destination.holds?.(known.digest);
      if (there !== undefined) {
        progress.done(id, there);
        return known!;
      }
      progress.update(id, { action: 'Compressing' });
      blob = await options.compression.compress(source, descriptor);
    }
    progress.update(id, { action: 'Copying' });
    const said = await destination.putBlob(blob, { onProgress, onRetry });
    if (said === '') this.unsaid.push(id);
    else progress.done(id, said);
    return blob.descriptor;
  }
}

function isPlainLayer({ mediaType }: Descriptor): boolean {
  return /^application\/vnd\.(oci\.image\.layer\.v1|docker\.image\.rootfs\.diff)\.tar$/.test(mediaType);
}
