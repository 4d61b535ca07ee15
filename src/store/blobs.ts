/** The blobs of the store, `blobs/<algorithm>/<hex>`: a blob has its name only when its bytes have that digest. */
import { closeSync, constants, fstatSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { isDigest, verifyBytes } from '../oci/digest.js';
import { checkJsonSize, DEFAULT_MAX_JSON_BYTES } from '../oci/json.js';
import { readWhole } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';

export class BlobStore {
  readonly directory: string;

  constructor(root: string) {
    this.directory = path.join(root, 'blobs');
  }

  /** `digest` is well-formed. */
  pathOf(digest: string): string {
    return path.join(this.directory, ...digest.split(':'));
  }

  /** undefined when it is not there. */
  sizeOf(digest: string): number | undefined {
    const stats = statSync(this.pathOf(digest), { throwIfNoEntry: false });
    return stats?.isFile() === true ? stats.size : undefined;
  }

  has(digest: string): boolean {
    return this.sizeOf(digest) !== undefined;
  }

  /** The caller closes the fd. Raises EBLOB when it is missing, and what the system says. */
  open(digest: string): ByteSource {
    const file = this.pathOf(digest);
    try {
      const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
      return { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: file };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        throw fromSystemError(error, 'cannot open', file);
      throw new LaminaError('EBLOB', `the store lacks the blob ${digest}`, {
        path: file,
        digest,
        hint: 'See what is damaged with: lamina system check. Load or pull the image again to mend it.',
      });
    }
  }

  /** A manifest, index or config. Raises EBLOB, EDIGEST, ELIMIT. */
  document(digest: string): Buffer {
    const source = this.open(digest);
    try {
      checkJsonSize(source.sizeBytes, source.name, DEFAULT_MAX_JSON_BYTES);
      const bytes = readWhole(source);
      verifyBytes(bytes, digest, source.name);
      return bytes;
    } finally {
      closeSync(source.fd);
    }
  }

  /** Digests of all blobs that are there, in no order; files with other names are left alone. */
  list(): string[] {
    return ['sha256', 'sha512'].flatMap((algorithm) =>
      namesIn(path.join(this.directory, algorithm))
        .map((hex) => `${algorithm}:${hex}`)
        .filter(isDigest),
    );
  }

  remove(digest: string): void {
    rmSync(this.pathOf(digest), { force: true });
  }
}

/** Names in a directory; none when it is not there. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fromSystemError(error, 'cannot read', directory);
  }
}
