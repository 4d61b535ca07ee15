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
import type { PortableFilesystem } from './fuse-native-filesystem.js';

/** Ends a request: a negative errno or a length, then what the operation returns. */
type Signal = (result: number, ...returned: unknown[]) => void;

/** What is used of fuse-native's class: `open` mounts, the `_op_` methods answer, `_fuseOptions` gives the argument of libfuse. */
interface FuseNative {
  open(done: (error: Error | null) => void): void;
}

type FuseNativeClass = new (
  mountpoint: string,
  operations: Record<string, () => void>,
  options: { timeout: false },
) => FuseNative;

/** The operations that libfuse is to call; it answers the others with ENOSYS, and the kernel writes with EROFS. */
const OPERATIONS = ['getattr', 'readdir', 'readlink', 'read', 'getxattr', 'listxattr', 'statfs'];

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

/** The options of libfuse 2.9 (its lib/fuse.c and lib/mount.c) for a mount that never changes. */
export function libfuseOptions(words: readonly string[], fsname: string): string {
  const escaped = fsname.replace(/[\\,]/g, '\\$&');
  return [
    ...words,
    'default_permissions',
    'use_ino',
    'kernel_cache',
    `entry_timeout=${FOR_EVER}`,
    `negative_timeout=${FOR_EVER}`,
    `attr_timeout=${FOR_EVER}`,
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
 * @param options as libfuseOptions gives them
 * @param report  told of what went wrong within a request, which is answered with EIO
 */
export function mountFuseNative(
  fuseNative: FuseNativeClass,
  mountpoint: string,
  options: string,
  filesystem: PortableFilesystem,
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
      signal(
        0,
        guarded(() => filesystem.statfs()),
      );
    }
  }

  /** An exception must not leave a request without an answer: whoever asked would wait for ever. */
  function guarded<T>(answer: () => T): T | typeof EIO {
    try {
      return answer();
    } catch (error) {
      report(error);
      return EIO;
    }
  }

  const implemented = Object.fromEntries(OPERATIONS.map((name) => [name, () => {}]));
  const fuse = new ImageFuse(mountpoint, implemented, { timeout: false });
  return new Promise((resolve, reject) => {
    fuse.open((error) => (error === null ? resolve() : reject(error)));
  });
}

const NO_STAT = new Uint32Array(18);
