/** Mounts an opened image at a directory: checks, records, starts a driver, starts the verifier. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdir, realpath, rmdir, stat } from 'node:fs/promises';
import { fromSystemError, LaminaError } from '../errors.js';
import type { Cache } from '../store/cache.js';
import { withLock } from '../store/lock.js';
import { verifyLayers } from '../store/verify.js';
import type { UnverifiedLayer } from '../store/verify.js';
import type { ByteSource } from '../tar/source.js';
import { startNative } from './drivers/native.js';
import type { LazyServer, RunningServer, ServerJob, WritableLayer } from './drivers/native.js';
import { undoFile } from './drivers/portable/undo-file.js';
import type { DriverName, MountOptions } from './options.js';
import { serverBinary } from '../server-binary.js';
import { isMountOf, mountedDirectories, MountTable, processStart } from './table.js';
import type { MountRecord } from './table.js';
import { resolveMountpoint, umount } from './umount.js';
import { needsUserXattrs } from './user-xattrs.js';
import { startVerifier } from './verify.js';

/** What mounting needs of an opened image; all descriptors are duplicated by the server, so it may be closed afterwards. */
export interface MountImage {
  name: string;
  imageId: string;
  platform: string;
  tocPath: string;
  sources: readonly ByteSource[];
  cache: Cache;
  unverified: readonly UnverifiedLayer[];
  /** Directory of the store that it is an image of; absent for one of an archive. */
  store?: string;
  /** The layer of its own that is mounted over the image. */
  container?: MountContainer;
  /** Of an image some of whose layers are still on their way. */
  lazy?: LazyMount;
}

/** What the native server needs for layers that are not here yet. */
export interface LazyMount {
  /** Presence map of each source that has one; `fd` is open for reading. */
  maps: readonly { source: number; fd: number }[];
  /** A read that waits for longer is EIO. */
  timeoutMs: number;
  /** The program that fetches, without its argument: the file of its job. */
  command: readonly string[];
  /** What is in that file, for the mount that is made. */
  job(mount: { mountpoint: string; token: string; socket: string; progressFile: string }): object;
  /** Files of this mount alone, removed with it. */
  files: readonly string[];
}

export interface MountContainer extends WritableLayer {
  id: string;
  name: string;
}

export interface Mounted {
  record: MountRecord;
  /** Ends when the mount does. */
  process: ChildProcess;
  /** Hashes what is read in place; ends with status 1 when it had to take the mount down, and the record says why. */
  verifier: ChildProcess | undefined;
  /** Lets this process end while the mount goes on. */
  release(): void;
}

/**
 * @param driver undefined: the native server, or the portable driver where there is none (`warn` is told then)
 * Raises ENOENT, ENOTDIR, EBUSY (something of ours is mounted there), ENOSERVER, EDRIVER, ENOFUSE, EMOUNT, EPERM, EDIGEST,
 * EINUSE (the container is mounted elsewhere).
 */
export async function mountImage(
  image: MountImage,
  directory: string,
  options: MountOptions,
  driver: DriverName | undefined,
  warn: (message: string) => void = () => {},
): Promise<Mounted> {
  if (options.verify === 'before') await verifyLayers(image.unverified, image.cache);
  const table = new MountTable();
  const id = table.idOf(await resolveMountpoint(directory));
  // Two that mount on one directory at once must not both find it free.
  return withLock(await table.directory(), `mount-${id}`, notDone, async () => {
    const mountpoint = await freeMountpoint(directory, table);
    return mountLocked(image, table, mountpoint, options, driver, warn);
  });
}

const notDone = async (): Promise<undefined> => undefined;

