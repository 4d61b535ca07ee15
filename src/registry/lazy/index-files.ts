/**
 * The checkpoint indexes of the store: `layers/<diffId>/<algorithm>-<hex>.index` and `.windows`, by the digest of the blob that they are of. Made
 * when they are first wanted, on a thread of their own.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { fromSystemError, LaminaError } from '../../errors.js';
import type { ErrorCode } from '../../errors.js';
import { indexLayer } from '../../layer/index-layer.js';
import { encodeIndex } from '../../layer/lazy/checkpoints.js';
import type { MadeCheckpoints } from '../../layer/lazy/make-checkpoints.js';
import { encodeToc } from '../../merge/encode.js';
import { packageFile } from '../../package-files.js';
import { temporaryName } from '../../store/files.js';
import { layerDirectory } from '../../store/layer-facts.js';
import type { ByteSource } from '../../tar/source.js';
import type { CheckpointJob } from './checkpoint-worker.js';

export interface IndexFiles {
  index: string;
  windows: string;
}

export function indexFiles(root: string, diffId: string, digest: string): IndexFiles {
  const file = path.join(layerDirectory(root, diffId), digest.replace(':', '-'));
  return { index: `${file}.index`, windows: `${file}.windows` };
}

export interface IndexedBlob {
  diffId: string;
  digest: string;
  /** Where the blob lies, and how it is compressed. */
  file: string;
  compression: 'none' | 'gzip';
  /** Its tar. */
  tar: ByteSource;
}

/** Makes the index of a layer unless it is there. Raises EBADTAR, ELIMIT and what an invalid layer raises. */
export async function ensureIndex(root: string, blob: IndexedBlob): Promise<IndexFiles> {
  const files = indexFiles(root, blob.diffId, blob.digest);
  if (existsSync(files.index) && existsSync(files.windows)) return files;
  const { diffId, tar } = blob;
  const making = makeOnWorker({
    ...{ file: blob.file, compression: blob.compression, name: `layer ${blob.digest}` },
    maxBytes: tar.sizeBytes,
  });
  const facts = { diffId, sizeBytes: tar.sizeBytes };
  const [{ windows, ...made }, toc] = await Promise.all([making, encodeToc(indexLayer(tar, facts))]);
  if (made.plainBytes !== tar.sizeBytes)
    throw new LaminaError(
      'EBADTAR',
      `layer ${blob.digest} has ${made.plainBytes} bytes when decompressed, not ${tar.sizeBytes}`,
    );
  // The index last: with it the windows are there.
  place(root, files.windows, windows);
  place(root, files.index, encodeIndex({ ...made, toc }));
  return files;
}

export function readIndexFiles({ index, windows }: IndexFiles): { index: Buffer; windows: Buffer } {
  return { index: readFileSync(index), windows: readFileSync(windows) };
}

/** Not synced: what a power cut damages is found out by its checksums, and made again. */
function place(root: string, file: string, bytes: Uint8Array): void {
  const temporary = path.join(root, 'tmp', temporaryName());
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fromSystemError(error, 'cannot write', file);
  }
}

function makeOnWorker(job: CheckpointJob): Promise<MadeCheckpoints> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(packageFile('dist/registry/lazy/checkpoint-worker.js'), { workerData: job });
    worker.on('error', reject);
    worker.on(
      'message',
      ({ made, failure }: { made?: MadeCheckpoints; failure?: { code?: ErrorCode; message: string } }) => {
        if (made !== undefined) {
          // Buffers arrive as plain arrays of bytes.
          const spans = made.spans.map((span) => ({ ...span, digest: Buffer.from(span.digest) }));
          resolve({ ...made, spans, windows: Buffer.from(made.windows) });
        } else
          reject(
            failure?.code === undefined
              ? new Error(failure?.message)
              : new LaminaError(failure.code, failure.message),
          );
      },
    );
  });
}
