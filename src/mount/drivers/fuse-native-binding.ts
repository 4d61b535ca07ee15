/**
 * The package `fuse-native` (2.2.6), bent where its own JavaScript would lose something: stat arrays go to libfuse as they are (its own
 * keep no rdev, ino or nlink of zero), attribute values and lists are measured in bytes, and names pass as bytes.
 *
 * Names as bytes: fuse-native takes and gives UTF-8. libfuse's iconv module (lib/modules/iconv.c) is put between it and the kernel
 * with the kernel's side as ISO-8859-1, in which every byte is a character: a name arrives here as a ByteString.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import type { ByteString } from '../../bytes.js';
import { EIO } from './fuse-native-filesystem.js';
import type { ServedFilesystem } from './fuse-native-filesystem.js';
import { errnoOf } from './portable/errno.js';
import type { WritableFilesystem } from './portable/filesystem.js';

/** Ends a request: a negative errno or a length, then what the operation returns. */
type Signal = (result: number, ...returned: unknown[]) => void;

/** Called for a request: the addon's memory of it, which request it is, and what fuse-native.c makes of its arguments. */
type Handler = (request: Buffer, operation: number, ...args: unknown[]) => void;

/**
 * What is used of fuse-native's class: `open` mounts, the `_op_` methods answer, `_fuseOptions` gives the argument of libfuse and
 * `_makeHandlerArray` what the addon calls.
 */
interface FuseNative {
  open(done: (error: Error | null) => void): void;
  _makeHandlerArray(): Handler[];
}

type FuseNativeClass = new (
  mountpoint: string,
  operations: Record<string, () => void>,
  options: { timeout: false },
) => FuseNative;

/** The operations that libfuse is to call; it answers the others with ENOSYS. */
const READ_OPERATIONS = ['getattr', 'readdir', 'readlink', 'read', 'getxattr', 'listxattr', 'statfs'];
const WRITE_OPERATIONS = [
  'create',
  'mknod',
  'mkdir',
  'symlink',
  'link',
  'unlink',
  'rmdir',
  'rename',
  'chmod',
  'chown',
  'truncate',
  'utimens',
  'write',
  'fsync',
  'fsyncdir',
  'setxattr',
  'removexattr',
];
/** fuse-native.c: op_utimens, and where its fuse_thread_locals_t holds the two times, with pointers of 64 bits. */
const OP_UTIMENS = 12;
const ATIME_AT = 104;
const MTIME_AT = 112;
/** chown(2): leave it as it is. */
const NO_ID = 2 ** 32 - 1;

/** An image does not change: the kernel may keep every answer. Seconds. */
const FOR_EVER = 1_000_000_000;

/**
 * Loads the package. Raises what the loader raises, when it is not installed or was not built for this platform.
 *
 * Its addon wants a `libfuse.so.2`, which hosts no longer have; the one that the package brings along is not where the loader looks. A
 * library that is loaded already is found by its soname (ld.so(8)), so that one is loaded first.
 */
export function loadFuseNative(): FuseNativeClass {
  const require = createRequire(import.meta.url);
  try {
    return require('fuse-native') as FuseNativeClass;
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('libfuse.so.2')) throw error;
    const { lib } = createRequire(require.resolve('fuse-native'))('fuse-shared-library') as { lib: string };
    keepLoaded(lib);
    return require('fuse-native') as FuseNativeClass;
  }
}

/** dlopen(3)'s RTLD_NODELETE of glibc: Node unloads what turns out to be no addon. */
const RTLD_NODELETE = 0x1000;

function keepLoaded(library: string): void {
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch {
    // It is no addon. Whether it was loaded is seen when the addon is.
  }
}

/**
 * The options of libfuse 2.9 (its lib/fuse.c and lib/mount.c).
 * @param isWritable names change by requests of the kernel alone, which therefore keeps them; but the names of one inode are several
 *   inodes to libfuse, so that attributes may change by another one's name, and data: it is read again at each open
 */
export function libfuseOptions(words: readonly string[], fsname: string, isWritable = false): string {
  const escaped = fsname.replace(/[\\,]/g, '\\$&');
  return [
    ...words,
    // Whether something is there already is for whoever calls to say.
    'nonempty',
    'default_permissions',
    'use_ino',
    ...(isWritable ? ['big_writes'] : ['kernel_cache']),
    `entry_timeout=${FOR_EVER}`,
    `negative_timeout=${FOR_EVER}`,
    `attr_timeout=${isWritable ? 0 : FOR_EVER}`,
    'subtype=lamina',
    `fsname=${escaped}`,
    'modules=iconv',
    'from_code=UTF-8',
    'to_code=ISO-8859-1',
  ].join(',');
}

/**
 * Mounts; resolves once the kernel has been answered for the first time. Rejects when libfuse cannot mount, after
 * having said why on stderr.
 * @param options  as libfuseOptions gives them
 * @param writable the filesystem again, where it is one that can be changed
 * @param report   told of what went wrong within a request, which is answered with EIO
 */
