/**
 * Verifies layers that are read where they lie. A plain archive is mounted at once and hashed afterwards by a process of its
 * own (verifier-main.ts): hashing a gigabyte would take longer than everything else together. If a digest
 * is wrong the mount is taken down by force, and `lamina mounts` says why.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { packageFile } from '../package-files.js';
import { Cache } from '../store/cache.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import { MountTable } from './table.js';
import { umount } from './umount.js';

/** A layer to verify; `key` is under which the cache remembers that it was right. */
export interface VerifyLayer {
  diffId: string;
  source: ByteSource;
  key: string;
}

/** What the verifier is told, as JSON: its only argument. */
export interface VerifyJob {
  cacheRoot: string;
  mountpoint: string;
  layers: VerifyLayer[];
}

const CHUNK_BYTES = 1 << 20;

/** Hashes each layer; raises EDIGEST at the first that is not what its diffId promises. Remembers those that are. */
export async function verifyLayers(layers: readonly VerifyLayer[], cache: Cache): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { diffId, source, key } of layers) {
    const algorithm = diffId.slice(0, diffId.indexOf(':'));
    const hash = createHash(algorithm);
    for (let position = 0; position < source.sizeBytes;) {
      const count = readSource(source, chunk, position);
      hash.update(chunk.subarray(0, count));
      position += count;
    }
    const found = `${algorithm}:${hash.digest('hex')}`;
    if (found !== diffId) {
      throw new LaminaError('EDIGEST', `${source.name}: its digest is ${found}, promised was ${diffId}`, {
        path: source.name,
        digest: diffId,
      });
    }
    await cache.markVerified(key);
  }
}

/** Starts a process that verifies `layers` and takes the mount down if one is wrong. It outlives this one once it is unref'ed. */
export function startVerifier(
  layers: readonly VerifyLayer[],
  cache: Cache,
  mountpoint: string,
  logFile: string,
): ChildProcess {
  const files = [...new Set(layers.map(({ source }) => source.fd))];
  const job: VerifyJob = {
    cacheRoot: cache.root,
    mountpoint,
    layers: layers.map(({ source, ...layer }) => ({
      ...layer,
      source: { ...source, fd: 3 + files.indexOf(source.fd) },
    })),
  };
  const logFd = openSync(logFile, 'a', 0o600);
  try {
    const child = spawn(process.execPath, [packageFile('dist/mount/verifier-main.js'), JSON.stringify(job)], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', logFd, ...files],
    });
    child.on('error', () => {});
    return child;
  } finally {
    closeSync(logFd);
  }
}

/** The verifier's whole life; `verifier-main.ts` calls it. */
export async function runVerifier(job: VerifyJob): Promise<void> {
  const table = new MountTable();
  try {
    await verifyLayers(job.layers, await Cache.open(job.cacheRoot));
    const record = await table.read(job.mountpoint);
    if (record !== undefined) await table.write({ ...record, verify: 'verified' });
  } catch (error) {
    const record = await table.read(job.mountpoint);
    const message = error instanceof LaminaError ? `[${error.code}] ${error.message}` : String(error);
    process.stderr.write(`lamina: ${message}\n`);
    await umount(job.mountpoint, { force: true }).catch((failure: Error) =>
      process.stderr.write(`lamina: ${failure.message}\n`),
    );
    // The server removed the record together with the mount; it comes back to say why.
    if (record !== undefined) await table.write({ ...record, verify: 'failed', error: message });
    process.exitCode = 1;
  }
}
