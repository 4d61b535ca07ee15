/**
 * The table of mounts: one small JSON record for each mountpoint, in a directory that a reboot empties, held against what the
 * kernel says in /proc/self/mountinfo (proc_pid_mountinfo(5)). The record says what is mounted, the kernel whether it is.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { lstat, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import type { DriverName } from './options.js';

export type VerifyState = 'verified' | 'pending' | 'unchecked' | 'failed';

export interface MountRecord {
  /** First 12 hex digits of the sha256 of the mountpoint. */
  id: string;
  mountpoint: string;
  /** As it was named on the command line. */
  image: string;
  /** Config digest. */
  imageId: string;
  platform: string;
  driver: DriverName;
  /** Tells this mount from earlier and later ones on the same directory. */
  token: string;
  /** The process that ends when the mount does: the server's supervisor. 0 until it runs. */
  pid: number;
  /** When that process started, as /proc says: process numbers are used again. Empty until it runs. */
  pidStart: string;
  /** ISO 8601. */
  createdAt: string;
  verify: VerifyState;
  /** ID of the container that is mounted; absent for an image. */
  container?: string;
  /** Of an image of a store, that store's directory, without symbolic links; absent for one of an archive outside. */
  store?: string;
  /** Why the mount was taken down, or could not be verified. */
  error?: string;
}

/** `live`: served. `hidden`: served, but covered, detached or in another mount namespace. `stale`: still mounted, but nobody serves it. `failed`: taken down; the record says why. */
export type MountState = 'live' | 'hidden' | 'stale' | 'failed';

export interface MountEntry {
  record: MountRecord;
  state: MountState;
}

/** LAMINA_RUN, or /run/lamina for root, or below XDG_RUNTIME_DIR. */
export function runDirectory(): string {
  if (process.env.LAMINA_RUN) return path.resolve(process.env.LAMINA_RUN);
  const uid = process.getuid?.() ?? 0;
  if (uid === 0) return '/run/lamina';
  return process.env.XDG_RUNTIME_DIR
    ? path.join(process.env.XDG_RUNTIME_DIR, 'lamina')
    : `/tmp/lamina-${uid}`;
}

/** A mount that has not begun after this long never will. */
const STARTING_MS = 60_000;

type FileKind = 'json' | 'log' | 'stats' | 'hold' | 'failed' | 'fetch' | 'socket' | 'progress';

export class MountTable {
  readonly #directory = path.join(runDirectory(), 'mounts');

  idOf(mountpoint: string): string {
    return createHash('sha256').update(mountpoint).digest('hex').slice(0, 12);
  }

