/**
 * The table of mounts: one small JSON record for each mountpoint, in a directory that a reboot empties, held against what the
 * kernel says in /proc/self/mountinfo (proc_pid_mountinfo(5)). The record says what is mounted, the kernel whether it is.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fromSystemError } from '../errors.js';
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
  /** The process that ends when the mount does: the server's supervisor. 0 until it runs. */
  pid: number;
  /** ISO 8601. */
  createdAt: string;
  verify: VerifyState;
  /** Why the mount was taken down, when verification failed. */
  error?: string;
}

/** `live`: served. `stale`: still mounted, but nobody serves it. `failed`: taken down; the record says why. */
export type MountState = 'live' | 'stale' | 'failed';

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

const ANSWER_TIMEOUT_MS = 2000;

export class MountTable {
  readonly #directory = path.join(runDirectory(), 'mounts');

  idOf(mountpoint: string): string {
    return createHash('sha256').update(mountpoint).digest('hex').slice(0, 12);
  }

  /** A file that belongs to a mount: `json` is its record, `log` what its server printed, `stats` its counters. */
  file(id: string, kind: 'json' | 'log' | 'stats'): string {
    return path.join(this.#directory, `${id}.${kind}`);
  }

  async write(record: MountRecord): Promise<void> {
    const target = this.file(record.id, 'json');
    const temporary = `${target}.${process.pid}`;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeFile(temporary, `${JSON.stringify(record)}\n`, { mode: 0o600 });
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw fromSystemError(error, 'cannot write', target);
    }
  }

  async read(mountpoint: string): Promise<MountRecord | undefined> {
    return readRecord(this.file(this.idOf(mountpoint), 'json'));
  }

  async remove(id: string): Promise<void> {
    for (const kind of ['json', 'log', 'stats'] as const) await rm(this.file(id, kind), { force: true });
  }

  /** All mounts with a record, oldest first. Records of mounts that ended without removing theirs are cleared away. */
  async list(): Promise<MountEntry[]> {
    const mounted = mountedDirectories();
    const entries: MountEntry[] = [];
    for (const name of await readdir(this.#directory).catch(() => [] as string[])) {
      if (!name.endsWith('.json')) continue;
      const record = await readRecord(path.join(this.#directory, name));
      if (record === undefined) continue;
      const state = await stateOf(record, mounted);
      if (state === undefined) await this.remove(record.id);
      else entries.push({ record, state });
    }
    return entries.sort((a, b) => (a.record.createdAt < b.record.createdAt ? -1 : 1));
  }
}

async function stateOf(
  record: MountRecord,
  mounted: ReadonlyMap<string, string>,
): Promise<MountState | undefined> {
  if (record.verify === 'failed') return 'failed';
  if (mounted.get(record.mountpoint)?.startsWith('fuse'))
    return (await isServed(record.mountpoint)) ? 'live' : 'stale';
  // Between writing the record and the mount itself a moment passes.
  return record.pid === 0 && Date.now() - Date.parse(record.createdAt) < 60_000 ? 'live' : undefined;
}

/**
 * Whether somebody answers for the mount: statfs(2) is never answered from a cache. A recorded process does not decide: a server may
 * outlive its supervisor, and process numbers are used again.
 */
export async function isServed(mountpoint: string): Promise<boolean> {
  const answer = statfs(mountpoint).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'EACCES' || error.code === 'EPERM',
  );
  return Promise.race([answer, setTimeout(ANSWER_TIMEOUT_MS, false, { ref: false })]);
}

/** Whether the process runs: one that has ended but was not waited for (a zombie) does not. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return pid > 0 && !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

async function readRecord(file: string): Promise<MountRecord | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as MountRecord;
  } catch {
    return undefined;
  }
}

/** Mountpoint -> filesystem type, the uppermost mount of each; paths as the kernel knows them, unescaped. */
export function mountedDirectories(): Map<string, string> {
  const found = new Map<string, string>();
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'latin1');
  } catch {
    return found;
  }
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    const mountpoint = before?.split(' ')[4];
    const type = after?.split(' ')[0];
    if (mountpoint !== undefined && type !== undefined) found.set(unescapeOctal(mountpoint), type);
  }
  return found;
}

/** mountinfo writes space, tab, newline and backslash as `\040` and so on. */
function unescapeOctal(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