async function mountLocked(
  image: MountImage,
  table: MountTable,
  mountpoint: string,
  options: MountOptions,
  driver: DriverName | undefined,
  warn: (message: string) => void,
): Promise<Mounted> {
  const id = table.idOf(mountpoint);
  const record: MountRecord = {
    id,
    mountpoint,
    image: image.name,
    imageId: image.imageId,
    platform: image.platform,
    driver: driver ?? 'native',
    token: randomBytes(8).toString('hex'),
    pid: 0,
    pidStart: '',
    createdAt: new Date().toISOString(),
    verify:
      image.lazy !== undefined
        ? 'pending'
        : image.unverified.length === 0 || options.verify === 'before'
          ? 'verified'
          : options.verify === 'none'
            ? 'unchecked'
            : 'pending',
    ...(image.container === undefined ? {} : { container: image.container.id }),
    ...(image.store === undefined ? {} : { store: await realpath(image.store) }),
  };
  await table.remove(id);
  await table.write(record);
  try {
    const writable = writableLayer(image, options);
    const lazy = image.lazy === undefined ? undefined : prepareLazy(image.lazy, table, record);
    const job = {
      ...(lazy === undefined ? {} : { lazy }),
      mountpoint,
      tocPath: image.tocPath,
      sources: image.sources,
      fsname: fsnameOf(image.container?.name ?? image.name),
      options,
      lowerDirectories: options.lowerDirectories,
      ...(writable === undefined ? {} : { writable }),
      logFile: table.file(id, 'log'),
      statsFile: table.file(id, 'stats'),
      holdSocket: table.file(id, 'hold'),
      removeAtEnd: [
        ...(['json', 'log', 'stats'] as const).map((kind) => table.file(id, kind)),
        ...(lazy === undefined
          ? []
          : (['fetch', 'socket', 'progress'] as const).map((kind) => table.file(id, kind))),
        ...(image.lazy?.files ?? []),
      ],
    };
    const choice = chooseDriver(driver, warn);
    if (driver === 'overlay' && (writable === undefined || options.lowerDirectories.length > 0))
      throw new LaminaError('EDRIVER', 'the overlay driver serves an upper directory over an image', {
        hint: 'Mount a container, or an image with --rw, and no lowerdir.',
      });
    if (
      choice.driver === 'fuse-native' &&
      (options.lowerDirectories.length > 0 || options.upper !== undefined)
    )
      throw new LaminaError(
        'EDRIVER',
        'the portable driver serves images and containers, not directories above them',
        {
          hint: 'Leave out lowerdir, upperdir and workdir, or use --driver native.',
        },
      );
    if (choice.driver === 'fuse-native' && lazy !== undefined)
      throw new LaminaError('EDRIVER', 'the portable driver cannot serve what is not here yet', {
        hint: 'Leave out --lazy, or use --driver native.',
      });
    if (writable !== undefined && choice.driver === 'native' && existsSync(undoFile(writable.workDirectory)))
      await (await import('./drivers/portable/recover.js')).recoverLayer(writable);
    const { server, name } =
      choice.driver === 'native'
        ? await startServer(choice.binary, job, driver, table.imageDirectory(id))
        : {
            server: await (await import('./drivers/fuse-native.js')).startFuseNative(job),
            name: 'fuse-native' as const,
          };
    record.driver = name;
    record.pid = server.pid;
    record.pidStart = processStart(server.pid) ?? '';
    await table.write(record);
    const verifier =
      // Of what is on its way the fetcher says whether it is right.
      record.verify === 'pending' && image.lazy === undefined
        ? startVerifier(image.unverified, image.cache, record, job.logFile)
        : undefined;
    return {
      record,
      process: server.process,
      verifier,
      release: () => [server.process, verifier].forEach((child) => child?.unref()),
    };
  } catch (error) {
    await table.remove(id);
    throw error;
  }
}

/** Writes down what the fetcher is to do. */
function prepareLazy(
  { maps, timeoutMs, command, job }: LazyMount,
  table: MountTable,
  { id, mountpoint, token }: MountRecord,
): LazyServer {
  const [file, socket] = [table.file(id, 'fetch'), table.file(id, 'socket')];
  const facts = { mountpoint, token, socket, progressFile: table.file(id, 'progress') };
  writeFileSync(file, JSON.stringify(job(facts)), { mode: 0o600 });
  return { maps, timeoutMs, socket, fetcher: [...command, file] };
}

/** By way of kernel overlayfs where that is asked for: it writes faster than any server could. */
async function startServer(
  binary: string,
  job: ServerJob,
  driver: DriverName | undefined,
  imageDirectory: string,
): Promise<{ server: RunningServer; name: DriverName }> {
  if (driver !== 'overlay') return { server: await startNative(binary, job), name: 'native' };
  await emptyDirectory(imageDirectory);
  try {
    return { server: await startNative(binary, { ...job, imageDirectory }), name: 'overlay' };
  } catch (error) {
    await rmdir(imageDirectory).catch(() => {});
    throw error;
  }
}

/** What a process that was killed has left mounted there goes. */
async function emptyDirectory(directory: string): Promise<void> {
  await mkdir(directory, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    if (mountedDirectories().has(directory)) await umount(directory, { lazy: true });
  });
}

function writableLayer({ container }: MountImage, { upper }: MountOptions): WritableLayer | undefined {
  if (container !== undefined || upper === undefined) return container;
  return { what: 'the upper directory', userXattrs: needsUserXattrs(), ...upper };
}

/** The directory as the kernel will name it. A mount of ours there whose server died is cleared away. */
async function freeMountpoint(directory: string, table: MountTable): Promise<string> {
  const unresolved = await resolveMountpoint(directory);
  const record = await table.read(unresolved);
  const type = mountedDirectories().get(unresolved);
  if (isMountOf(record, type)) {
    if (record === undefined || table.isServed(record)) {
      throw new LaminaError('EBUSY', `an image is already mounted on ${directory}`, {
        path: directory,
        hint: `Unmount it with: lamina umount ${directory}`,
      });
    }
    await umount(unresolved, { lazy: true });
  }
  try {
    const mountpoint = await realpath(directory);
    if (!(await stat(mountpoint)).isDirectory()) {
      throw new LaminaError('ENOTDIR', `${directory} is not a directory`, {
        path: directory,
        hint: 'Give a directory to mount on.',
      });
    }
    return mountpoint;
  } catch (error) {
    throw fromSystemError(error, 'cannot mount on', directory);
  }
}

function chooseDriver(
  driver: DriverName | undefined,
  warn: (message: string) => void,
): { driver: 'native'; binary: string } | { driver: 'fuse-native' } {
  if (driver === 'fuse-native') return { driver };
  try {
    return { driver: 'native', binary: serverBinary() };
  } catch (error) {
    if (driver === 'native' || !(error instanceof LaminaError)) throw error;
    warn(`${error.message}; using the portable driver. ${error.hint}`);
    return { driver: 'fuse-native' };
  }
}

/** The kernel lists options separated by commas and fields by spaces: neither may stand in the name. */
function fsnameOf(name: string): string {
  return `lamina:${name.replace(/[^\x21-\x2b\x2d-\x5b\x5d-\x7e]/g, '_').slice(-200)}`;
}
