/**
 * Verifies a mount's plain layers. The archive is mounted at once and hashed afterwards by a process of its own
 * (verifier-main.ts): hashing a gigabyte would take longer than everything else together. If a digest is wrong the mount is
 * taken down by force, and `lamina mounts` says why. The verifier acts on the one mount it was started for, and ends with it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { packageFile } from '../package-files.js';
import { Cache } from '../store/cache.js';
import { verifyLayers } from '../store/verify.js';
import type { UnverifiedLayer } from '../store/verify.js';
import { MountTable } from './table.js';
import type { MountRecord } from './table.js';
import { umount } from './umount.js';

/** What the verifier is told, as JSON: its only argument. */
export interface VerifyJob {
  cacheRoot: string;
  mountpoint: string;
  token: string;
  layers: UnverifiedLayer[];
}

/** Starts a process that verifies `layers` for the mount of `record`. It outlives this one once it is unref'ed. */
export function startVerifier(
  layers: readonly UnverifiedLayer[],
  cache: Cache,
  record: MountRecord,
  logFile: string,
): ChildProcess {
  const files = [...new Set(layers.map(({ source }) => source.fd))];
  const job: VerifyJob = {
    cacheRoot: cache.root,
    mountpoint: record.mountpoint,
    token: record.token,
    layers: layers.map((layer) => ({
      ...layer,
      source: { ...layer.source, fd: 3 + files.indexOf(layer.source.fd) },
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

/** The verifier's whole life; `verifier-main.ts` calls it. Exit status 1: the mount was taken down. */
export async function runVerifier(job: VerifyJob): Promise<void> {
  const table = new MountTable();
  /** The record of the mount that this verifier is for; undefined when that mount has ended. */
  const ours = async (): Promise<MountRecord | undefined> => {
    const record = await table.read(job.mountpoint);
    return record?.token === job.token ? record : undefined;
  };
  try {
    await verifyLayers(job.layers, await Cache.open(job.cacheRoot), async () => (await ours()) !== undefined);
    const record = await ours();
    if (record !== undefined) await table.write({ ...record, verify: 'verified' });
  } catch (error) {
    const record = await ours();
    if (record === undefined) return;
    const isWrong = error instanceof LaminaError && (error.code === 'EDIGEST' || error.code === 'EIO');
    const reason = error instanceof LaminaError ? `[${error.code}] ${error.message}` : String(error);
    process.stderr.write(`lamina: ${reason}\n`);
    // What kept it from being verified says nothing of the layers.
    if (!isWrong) return table.write({ ...record, verify: 'unchecked', error: reason });
    await table.writeFailed({ ...record, verify: 'failed', error: reason });
    await umount(job.mountpoint, { force: true }).catch((failure: Error) => {
      process.stderr.write(`lamina: ${failure.message}\n`);
    });
    process.exitCode = 1;
  }
}
