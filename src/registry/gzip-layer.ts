/**
 * Plain layers, compressed for a registry as docker does. The same tar gives the same bytes (no time, no name in the header), and
 * what it gave is written down beside what else is derived of the layer: a layer that a registry has need not be compressed to be named.
 */
import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { fromSystemError } from '../errors.js';
import { isDigest } from '../oci/digest.js';
import { replaceFileSync } from '../store/files.js';
import { layerDirectory } from '../store/layer-facts.js';
import type { ByteSource } from '../tar/source.js';
import { sourceChunks } from './source-chunks.js';

export interface GzippedLayer {
  digest: string;
  sizeBytes: number;
}

/** Three times as fast as zlib's usual 6, for a tenth more bytes. */
const LEVEL = 3;
const CHUNK_BYTES = 256 * 1024;
const NOTE = 'gzip.json';

/** What the layer became before; undefined when nobody knows. */
export function knownGzip(root: string, diffId: string): GzippedLayer | undefined {
  try {
    const note = JSON.parse(
      readFileSync(path.join(layerDirectory(root, diffId), NOTE), 'utf8'),
    ) as Partial<GzippedLayer>;
    const { digest, sizeBytes } = note;
    return typeof digest === 'string' && isDigest(digest) && Number.isSafeInteger(sizeBytes)
      ? { digest, sizeBytes: sizeBytes! }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Writes `target`, which must not exist and which the caller removes. Raises ENOSPC and what else the system says. */
export async function gzipTar(
  tar: AsyncIterable<Buffer>,
  name: string,
  target: string,
): Promise<GzippedLayer> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
  try {
    await pipeline(
      tar,
      createGzip({ level: LEVEL, chunkSize: CHUNK_BYTES }),
      hashing,
      createWriteStream(target, { flags: 'wx', mode: 0o600 }),
    );
    return { digest: `sha256:${hash.digest('hex')}`, sizeBytes };
  } catch (error) {
    throw fromSystemError(error, 'cannot compress', name);
  }
}

/** As `gzipTar`, of a layer of the store, where what it became is written down. */
export async function gzipLayer(
  root: string,
  diffId: string,
  tar: ByteSource,
  target: string,
): Promise<GzippedLayer> {
  const layer = await gzipTar(sourceChunks(tar), tar.name, target);
  await noteGzip(root, diffId, layer);
  return layer;
}

/** The tar was known to be what the diffId promises. Raises what the system says. */
export async function noteGzip(root: string, diffId: string, layer: GzippedLayer): Promise<void> {
  const directory = layerDirectory(root, diffId);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = path.join(directory, NOTE);
    replaceFileSync(file, Buffer.from(JSON.stringify(layer)), path.join(root, 'tmp'), 0o600);
  } catch (error) {
    throw fromSystemError(error, 'cannot write', directory);
  }
}
