/**
 * The process that serves a mount of the portable driver. Started by fuse-native.ts with one argument, a ServerOrder as
 * JSON, and the descriptors that the order names; it answers with one ServerAnswer over Node's IPC channel and ends when the mount does.
 * The rule it guards: nothing here touches the mount, since a system call on it would wait for this very thread.
 */
import { execFile } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { TocReader } from '../../merge/toc-reader.js';
import { ImageView } from '../../merge/view.js';
import { libfuseOptions, loadFuseNative, mountFuseNative } from './fuse-native-binding.js';
import { PortableFilesystem } from './fuse-native-filesystem.js';

export interface ServerOrder {
  mountpoint: string;
  /** Descriptor of the merged TOC. */
  tocFd: number;
  tocName: string;
  /** Uncompressed tar of each layer, bottom to top. */
  sources: { fd: number; offset: number; sizeBytes: number; name: string }[];
  /** mount(8)'s words. */
  options: string[];
  fsname: string;
  removeAtEnd: string[];
}

/** `ready`, or the step that failed: load, toc, fuse-device or mount. */
export type ServerAnswer = { ready: true } | { ready: false; step: string; message: string };

const CHECK_INTERVAL_MS = 200;
const MAX_REPORTS = 100;

async function serve(order: ServerOrder): Promise<void> {
  const fuseNative = step('load', loadFuseNative);
  const filesystem = step('toc', () => {
    const toc = new TocReader(readFileSync(order.tocFd), order.tocName);
    return new PortableFilesystem(new ImageView(toc, order.sources));
  });
  // libfuse says only "failed" when it cannot open the device.
  step('fuse-device', () => closeSync(openSync('/dev/fuse', 'r+')));
  const options = libfuseOptions(order.options, order.fsname);
  try {
    await mountFuseNative(fuseNative, order.mountpoint, options, filesystem, report);
  } catch (error) {
    throw new StepError('mount', error);
  }
  const ended = whenConnectionEnds();
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => void unmount(order.mountpoint));
  // A terminal that closes is no reason to leave a dead mount behind.
  process.on('SIGHUP', () => {});
  answer({ ready: true });
  await ended;
}

class StepError extends Error {
  constructor(
    readonly step: string,
    cause: unknown,
  ) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function step<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new StepError(name, error);
  }
}

function answer(message: ServerAnswer): void {
  process.send?.(message, () => process.disconnect());
}

/**
 * libfuse closes its /dev/fuse when the kernel ends the connection: after the unmount, or after the last close where
 * that was lazy. fuse-native has no event for it.
 */
function whenConnectionEnds(): Promise<void> {
  const fd = connection();
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (fd !== undefined && isFuseDevice(fd)) return;
      clearInterval(timer);
      resolve();
    }, CHECK_INTERVAL_MS);
  });
}

function connection(): string | undefined {
  return readdirSync('/proc/self/fd').find(isFuseDevice);
}

function isFuseDevice(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}

/** Plainly, and if something is open below it lazily: it is then served until that is closed. */
async function unmount(mountpoint: string): Promise<void> {
  const commands =
    process.getuid?.() === 0
      ? [
          ['umount', '--'],
          ['umount', '-l', '--'],
        ]
      : [
          ['fusermount3', '-u', '--'],
          ['fusermount', '-u', '--'],
          ['fusermount3', '-u', '-z', '--'],
          ['fusermount', '-u', '-z', '--'],
        ];
  for (const [command, ...args] of commands) {
    try {
      await promisify(execFile)(command!, [...args, mountpoint]);
      return;
    } catch {
      // The next one is tried; when none succeeds the mount goes on, and the signal can be sent again.
    }
  }
}

let reports = 0;

function report(error: unknown): void {
  if (reports++ < MAX_REPORTS) process.stderr.write(`lamina: request failed: ${String(error)}\n`);
}

const order = JSON.parse(process.argv[2] ?? '') as ServerOrder;
try {
  await serve(order);
  for (const file of order.removeAtEnd) rmSync(file, { force: true });
  // Threads of libfuse may still hold the event loop.
  process.exit(0);
} catch (error) {
  const failed = error instanceof StepError ? error : new StepError('serve', error);
  // libfuse mounts before it checks all of its options.
  if (connection() !== undefined) await unmount(order.mountpoint);
  const message: ServerAnswer = { ready: false, step: failed.step, message: failed.message };
  await new Promise((sent) => process.send?.(message, sent));
  // What the server printed is part of the error: whoever started it removes the files.
  process.exit(1);
}
