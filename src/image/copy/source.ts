/** Where `copy` reads from: documents and blobs by their digests, whatever holds them. */
import { lstatSync } from 'node:fs';
import { LaminaError } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { checkJsonSize, DEFAULT_MAX_JSON_BYTES } from '../../oci/json.js';
import type { Reference } from '../../oci/reference.js';
import { formatReference } from '../../oci/reference.js';
import type { RegistryClient } from '../../registry/client.js';
import { downloadBlob } from '../../registry/download.js';
import { Repository } from '../../registry/repository.js';
import { sourceChunks } from '../../registry/source-chunks.js';
import { DigestCheck } from '../../store/inflate.js';
import type { ByteSource } from '../../tar/source.js';
import { checkDocument, mediaTypeOf } from './document.js';
import type { CopyDocument } from './document.js';

export interface CopySource {
  /** For messages. */
  readonly shown: string;
  /** The repository, where it is one. */
  readonly reference: Reference | undefined;
  /** What the name leads to: an index, where it has one. */
  top(): Promise<CopyDocument>;
  /** What an index lists, verified. Raises EBLOB, EDIGEST, EREGISTRY. */
  document(descriptor: Descriptor): Promise<CopyDocument>;
  /** The bytes that follow one, as often as asked; nobody has verified them. */
  read(descriptor: Descriptor, from: number, onRetry?: (seconds: number) => void): AsyncIterable<Buffer>;
  /** The blob where it lies, when it lies on the disk: valid until `close`. Raises EBLOB. */
  open?(descriptor: Descriptor): ByteSource;
  close(): void;
}

/** `reference` has a tag or a digest. */
export function registrySource(client: RegistryClient, reference: Reference): CopySource {
  const repository = new Repository(client, reference);
  return {
    shown: `docker://${formatReference(reference)}`,
    reference,
    top: () => repository.manifest(reference.digest ?? reference.tag!),
    async document(descriptor) {
      const document = await repository.manifest(descriptor.digest);
      checkDocument(document.bytes, descriptor, `manifest ${descriptor.digest}`);
      return document;
    },
    read: (descriptor, from, onRetry) => downloadBlob(repository, descriptor, from, onRetry),
    close: () => {},
  };
}

export interface StoredParts {
  shown: string;
  top: CopyDocument;
  /** undefined where it is not there. */
  bytes: (digest: string) => Buffer | undefined;
  blob: (digest: string) => ByteSource | undefined;
  /** Blobs that lie nowhere else. */
  inMemory?: ReadonlyMap<string, Buffer>;
  close: () => void;
}

/** What lies on the disk: an archive, a layout, the store. */
export function storedSource(parts: StoredParts): CopySource & Required<Pick<CopySource, 'open'>> {
  const absent = (kind: string, { digest, urls }: Descriptor): LaminaError =>
    new LaminaError('EBLOB', `${parts.shown}: the ${kind} ${digest} is not there`, {
      digest,
      hint:
        urls.length > 0
          ? 'It is to be fetched from elsewhere (urls).'
          : 'Without --all only the parts of one platform are needed.',
    });
  const open = (descriptor: Descriptor): ByteSource => {
    const blob = parts.blob(descriptor.digest);
    if (blob === undefined) throw absent('blob', descriptor);
    if (blob.sizeBytes === descriptor.sizeBytes) return blob;
    throw new LaminaError(
      'EDIGEST',
      `${parts.shown}: ${descriptor.digest} has ${blob.sizeBytes} bytes, not ${descriptor.sizeBytes}`,
      { digest: descriptor.digest },
    );
  };
  return {
    shown: parts.shown,
    reference: undefined,
    top: async () => parts.top,
    async document(descriptor) {
      const { digest, mediaType } = descriptor;
      const bytes = parts.bytes(digest);
      if (bytes === undefined) throw absent('manifest', descriptor);
      checkDocument(bytes, descriptor, `manifest ${digest}`);
      return { bytes, digest, mediaType: mediaTypeOf(bytes, mediaType, `manifest ${digest}`) };
    },
    read: (descriptor, from) => {
      const bytes = parts.inMemory?.get(descriptor.digest);
      if (bytes !== undefined) return once(bytes.subarray(from));
      const blob = open(descriptor);
      return isLink(blob) ? checkedChunks(blob, descriptor, from) : sourceChunks(blob, from);
    },
    open,
    close: parts.close,
  };
}

/** Whoever made a directory may have put a link to what only its reader can read in the place of a blob. */
function isLink({ name }: ByteSource): boolean {
  return lstatSync(name, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** Nothing before all is known to be what the digest promises: a registry would say so only after it has got it. */
async function* checkedChunks(
  blob: ByteSource,
  { digest }: Descriptor,
  from: number,
): AsyncGenerator<Buffer> {
  const check = new DigestCheck(digest, blob.name);
  for await (const chunk of sourceChunks(blob)) check.update(chunk);
  check.verify();
  yield* sourceChunks(blob, from);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** The bytes of a blob; after the last, EDIGEST unless they are what its digest promises. */
export async function* verifiedBlob(
  source: CopySource,
  descriptor: Descriptor,
  onProgress: (bytes: number) => void = () => {},
  onRetry?: (seconds: number) => void,
): AsyncGenerator<Buffer> {
  const { digest, sizeBytes } = descriptor;
  const check = new DigestCheck(digest, `${source.shown}, ${digest}`);
  let count = 0;
  // The last chunk waits until all is known to be right.
  let held: Buffer | undefined;
  for await (const chunk of source.read(descriptor, 0, onRetry)) {
    check.update(chunk);
    count += chunk.length;
    if (held !== undefined) yield held;
    held = chunk;
    onProgress(count);
  }
  if (count !== sizeBytes)
    throw new LaminaError('EDIGEST', `${source.shown}: ${digest} has ${count} bytes, not ${sizeBytes}`, {
      digest,
    });
  check.verify();
  if (held !== undefined) yield held;
}

/** A config, whole. Raises EDIGEST, ELIMIT. */
export async function readSmall(source: CopySource, descriptor: Descriptor): Promise<Buffer> {
  checkJsonSize(descriptor.sizeBytes, descriptor.digest, DEFAULT_MAX_JSON_BYTES);
  const chunks: Buffer[] = [];
  for await (const chunk of verifiedBlob(source, descriptor)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What a source could not get in spite of its patience is not worth another attempt of who sends it on. */
export async function* finalErrors(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* bytes;
  } catch (error) {
    if (!(error instanceof LaminaError) || error.errno === undefined) throw error;
    const { code, message, hint } = error;
    throw new LaminaError(code, message, { hint, cause: error });
  }
}