export function mountFuseNative(
  fuseNative: FuseNativeClass,
  mountpoint: string,
  options: string,
  filesystem: ServedFilesystem,
  writable: WritableFilesystem | undefined,
  report: (error: unknown) => void,
): Promise<void> {
  class ImageFuse extends fuseNative {
    _fuseOptions(): string {
      return `-o${options}`;
    }

    _op_getattr(signal: Signal, path: ByteString): void {
      const answer = guarded(() => filesystem.getattr(path));
      if (typeof answer === 'number') signal(answer, NO_STAT);
      else signal(0, answer);
    }

    _op_readdir(signal: Signal, path: ByteString): void {
      const answer = guarded(() => filesystem.readdir(path));
      if (typeof answer === 'number') signal(answer, [], []);
      else signal(0, answer.names, answer.stats);
    }

    _op_readlink(signal: Signal, path: ByteString): void {
      const answer = guarded(() => filesystem.readlink(path));
      if (typeof answer === 'number') signal(answer, '');
      else signal(0, answer);
    }

    /** The buffer is libfuse's own memory and goes back with the answer, whatever that is. */
    _op_read(signal: Signal, path: ByteString, _fh: number, buffer: Buffer, ...rest: number[]): void {
      const [, low = 0, high = 0] = rest;
      const count = guarded(() => filesystem.read(path, buffer, high * 2 ** 32 + low));
      signal(count, count, buffer.buffer);
    }

    _op_getxattr(signal: Signal, path: ByteString, name: string, buffer: Buffer): void {
      signal(
        guarded(() => filesystem.getxattr(path, name, buffer)),
        buffer.buffer,
      );
    }

    _op_listxattr(signal: Signal, path: ByteString, buffer: Buffer): void {
      signal(
        guarded(() => filesystem.listxattr(path, buffer)),
        buffer.buffer,
      );
    }

    _op_statfs(signal: Signal): void {
      const answer = guarded(() => filesystem.statfs());
      if (typeof answer === 'number') signal(answer);
      else signal(0, answer);
    }

    /** fuse-native.c gives the access time twice: the other one is in its memory. */
    override _makeHandlerArray(): Handler[] {
      const handlers = super._makeHandlerArray();
      const utimens = handlers[OP_UTIMENS]!;
      handlers[OP_UTIMENS] = (request, ...rest) => {
        this.times = [ATIME_AT, MTIME_AT].map((at) => request.readBigInt64LE(at)) as [bigint, bigint];
        utimens(request, ...rest);
      };
      return handlers;
    }

    declare times: [bigint, bigint];

    _op_utimens(signal: Signal, path: ByteString, atimeLow: number): void {
      const [atimeMs, mtimeMs] = this.times;
      signal(
        done((files) => {
          if (BigInt.asUintN(32, atimeMs) !== BigInt(atimeLow))
            throw new TypeError('fuse-native keeps times elsewhere');
          files.utimens(path, atimeMs, mtimeMs);
        }),
      );
    }

    _op_create(signal: Signal, path: ByteString, mode: number): void {
      signal(done((files) => files.create(path, mode)));
    }

    _op_mknod(signal: Signal, path: ByteString, mode: number, rdev: number): void {
      signal(done((files) => files.create(path, mode, rdev)));
    }

    _op_mkdir(signal: Signal, path: ByteString, mode: number): void {
      signal(done((files) => files.mkdir(path, mode)));
    }

    _op_symlink(signal: Signal, target: ByteString, path: ByteString): void {
      signal(done((files) => files.symlink(target, path)));
    }

    _op_link(signal: Signal, from: ByteString, to: ByteString): void {
      signal(done((files) => files.link(from, to)));
    }

    _op_unlink(signal: Signal, path: ByteString): void {
      signal(done((files) => files.unlink(path)));
    }

    _op_rmdir(signal: Signal, path: ByteString): void {
      signal(done((files) => files.rmdir(path)));
    }

    _op_rename(signal: Signal, from: ByteString, to: ByteString): void {
      signal(done((files) => files.rename(from, to)));
    }

    _op_chmod(signal: Signal, path: ByteString, mode: number): void {
      signal(done((files) => files.chmod(path, mode)));
    }

    _op_chown(signal: Signal, path: ByteString, uid: number, gid: number): void {
      signal(done((files) => files.chown(path, uid === NO_ID ? -1 : uid, gid === NO_ID ? -1 : gid)));
    }

    _op_truncate(signal: Signal, path: ByteString, low: number, high: number): void {
      signal(done((files) => files.truncate(path, high * 2 ** 32 + low)));
    }

    _op_write(signal: Signal, path: ByteString, _fh: number, buffer: Buffer, ...rest: number[]): void {
      const [, low = 0, high = 0] = rest;
      const count = guarded(() => writable!.write(path, buffer, high * 2 ** 32 + low));
      signal(count, count, buffer.buffer);
    }

    _op_fsync(signal: Signal, path: ByteString, dataOnly: number): void {
      signal(done((files) => files.fsync(path, dataOnly !== 0)));
    }

    _op_fsyncdir(signal: Signal, path: ByteString, dataOnly: number): void {
      signal(done((files) => files.fsync(path, dataOnly !== 0)));
    }

    _op_setxattr(
      signal: Signal,
      path: ByteString,
      name: string,
      value: Buffer,
      _position: number,
      flags: number,
    ): void {
      signal(
        done((files) => files.setxattr(path, name, value, flags)),
        value.buffer,
      );
    }

    _op_removexattr(signal: Signal, path: ByteString, name: string): void {
      signal(done((files) => files.removexattr(path, name)));
    }
  }

  /** Makes a change; -> 0 or a negative errno. */
  function done(change: (files: WritableFilesystem) => void): number {
    return guarded(() => {
      change(writable!);
      return 0;
    });
  }

  /** An exception must not leave a request without an answer: whoever asked would wait for ever. */
  function guarded<T>(answer: () => T): T | number {
    try {
      return answer();
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== undefined) return errno;
      report(error);
      return EIO;
    } finally {
      writable?.settle();
    }
  }

  const names = [...READ_OPERATIONS, ...(writable === undefined ? [] : WRITE_OPERATIONS)];
  const implemented = Object.fromEntries(names.map((name) => [name, () => {}]));
  const fuse = new ImageFuse(mountpoint, implemented, { timeout: false });
  return new Promise((resolve, reject) => {
    fuse.open((error) => (error === null ? resolve() : reject(error)));
  });
}

const NO_STAT = new Uint32Array(18);
