/**
 * Hashes layers that are read where they lie against the digests they promise. The cache remembers by the file's identity
 * which were found right. Compressed layers are verified while they are inflated (inflate.ts).
 */
import { createHash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import type { Cache } from './cache.js';

/** A layer that is read where it lies and that nobody has hashed yet. */
export interface UnverifiedLayer {
  diffId: string;
  source: ByteSource;
  /** Under which the cache remembers that it was found right. */
  key: string;
  /** `contentStamp` of the source when it was indexed. */
  stamp: string;
}

const CHUNK_BYTES = 1 << 20;
/** How often `isWanted` is asked. */
const CHUNKS_BETWEEN_QUESTIONS = 64;

/**
 * What changes when a file is written to: size and mtime. Not ctime: unlinking an archive that is mounted is no change of content.
 */
export function contentStamp(source: ByteSource): string {
  const { size, mtimeNs } = fstatSync(source.fd, { bigint: true });
  return `${size}:${mtimeNs}`;
}

/**
 * Raises EDIGEST at the first layer that is not what its diffId promises, or was written to since it was indexed; EIO when it
 * cannot be read. Ends early, without a word, when `isWanted` says that nobody needs the answer any more.
 */
export async function verifyLayers(
  layers: readonly UnverifiedLayer[],
  cache: Cache,
  isWanted: () => Promise<boolean> = async () => true,
): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { diffId, source, key, stamp } of layers) {
    const algorithm = diffId.slice(0, diffId.indexOf(':'));
    const hash = createHash(algorithm);
    for (let position = 0, count = 0; position < source.sizeBytes; position += count) {
      if (position % (CHUNKS_BETWEEN_QUESTIONS * CHUNK_BYTES) === 0 && !(await isWanted())) return;
      count = readSource(source, chunk, position);
      hash.update(chunk.subarray(0, count));
    }
    const found = `${algorithm}:${hash.digest('hex')}`;
    if (found !== diffId) {
      throw new LaminaError('EDIGEST', `${source.name}: its digest is ${found}, promised was ${diffId}`, {
        path: source.name,
        digest: diffId,
      });
    }
    if (contentStamp(source) !== stamp) {
      throw new LaminaError('EDIGEST', `${source.name} was written to after it was indexed`, {
        path: source.name,
        digest: diffId,
      });
    }
    // Only a note for the next time: a cache that cannot take it makes nothing wrong.
    await cache.markVerified(key).catch(() => {});
  }
}
