/**
 * Derived data, all of which can be deleted at any time and is made again: inflated layers, inflated archives, TOCs.
 *
 *   layers/<diffId>/data    a compressed layer's tar, inflated and verified; layers/<diffId>/toc, its layer TOC
 *   archives/<identity>     a compressed archive's tar
 *   chains/<key>            a merged TOC
 *   verified/<key>          an empty file: the bytes of this in-place layer were found to be what its diffId promises
 *   tmp/                    files being written, named by process; they get their name by rename(2) when they are whole
 *
 * What was derived from bytes that lie in somebody's file is keyed by that file's identity (device, inode, size, mtime and
 * ctime in nanoseconds), so that a changed archive is never served from what it was before.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { access, chmod, lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import type { LayerBlob } from '../archive/image.js';
import type { Compression } from '../layer/compression.js';
import type { ByteSource } from '../tar/source.js';
import { inflate } from './inflate.js';
import type { InflateProgress } from './inflate.js';
import { withLock } from './lock.js';

/** Changes when the meaning of a derived file does: older ones are then never found. */
const CACHE_VERSION = 1;

export const DEFAULT_MAX_INFLATED_BYTES = 64 * 2 ** 30;

/** `--root`, LAMINA_ROOT, or where DESIGN puts it: /var/lib/lamina for root, the user's data directory otherwise. */
export function defaultRoot(): string {
  if (process.env.LAMINA_ROOT) return path.resolve(process.env.LAMINA_ROOT);
  if (process.getuid?.() === 0) return '/var/lib/lamina';
  return path.join(process.env.XDG_DATA_HOME || path.join(homedir(), '.local', 'share'), 'lamina');
}

export class Cache {
  readonly #locks: string;

  private constructor(
    /** Of the store. */
    readonly root: string,
    /** Where derived data goes: the store, where this user may write to it. */
    readonly directory: string,
  ) {
    this.#locks = path.join(directory, 'locks');
  }

  /**
   * Makes the directories that are missing (0700: images may hold what is not for everyone). Of a store that is there but cannot be
   * written to, what is derived goes to a temporary cache of this user's.
   */
  static async open(root = defaultRoot()): Promise<Cache> {
    let cache = new Cache(root, root);
    try {
      await makeDirectories(root);
    } catch (error) {
      const other = await temporaryCache(root, error as NodeJS.ErrnoException);
      if (other === undefined) {
        const { code, message } = fromSystemError(error, 'cannot use the cache', root);
        throw new LaminaError(code, message, {
          path: root,
          cause: error,
          hint: 'Choose another place with --root or LAMINA_ROOT.',
        });
      }
      cache = new Cache(root, other);
    }
    await cache.#sweep();
    return cache;
  }

