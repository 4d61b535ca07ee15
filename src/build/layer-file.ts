/** A new layer on its way into the store: written and hashed once, in the store's own directory for what is not finished. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { fdatasync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { fromSystemError } from '../errors.js';
import { temporaryName } from '../store/files.js';
import type { TarSink } from '../tar/write.js';

const sync = promisify(fdatasync);

export interface LayerFile {
  file: string;
  /** sha256 of the tar. */
  diffId: string;
  sizeBytes: number;
}

/** Runs `write` with a sink; the file is the caller's. Raises ENOSPC and what `write` raises; nothing is left then. */
export async function writeLayerFile(
  root: string,
  write: (sink: TarSink) => Promise<void>,
): Promise<LayerFile> {
  const file = path.join(root, 'tmp', temporaryName());
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    const fd = openSync(file, 'wx', 0o644);
    try {
      await write((chunk) => {
        hash.update(chunk);
        sizeBytes += chunk.length;
        for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
      });
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    rmSync(file, { force: true });
    throw fromSystemError(error, 'cannot write', file);
  }
  return { file, diffId: `sha256:${hash.digest('hex')}`, sizeBytes };
}

/** Waits until the file is on the disk. */
export async function syncLayerFile({ file }: LayerFile): Promise<void> {
  const fd = openSync(file, 'r');
  try {
    await sync(fd);
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  } finally {
    closeSync(fd);
  }
}
