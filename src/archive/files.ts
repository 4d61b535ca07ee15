/**
 * The files of an archive by their path in it, whether it is a directory or a tar. A path comes from a digest or from a
 * manifest; `memberPath` is the one place that makes it safe. Nothing outside the archive can be reached by it.
 */
import { LaminaError } from '../errors.js';
import { checkJsonSize, quoted } from '../oci/json.js';
import { readWhole, type ByteSource } from '../tar/source.js';
import { displayBytes, utf8ToBytes, type ByteString } from '../bytes.js';

export interface ArchiveFiles {
  /** The archive, for messages. */
  readonly name: string;
  /** A regular file stands there. Never raises. */
  has(path: ByteString): boolean;
  /** Valid until close(); undefined where no regular file stands there. Raises ELOOP, EBADPATH, EBADIMAGE, EACCES. */
  open(path: ByteString): ByteSource | undefined;
  /** Like open(), but only for as long as `use` runs. */
  with<T>(path: ByteString, use: (source: ByteSource) => T): T | undefined;
  close(): void;
}

/** A path relative to the root of the archive: no `.`, no empty parts. Raises EBADPATH where `..` leads out of it. */
export function memberPath(path: ByteString, what: string): ByteString {
  const parts: ByteString[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) {
      throw new LaminaError('EBADPATH', `${what} names ${shown(path)}, which lies outside the archive`, {
        path: displayBytes(path),
      });
    }
  }
  return parts.join('/');
}

/** Path of a blob of an OCI layout. `digest` is well-formed. */
export function blobPath(digest: string): ByteString {
  return `blobs/${digest.replace(':', '/')}`;
}

/** Reads JSON documents within the limits of an archive, each once. */
export class DocumentReader {
  readonly #cache = new Map<ByteString, Buffer>();
  #totalBytes = 0;

  constructor(
    readonly files: ArchiveFiles,
    private readonly limits: { maxJsonBytes: number; maxTotalJsonBytes: number },
  ) {}

  get maxBytes(): number {
    return this.limits.maxJsonBytes;
  }

  /** undefined where no regular file stands there. Raises ELIMIT and what the archive's files raise. */
  read(path: ByteString, what: string): Buffer | undefined {
    const cached = this.#cache.get(path);
    if (cached !== undefined) return cached;
    const bytes = this.files.with(path, (source) => {
      checkJsonSize(source.sizeBytes, what, this.limits.maxJsonBytes);
      this.#totalBytes += source.sizeBytes;
      checkTotal(this.#totalBytes, this.files.name, this.limits.maxTotalJsonBytes);
      return readWhole(source);
    });
    if (bytes !== undefined) this.#cache.set(path, bytes);
    return bytes;
  }
}

/** A path for a message. */
export function shown(path: ByteString): string {
  return quoted(displayBytes(path));
}

/** A path that stood in JSON. */
export function jsonPath(path: string, what: string): ByteString {
  return memberPath(utf8ToBytes(path), what);
}

function checkTotal(total: number, name: string, limit: number): void {
  if (total <= limit) return;
  throw new LaminaError(
    'ELIMIT',
    `${name}: its JSON documents together exceed maxTotalJsonBytes (${limit})`,
    { path: name },
  );
}
