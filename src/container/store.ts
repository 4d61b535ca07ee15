/**
 * Containers on the disk: `<root>/containers/<id>/{container.json,upper/,work/}`. A container appears, and goes, by one rename(2) under
 * the lock of the whole directory, so that two processes never give one name twice, and a killed one leaves only a
 * directory called `.tmp-*`, which the next one to hold the lock clears away. Readers need no lock.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { MountTable } from '../mount/table.js';
import { defaultRoot } from '../store/cache.js';
import { takeLock, tryLockDirectory } from '../store/flock.js';
import { checkName, randomName } from './names.js';
import { parseRecord, RECORD_VERSION } from '../store/container-record.js';
import type { ContainerRecord } from '../store/container-record.js';

export const UPPER = 'upper';
export const WORK = 'work';
const RECORD = 'container.json';
const TEMPORARY = '.tmp-';
const LOCK = '.lock';

/** How long a server may take to end after its mount. */
const ENDING_MS = 5_000;
const RETRY_MS = 50;

export type NewContainer = Omit<ContainerRecord, 'version' | 'id' | 'name' | 'createdAt'>;

/** The directory of a container whose record cannot be read. */
export interface DamagedRecord extends ContainerPlace {
  error: LaminaError;
}

/** What finding and removing a container's directory takes. */
export type ContainerPlace = Pick<ContainerRecord, 'id' | 'name'>;

export class ContainerStore {
  readonly directory: string;

  constructor(root = defaultRoot()) {
    this.directory = path.join(root, 'containers');
  }

  upperOf({ id }: ContainerPlace): string {
    return path.join(this.directory, id, UPPER);
  }

  workOf({ id }: ContainerPlace): string {
    return path.join(this.directory, id, WORK);
  }

  /** A file or directory beside its layer. */
  fileOf({ id }: ContainerPlace, name: string): string {
    return path.join(this.directory, id, name);
  }

