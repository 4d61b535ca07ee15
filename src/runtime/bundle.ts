/**
 * Bundles: `<run directory>/bundles/<id>/`, one for each process that an OCI runtime runs. All that such a process needs lies in it, and it
 * names who looks after it, so that whatever a killed command leaves can be found and taken away (sweep.ts):
 *
 *     owner.json     whose it is: a process of ours, and the runtime that runs it
 *     config.json    for the runtime
 *     rootfs/        where the root filesystem may be mounted
 *     hosts, hostname, resolv.conf, runtime.log
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import { MountTable, processStart, runDirectory } from '../mount/table.js';

export interface BundleOwner {
  /** The process that ends the bundle: when it is gone, so should be all else. */
  pid: number;
  /** As /proc says: process numbers are used again. */
  pidStart: string;
  /** Path of the runtime. */
  runtime: string;
  /** ID of the container, where it is one. */
  container?: string;
}

export interface Bundle {
  /** What the runtime calls it. */
  id: string;
  directory: string;
  /** An empty directory to mount on. */
  rootfs: string;
}

const TEMPORARY = '.tmp-';

export function bundlesDirectory(): string {
  return path.join(runDirectory(), 'bundles');
}

export function bundleAt(id: string): Bundle {
  const directory = path.join(bundlesDirectory(), id);
  return { id, directory, rootfs: path.join(directory, 'rootfs') };
}

/**
 * Makes the directory of a bundle, owned by this process. It is the caller's to remove (`removeBundle`), after what is mounted in it.
 * @param id 64 hex digits; random when undefined
 * Raises EEXIST where there is one of that ID, EACCES.
 */
export async function createBundle(
  runtime: string,
  id = randomBytes(32).toString('hex'),
  container?: string,
): Promise<Bundle> {
  await new MountTable().directory();
  const bundle = bundleAt(id);
  const start = processStart(process.pid) ?? '';
  const name = `${TEMPORARY}${process.pid}-${start}-${randomBytes(4).toString('hex')}`;
  const temporary = path.join(bundlesDirectory(), name);
  try {
    mkdirSync(path.join(temporary, 'rootfs'), { recursive: true, mode: 0o700 });
    const owner = {
      pid: process.pid,
      pidStart: start,
      runtime,
      ...(container === undefined ? {} : { container }),
    };
    writeFileSync(path.join(temporary, 'owner.json'), JSON.stringify(owner), { mode: 0o600 });
    renameSync(temporary, bundle.directory);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw fromSystemError(error, 'cannot make', bundle.directory);
  }
  return bundle;
}

/** Gives a bundle to another process. */
export function giveBundle({ directory }: Bundle, owner: BundleOwner): void {
  const temporary = path.join(directory, `owner.json.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(owner), { mode: 0o600 });
  renameSync(temporary, path.join(directory, 'owner.json'));
}

/** undefined: there is no such bundle, or it is not whole. */
export function bundleOwner(id: string): BundleOwner | undefined {
  try {
    const owner = JSON.parse(
      readFileSync(path.join(bundleAt(id).directory, 'owner.json'), 'utf8'),
    ) as BundleOwner;
    return Number.isInteger(owner.pid) && typeof owner.runtime === 'string' ? owner : undefined;
  } catch {
    return undefined;
  }
}

export function isOwned(owner: Pick<BundleOwner, 'pid' | 'pidStart'>): boolean {
  return processStart(owner.pid) === owner.pidStart;
}

/** Names of all bundles, also of half-made ones; none where there is no directory. */
export function bundleNames(): string[] {
  try {
    return readdirSync(bundlesDirectory());
  } catch {
    return [];
  }
}

/** Whether it was being made by a process that is gone. */
export function isAbandoned(name: string): boolean {
  const [, pid, start] = /^\.tmp-(\d+)-(\d*)-/.exec(name) ?? [];
  return pid !== undefined && processStart(Number(pid)) !== start;
}

/**
 * Removes its files. A root that is still mounted keeps it, and all that is in it, from being removed: no file is ever reached through one.
 * Raises EBUSY.
 */
export function removeBundle({ directory, rootfs }: Bundle): void {
  try {
    rmdirSync(rootfs);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw fromSystemError(error, 'cannot remove', rootfs);
  }
  rmSync(directory, { recursive: true, force: true });
}