  /** Where the image is mounted until overlayfs has taken hold of it. */
  imageDirectory(id: string): string {
    return path.join(this.#directory, `${id}.image`);
  }

  /** A file that belongs to a mount: `json` is its record, `log` what its server printed, `stats` its counters, `hold` the socket by which its
   * changes wait;
   * `failed` is the record of one that was taken down, which its server must not remove. Of a lazy mount `fetch` is what its fetcher
   * is to do, `socket` where that listens, and `progress` how far it is. */
  file(id: string, kind: FileKind): string {
    return path.join(this.#directory, `${id}.${kind}`);
  }

  /**
   * The directory of the table, made when it is missing. Raises EACCES when it is not this user's alone: whoever may write
   * there could have this user's files overwritten or removed.
   */
  async directory(): Promise<string> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      for (const directory of [path.dirname(this.#directory), this.#directory])
        await this.#checkOwner(directory);
      return this.#directory;
    } catch (error) {
      throw fromSystemError(error, 'cannot use', this.#directory);
    }
  }

  async #checkOwner(directory: string): Promise<void> {
    const status = await lstat(directory);
    if (status.isDirectory() && status.uid === process.getuid?.() && (status.mode & 0o022) === 0) return;
    throw new LaminaError('EACCES', `${directory} is not a directory that only this user can write to`, {
      path: directory,
      hint: 'Remove it, or choose another place with LAMINA_RUN.',
    });
  }

  async write(record: MountRecord): Promise<void> {
    return this.#write(record, 'json');
  }

  /** Keeps why a mount was taken down, until the next mount on its directory, or `umount` there. */
  async writeFailed(record: MountRecord): Promise<void> {
    return this.#write(record, 'failed');
  }

  async readFailed(mountpoint: string): Promise<MountRecord | undefined> {
    return readRecord(this.file(this.idOf(mountpoint), 'failed'));
  }

  async #write(record: MountRecord, kind: FileKind): Promise<void> {
    await this.directory();
    const target = this.file(record.id, kind);
    const temporary = `${target}.${process.pid}`;
    try {
      await writeFile(temporary, `${JSON.stringify(record)}\n`, { mode: 0o600 });
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw fromSystemError(error, 'cannot write', target);
    }
  }

  /** How far a lazy mount is, in bytes of its lazy layers; undefined when it is none. */
  async progress(
    id: string,
  ): Promise<{ haveBytes: number; totalBytes: number; fetchedBytes: number } | undefined> {
    try {
      const progress = JSON.parse(await readFile(this.file(id, 'progress'), 'utf8')) as Record<
        string,
        unknown
      >;
      const [haveBytes, totalBytes, fetchedBytes] = ['haveBytes', 'totalBytes', 'fetchedBytes'].map(
        (key) => progress[key],
      );
      const numbers = { haveBytes, totalBytes, fetchedBytes };
      return Object.values(numbers).every((value) => typeof value === 'number')
        ? (numbers as { haveBytes: number; totalBytes: number; fetchedBytes: number })
        : undefined;
    } catch {
      return undefined;
    }
  }

  async read(mountpoint: string): Promise<MountRecord | undefined> {
    return readRecord(this.file(this.idOf(mountpoint), 'json'));
  }

  async remove(id: string): Promise<void> {
    for (const kind of ['json', 'log', 'stats', 'hold', 'failed', 'fetch', 'socket', 'progress'] as const)
      await rm(this.file(id, kind), { force: true });
    await rmdir(this.imageDirectory(id)).catch(() => {});
  }

  /** All mounts with a record, oldest first. Records of mounts that ended without removing theirs are cleared away. */
  async list(): Promise<MountEntry[]> {
    const mounted = mountedDirectories();
    const entries: MountEntry[] = [];
    for (const name of await this.#fileNames()) {
      const [, id, kind] = /^([0-9a-f]{12})\.(json|failed)$/.exec(name) ?? [];
      if (id === undefined) continue;
      const file = path.join(this.#directory, name);
      const record = await readRecord(file);
      const state =
        record?.id !== id ? undefined : kind === 'failed' ? 'failed' : this.#stateOf(record, mounted);
      if (record === undefined || state === undefined) await rm(file, { force: true });
      else if (state === 'failed' || (await this.readFailed(record.mountpoint))?.token !== record.token) {
        entries.push({ record, state });
      }
    }
    return entries.sort((a, b) => (a.record.createdAt < b.record.createdAt ? -1 : 1));
  }

  /** No directory is no mounts. Raises EACCES and the like. */
  async #fileNames(): Promise<string[]> {
    try {
      const names = await readdir(this.#directory);
      await this.directory();
      return names;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw fromSystemError(error, 'cannot read', this.#directory);
    }
  }

  /** undefined: the mount is over. One that is covered, detached, or in another mount namespace is still served. */
  #stateOf(record: MountRecord, mounted: ReadonlyMap<string, string>): MountState | undefined {
    // Between writing the record and the mount itself a moment passes.
    if (record.pid === 0) return Date.now() - Date.parse(record.createdAt) < STARTING_MS ? 'live' : undefined;
    const isMounted = isMountOf(record, mounted.get(record.mountpoint));
    if (this.isServed(record)) return isMounted ? 'live' : 'hidden';
    return isMounted ? 'stale' : undefined;
  }

  /**
   * Whether a process is there to answer for the mount, at once or later: its supervisor, or the server, which may outlive
   * it. The mount itself is not asked: a slow disk or a stopped server is no reason to call it dead, and the question could hang.
   */
  isServed(record: MountRecord): boolean {
    if (record.pid === 0) return true;
    if (processStart(record.pid) === record.pidStart) return true;
    const server = this.#serverPid(record.id);
    return server !== undefined && commandOf(server) === 'lamina-fuse';
  }

  /** From the counters of the native server (native/sys/stats.h: process at byte 16). */
  #serverPid(id: string): number | undefined {
    try {
      return Number(readFileSync(this.file(id, 'stats')).readBigUInt64LE(16));
    } catch {
      return undefined;
    }
  }
}

/** When the process started, in the kernel's clock ticks; undefined when it has ended, also if nobody has waited for it yet (a zombie). */
export function processStart(pid: number): string | undefined {
  try {
    // proc_pid_stat(5): the name may hold anything but its last parenthesis ends it; state is field 3, starttime field 22.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string | undefined {
  try {
    return processStart(pid) === undefined ? undefined : readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** undefined when there is none, or nothing that this program wrote. */
async function readRecord(file: string): Promise<MountRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(file, 'utf8')) as Record<keyof MountRecord, unknown> | null;
    const isWhole = record !== null && TEXT_FIELDS.every((field) => typeof record[field] === 'string');
    return isWhole && Number.isInteger(record.pid) ? (record as unknown as MountRecord) : undefined;
  } catch {
    return undefined;
  }
}

const TEXT_FIELDS = [
  'id',
  'mountpoint',
  'image',
  'imageId',
  'platform',
  'driver',
  'token',
  'pidStart',
  'createdAt',
  'verify',
] as const;

/** Whether what is mounted there can be `record`'s, or without one, is certainly Lamina's. */
export function isMountOf(record: MountRecord | undefined, type: string | undefined): boolean {
  if (type === undefined) return false;
  return type === 'fuse.lamina' || type === OVERLAY_TYPE || (record !== undefined && type.startsWith('fuse'));
}

/** What `mountedDirectories` calls an overlayfs over an image of ours. */
const OVERLAY_TYPE = 'overlay.lamina';

/** Mountpoint -> filesystem type, the uppermost mount of each; paths as the kernel knows them, unescaped. */
export function mountedDirectories(): Map<string, string> {
  return new Map([...mountLines()].map(({ mountpoint, type }) => [mountpoint, type]));
}

/** `major:minor` of the uppermost mount at a directory. */
export function deviceOf(mountpoint: string): string | undefined {
  return [...mountLines()].findLast((line) => line.mountpoint === mountpoint)?.device;
}

function* mountLines(): Generator<{ mountpoint: string; type: string; device: string }> {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'latin1');
  } catch {
    return;
  }
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    const [, , device, , mountpoint] = before?.split(' ') ?? [];
    const [type, source] = after?.split(' ') ?? [];
    if (device === undefined || mountpoint === undefined || type === undefined) continue;
    const isOverlay = type === 'overlay' && source?.startsWith('lamina:');
    yield { mountpoint: unescapeOctal(mountpoint), type: isOverlay ? OVERLAY_TYPE : type, device };
  }
}

/** mountinfo writes space, tab, newline and backslash as `\040` and so on. */
function unescapeOctal(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