  /**
   * The plain tar of a compressed layer, inflated and verified on first use. The caller closes the fd.
   * Raises as `inflate` does; nothing is left behind then.
   */
  async inflatedLayer(layer: LayerBlob, maxBytes: number, progress?: InflateProgress): Promise<ByteSource> {
    const name = path.join('layers', layer.diffId.replace(':', '-'), 'data');
    return this.#inflated(name, `layer ${layer.diffId}`, progress, (temporary, onProgress) =>
      inflate({ ...layer, maxBytes, target: temporary }, onProgress),
    );
  }

  /** Takes a layer's plain tar, verified and on the disk, from a file on the same filesystem. */
  async placeLayer(diffId: string, file: string): Promise<void> {
    const directory = path.join(this.root, 'layers', diffId.replace(':', '-'));
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await chmod(file, 0o400);
      await rename(file, path.join(directory, 'data'));
    } catch (error) {
      throw fromSystemError(error, 'cannot write', directory);
    }
  }

  /** The plain tar of a compressed archive. The caller closes the fd. */
  async inflatedArchive(
    blob: ByteSource,
    compression: Compression,
    maxBytes: number,
    progress?: InflateProgress,
  ): Promise<ByteSource> {
    const file = path.join('archives', hashed([identityOf(blob)]));
    return this.#inflated(file, blob.name, progress, (temporary, onProgress) =>
      inflate(
        { blob, compression, digest: undefined, diffId: undefined, maxBytes, target: temporary },
        onProgress,
      ),
    );
  }

  /** The file of the merged TOC under `key`, made by `make` when it is not there. Concurrent makers share the work. */
  async chainToc(key: string, make: () => Promise<Buffer>): Promise<string> {
    const target = path.join(this.directory, 'chains', key);
    const isThere = (file: string): Promise<string | undefined> =>
      access(file, constants.R_OK).then(
        () => file,
        () => undefined,
      );
    const existing = async (): Promise<string | undefined> =>
      (await isThere(target)) ?? (await isThere(path.join(this.root, 'chains', key)));
    return withLock(this.#locks, hashed([target]), existing, async () => {
      const bytes = await make();
      await this.#place(target, async (temporary) => {
        // Not synced: after a power cut its checksums tell, and it is made again.
        await writeFile(temporary, bytes, { flag: 'wx', mode: 0o600 });
      });
      return target;
    });
  }

  /** Forgets a derived file that turned out to be damaged; one in a store that is read-only is what it is. Raises as the system does. */
  async discard(file: string): Promise<void> {
    try {
      await rm(file, { force: true });
    } catch (error) {
      throw fromSystemError(error, 'cannot remove the damaged file', file);
    }
  }

  async isVerified(key: string): Promise<boolean> {
    return access(path.join(this.directory, 'verified', key)).then(
      () => true,
      () => false,
    );
  }

  async markVerified(key: string): Promise<void> {
    await (await open(path.join(this.directory, 'verified', key), 'a', 0o600)).close();
  }

  async #inflated(
    file: string,
    name: string,
    progress: InflateProgress = () => {},
    make: (temporary: string, progress: InflateProgress) => Promise<number>,
  ): Promise<ByteSource> {
    const target = path.join(this.directory, file);
    const existing = async (): Promise<ByteSource | undefined> => {
      const own = openSource(target, name);
      // What the store has, where this user may read it.
      return own ?? (this.directory === this.root ? undefined : tryOpen(path.join(this.root, file), name));
    };
    return withLock(this.#locks, hashed([target]), existing, async () => {
      let source: ByteSource | undefined;
      try {
        await this.#place(target, async (temporary) => {
          await make(temporary, progress);
          await chmod(temporary, 0o400);
          // Opened before it has its name: under that, somebody who clears the cache may remove it.
          source = openSource(temporary, name);
        });
      } catch (error) {
        if (source !== undefined) closeSync(source.fd);
        throw error;
      }
      return source!;
    });
  }

  /** Writes a file under a temporary name and gives it its own; removes it when `write` fails. */
  async #place(target: string, write: (temporary: string) => Promise<void>): Promise<void> {
    const temporary = path.join(this.directory, 'tmp', `${process.pid}-${randomBytes(8).toString('hex')}`);
    try {
      await write(temporary);
      await rename(temporary, target).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        // A layer has a directory of its own, which goes with its image.
        await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
        await rename(temporary, target);
      });
    } catch (error) {
      await rm(temporary, { force: true });
      throw fromSystemError(error, 'cannot write', target);
    }
  }

  /** Removes what processes that are gone left unfinished. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(path.join(this.directory, 'tmp')).catch(() => [])) {
      const pid = Number(name.split('-')[0]);
      if (pid > 0 && !isAlive(pid))
        await rm(path.join(this.directory, 'tmp', name), { recursive: true, force: true });
    }
  }
}

const DIRECTORIES = ['layers', 'archives', 'chains', 'verified', 'locks', 'tmp'];

/** Raises as the system does, also when they are there and cannot be written to. */
async function makeDirectories(root: string): Promise<void> {
  for (const name of DIRECTORIES) await mkdir(path.join(root, name), { recursive: true, mode: 0o700 });
  await access(path.join(root, 'tmp'), constants.W_OK | constants.X_OK);
}

/**
 * For a store that is there and cannot be written to; undefined otherwise. One for each store: what was derived from blobs that somebody
 * else put there must not be taken for the same layers of another store.
 */
async function temporaryCache(root: string, { code }: NodeJS.ErrnoException): Promise<string | undefined> {
  // Node says ENOENT of a directory that cannot be made on a read-only filesystem.
  if (!['EROFS', 'EACCES', 'EPERM', 'ENOENT'].includes(code ?? '')) return undefined;
  const isStore = await access(path.join(root, 'oci-layout'), constants.R_OK).then(
    () => true,
    () => false,
  );
  if (!isStore) return undefined;
  const own = path.join(tmpdir(), `lamina-cache-${process.getuid?.() ?? 0}`);
  try {
    await mkdir(own, { recursive: true, mode: 0o700 });
    const status = await lstat(own);
    if (!status.isDirectory() || status.uid !== process.getuid?.() || (status.mode & 0o077) !== 0)
      throw new LaminaError('EACCES', `${own} is not a directory that only this user can use`, {
        path: own,
        hint: 'Remove it, or choose another place with TMPDIR.',
      });
    const directory = path.join(own, hashed([path.resolve(root)]).slice(0, 32));
    await makeDirectories(directory);
    return directory;
  } catch (error) {
    throw fromSystemError(error, 'cannot use the temporary cache', own);
  }
}

/** Whether there is such a process, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function tryOpen(file: string, name: string): ByteSource | undefined {
  try {
    return openSource(file, name);
  } catch {
    return undefined;
  }
}

function openSource(file: string, name: string): ByteSource | undefined {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fromSystemError(error, 'cannot open', file);
  }
  try {
    return { fd, offset: 0, sizeBytes: fstatSync(fd).size, name };
  } catch (error) {
    closeSync(fd);
    throw fromSystemError(error, 'cannot read', file);
  }
}

/** What tells a file's content apart from any other, as long as nobody sets clocks back on purpose. */
export function identityOf(source: ByteSource): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(source.fd, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs, source.offset, source.sizeBytes].join(':');
}

/** A file name for a list of facts. */
export function hashed(facts: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([CACHE_VERSION, ...facts]))
    .digest('hex');
}