  /**
   * @param name a random one when undefined
   * @param prepare fills the new upper directory
   * Raises ENAME, EUSAGE, and what the system says; nothing is left then.
   */
  async create(
    container: NewContainer,
    name: string | undefined,
    prepare: (upper: string) => Promise<void> = async () => {},
  ): Promise<ContainerRecord> {
    const wanted = name === undefined ? undefined : checkName(name);
    return this.#locked(async () => {
      const existing = await this.list();
      if (wanted !== undefined) this.#checkFree(wanted, existing);
      const record: ContainerRecord = {
        version: RECORD_VERSION,
        id: randomBytes(32).toString('hex'),
        name: wanted ?? freeName(existing),
        createdAt: new Date().toISOString(),
        ...container,
      };
      const temporary = this.#temporary();
      try {
        for (const directory of [temporary, path.join(temporary, UPPER), path.join(temporary, WORK)])
          mkdirSync(directory, { mode: directory === temporary ? 0o700 : 0o755 });
        await prepare(path.join(temporary, UPPER));
        writeSynced(path.join(temporary, RECORD), text(record));
        syncDirectory(temporary);
        await rename(temporary, path.join(this.directory, record.id));
      } catch (error) {
        await rm(temporary, { recursive: true, force: true });
        throw fromSystemError(error, 'cannot create a container in', this.directory);
      }
      syncDirectory(this.directory);
      return record;
    });
  }

  /** All containers whose records can be read, newest first. */
  async list(): Promise<ContainerRecord[]> {
    return (await this.#readAll()).records;
  }

  /** What is wrong with the records that cannot be read: one of them must not keep the others from being used. */
  async damaged(): Promise<DamagedRecord[]> {
    return (await this.#readAll()).damaged;
  }

  async #readAll(): Promise<{ records: ContainerRecord[]; damaged: DamagedRecord[] }> {
    const names = await readdir(this.directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw fromSystemError(error, 'cannot read', this.directory);
    });
    const records: ContainerRecord[] = [];
    const damaged: DamagedRecord[] = [];
    for (const name of names) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      try {
        const record = await this.#read(name);
        if (record !== undefined) records.push(record);
      } catch (error) {
        if (!(error instanceof LaminaError) || error.code !== 'EIO') throw error;
        damaged.push({ id: name, name, error });
      }
    }
    records.sort((a, b) =>
      a.createdAt === b.createdAt ? (a.id < b.id ? -1 : 1) : a.createdAt > b.createdAt ? -1 : 1,
    );
    return { records, damaged };
  }

  /** By its name, its ID, or as much of the ID as is unambiguous. Raises ENOCONTAINER. */
  async get(reference: string): Promise<ContainerRecord> {
    const found = await this.find(reference);
    if (found !== undefined) return found;
    throw noSuch(reference);
  }

  /** As `get`; undefined when there is none. Raises ENOCONTAINER when several IDs begin so, EIO when its record is damaged. */
  async find(reference: string): Promise<ContainerRecord | undefined> {
    const { records, damaged } = await this.#readAll();
    const name = reference.replace(/^\//, '');
    const exact = records.find((record) => record.id === reference) ?? records.find((r) => r.name === name);
    if (exact !== undefined || !/^[0-9a-f]+$/.test(reference)) return exact;
    const beginning = [...records, ...damaged].filter(({ id }) => id.startsWith(reference));
    if (beginning.length > 1)
      throw new LaminaError('ENOCONTAINER', `multiple IDs found with provided prefix: ${reference}`, {
        hint: 'Give more of the ID.',
      });
    const [found] = beginning;
    if (found !== undefined && 'error' in found) throw found.error;
    return found;
  }

  /** Raises ENOCONTAINER, ENAME, EUSAGE. */
  async rename(reference: string, name: string): Promise<void> {
    const wanted = checkName(name);
    await this.#locked(async () => {
      const existing = await this.list();
      const record = await this.get(reference);
      if (record.name === wanted)
        throw new LaminaError('ENAME', 'Renaming a container with the same name as its current name', {
          hint: 'Choose another name.',
        });
      this.#checkFree(wanted, existing);
      const target = path.join(this.directory, record.id, RECORD);
      const temporary = this.#temporary();
      try {
        writeSynced(temporary, text({ ...record, name: wanted }));
        await rename(temporary, target);
        syncDirectory(path.dirname(target));
      } catch (error) {
        await rm(temporary, { force: true });
        throw fromSystemError(error, 'cannot write', target);
      }
    });
  }

  /** Raises EINUSE when it is mounted. */
  async remove(record: ContainerPlace): Promise<void> {
    // Held until all is gone, so that nobody mounts it in between.
    const held = await this.holdSoon(record).catch((error: unknown) => {
      if (error instanceof LaminaError && error.code === 'ENOENT') throw noSuch(record.name);
      throw error;
    });
    if (held === undefined)
      throw new LaminaError(
        'EINUSE',
        `cannot remove container "/${record.name}": container is mounted: unmount it before removing or force remove`,
      );
    try {
      const gone = await this.#locked(async () => {
        const temporary = this.#temporary();
        try {
          await rename(path.join(this.directory, record.id), temporary);
          syncDirectory(this.directory);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw noSuch(record.name);
          throw fromSystemError(error, 'cannot remove', path.join(this.directory, record.id));
        }
        return temporary;
      });
      await rm(gone, { recursive: true, force: true });
    } finally {
      held.release();
    }
  }

  /** Keeps a container from being mounted; undefined when it is. The server of a mount holds the same lock. */
  async tryHold(record: ContainerPlace): Promise<{ release(): void } | undefined> {
    return tryLockDirectory(this.workOf(record));
  }

  /** As `tryHold`, but waits for a server that has nothing mounted any more and is about to end. */
  async holdSoon(record: ContainerPlace): Promise<{ release(): void } | undefined> {
    for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
      const held = await this.tryHold(record);
      if (held !== undefined || waitedMs >= ENDING_MS || (await isShown(record))) return held;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async isMounted(record: ContainerPlace): Promise<boolean> {
    const held = await this.tryHold(record);
    held?.release();
    return held === undefined;
  }

  async #read(id: string): Promise<ContainerRecord | undefined> {
    const file = path.join(this.directory, id, RECORD);
    try {
      return parseRecord(await readFile(file, 'utf8'), file);
    } catch (error) {
      // Removed since the directory was read.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fromSystemError(error, 'cannot read', file);
    }
  }

  #checkFree(name: string, existing: readonly ContainerRecord[]): void {
    const other = existing.find((record) => record.name === name);
    if (other === undefined) return;
    throw new LaminaError(
      'ENAME',
      `Conflict. The container name "/${name}" is already in use by container "${other.id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
  }

  #temporary(): string {
    return path.join(this.directory, `${TEMPORARY}${process.pid}-${randomBytes(6).toString('hex')}`);
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    try {
      await mkdir(this.directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw fromSystemError(error, 'cannot make', this.directory);
    }
    const lock = await takeLock(path.join(this.directory, LOCK));
    try {
      await this.#sweep();
      return await work();
    } finally {
      lock.release();
    }
  }

  /** What a killed process left: whoever makes such a directory holds the lock, or is removing it. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      if (!name.startsWith(TEMPORARY)) continue;
      const pid = Number(name.slice(TEMPORARY.length).split('-')[0]);
      if (pid === process.pid || !existsSync(`/proc/${pid}`))
        await rm(path.join(this.directory, name), { recursive: true, force: true });
    }
  }
}

function noSuch(reference: string): LaminaError {
  return new LaminaError('ENOCONTAINER', `No such container: ${reference}`);
}

/** Whether a mount of it can be seen. */
async function isShown({ id }: ContainerPlace): Promise<boolean> {
  const mounts = await new MountTable().list();
  return mounts.some(({ record, state }) => record.container === id && state === 'live');
}

function freeName(existing: readonly ContainerRecord[]): string {
  const taken = new Set(existing.map(({ name }) => name));
  for (let tries = 0; ; tries++) {
    const name = tries < 6 ? randomName() : `${randomName()}${randomBytes(3).toString('hex')}`;
    if (!taken.has(name)) return name;
  }
}

function text(record: ContainerRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

function writeSynced(file: string, content: string): void {
  const fd = openSync(file, 'wx', 0o600);
  try {
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
