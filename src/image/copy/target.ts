/** Where `copy` writes to. Nothing is to be seen of an image before `finish`; after `abandon` the place is as it was. */
import type { Descriptor } from '../../oci/descriptor.js';
import type { CopyDocument } from './document.js';
import type { ManifestFormat } from './format.js';

export interface CopyBlob {
  descriptor: Descriptor;
  /** From one on, as often as asked. */
  read(from: number): AsyncIterable<Buffer>;
  /** From the first; its last chunk comes only when all is what the digest promises. */
  verified(): AsyncIterable<Buffer>;
}

export interface BlobProgress {
  onProgress(bytes: number): void;
  onRetry(seconds: number): void;
}

export interface CopyDestination {
  /** It can hold an index of several images. */
  takesIndex: boolean;
  /** Plain layers are compressed on their way, unless digests are to stay. */
  compresses: boolean;
  /** What others read there, where that is not every format. */
  format?: ManifestFormat;
  /** It keeps references to layers that lie elsewhere (urls), as they are. */
  takesForeign: boolean;
  /** Blobs at once. */
  concurrency: number;
  /** Whether the blob is there without its bytes; what is to be said of it, undefined when it is not. */
  holds?(digest: string): Promise<string | undefined>;
  /** Returns what is to be said of it: `Copied`, `Already exists`. */
  putBlob(blob: CopyBlob, progress: BlobProgress): Promise<string>;
  /** One that others lead to. */
  putDocument(document: CopyDocument): Promise<void>;
  /** What the name is going to lead to; all else is there. */
  finish(top: CopyDocument): Promise<void>;
  abandon(): Promise<void>;
}
