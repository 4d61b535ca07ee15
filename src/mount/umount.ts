/** Takes mounts down: umount2(2) as root, fusermount3 otherwise, both through `lamina-fuse umount`; and the portable way. */
import { execFile } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { LaminaError } from '../errors.js';
import { serverBinary } from '../server-binary.js';
import { isMountOf, mountedDirectories, MountTable, processStart } from './table.js';
import type { MountRecord } from './table.js';

const run = promisify(execFile);

export interface UmountOptions {
  /** Detach now, end when the last open file is closed. */
  lazy?: boolean;
  /** Break the connection: open files fail from now on. */
  force?: boolean;
}

/**
 * Unmounts what Lamina mounted at `directory`, served or stale.
 * Raises ENOTMOUNTED, EBUSY (files are open and neither lazy nor force was asked), EPERM.
 */
export async function umount(directory: string, options: UmountOptions = {}): Promise<void> {
  const table = new MountTable();
  const mountpoint = await resolveMountpoint(directory);
  const record = await table.read(mountpoint);
  const type = mountedDirectories().get(mountpoint);
  if (type === undefined || !(isMountOf(record, type) || type.startsWith('fuse'))) {
    const failed = await table.readFailed(mountpoint);
    if (record !== undefined || failed !== undefined) await table.remove(table.idOf(mountpoint));
    if (failed !== undefined) return;
    throw new LaminaError('ENOTMOUNTED', `${directory} is not mounted`, { path: directory });
  }
  if (!isMountOf(record, type)) {
    throw new LaminaError('ENOTMOUNTED', `${directory} is a mount of type ${type}, not Lamina's`, {
      path: directory,
    });
  }
  const isStale = record !== undefined && !table.isServed(record);
  await unmountNow(mountpoint, { ...options, lazy: options.lazy === true || isStale }, record);
  if (record === undefined) return;
  if (isStale) await table.remove(record.id);
  else if (options.lazy !== true) await untilGone(record);
}

/** The mountpoint that a person means. Its last part is not resolved when it is a mount: a dead one answers ENOTCONN. */
export async function resolveMountpoint(directory: string): Promise<string> {
  const absolute = path.resolve(directory);
  const parent = await realpath(path.dirname(absolute)).catch(() => path.dirname(absolute));
  const unresolved = path.join(parent, path.basename(absolute));
  if (mountedDirectories().has(unresolved)) return unresolved;
  return realpath(absolute).catch(() => unresolved);
}

async function unmountNow(
  mountpoint: string,
  options: UmountOptions,
  record: MountRecord | undefined,
): Promise<void> {
  const flags = [...(options.force ? ['--force'] : []), ...(options.lazy ? ['--lazy'] : [])];
  const [command, args] = umountCommand(mountpoint, flags);
  try {
    await run(command, args);
    // Where umount2(2) cannot end the connection, its supervisor does.
    const isConnected = process.getuid?.() !== 0 || record?.driver === 'overlay';
    if (options.force && isConnected && record !== undefined && record.driver !== 'fuse-native')
      endNow(record);
  } catch (error) {
    // `errno=N NAME message` of lamina-fuse, or the words of the system's own commands; the mountpoint may hold any word.
    const text = (
      `${(error as { stderr?: string }).stderr ?? ''}`.trim() || (error as Error).message
    ).replaceAll(mountpoint, 'DIR');
    if (/\bEBUSY\b|\bbusy\b/i.test(text)) {
      throw new LaminaError('EBUSY', `${mountpoint} is in use`, {
        path: mountpoint,
        cause: error,
        hint: 'Close the files and shells below it, or use --lazy.',
      });
    }
    if (/\b(EPERM|EACCES)\b|permission|not permitted/i.test(text)) {
      throw new LaminaError('EPERM', `may not unmount ${mountpoint}: ${text}`, {
        path: mountpoint,
        cause: error,
      });
    }
    throw new LaminaError('EMOUNT', `cannot unmount ${mountpoint}: ${text}`, {
      path: mountpoint,
      cause: error,
    });
  }
}

function endNow({ pid, pidStart }: MountRecord): void {
  if (pid === 0 || processStart(pid) !== pidStart) return;
  try {
    process.kill(pid, 'SIGQUIT');
  } catch {
    // It has ended at this moment.
  }
}

/** Without a native server the system's own commands do. */
function umountCommand(mountpoint: string, flags: string[]): [string, string[]] {
  try {
    return [serverBinary(), ['umount', ...flags, mountpoint]];
  } catch {
    const lazy = flags.length > 0;
    if (process.getuid?.() === 0) return ['umount', [...(lazy ? ['-l'] : []), mountpoint]];
    return ['fusermount', ['-u', ...(lazy ? ['-z'] : []), mountpoint]];
  }
}

/** The server ends within moments of its mount; a lazy one when the last file is closed, which is not waited for. */
async function untilGone({ pid, pidStart }: MountRecord): Promise<void> {
  for (let waitedMs = 0; waitedMs < 2000 && processStart(pid) === pidStart; waitedMs += 5) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
