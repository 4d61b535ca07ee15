/**
 * The process that serves a mount of the portable driver. Started by fuse-native.ts with one argument, a ServerOrder as
 * JSON, and the descriptors that the order names; it answers with one ServerAnswer over Node's IPC channel and ends when the mount does.
 * The rule it guards: nothing here touches the mount, since a system call on it would wait for this very thread.
 */
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { TocReader } from '../../merge/toc-reader.js';
import { ImageView } from '../../merge/view.js';
import { libfuseOptions, loadFuseNative, mountFuseNative } from './fuse-native-binding.js';
import { PortableFilesystem } from './fuse-native-filesystem.js';
import { WritableFilesystem } from './portable/filesystem.js';
import { tryLock } from './portable/lock.js';
import { keepsOverrides, Upper } from './portable/upper.js';
import { loadXattrs, XattrNames } from './portable/xattrs.js';

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
  /** Descriptors of the directories of a container's own layer. */
  writable?: { upperFd: number; workFd: number; userXattrs: boolean };
  removeAtEnd: string[];
}

/** `ready`, or the step that failed: load, toc, xattrs, lock, upper, fuse-device or mount. */
export type ServerAnswer = { ready: true } | { ready: false; step: string; message: string };

const CHECK_INTERVAL_MS = 200;
const MAX_REPORTS = 100;

async function serve(order: ServerOrder, unmounter: Writable): Promise<void> {
  const fuseNative = step('load', loadFuseNative);
  const bytes = readFileSync(order.tocFd);
  const toc = step('toc', () => new TocReader(bytes, order.tocName));
  await toc.verifyChecksums().catch((error: unknown) => {
    throw new StepError('toc', error);
  });
  const view = new ImageView(toc, order.sources);
  const writable = order.writable === undefined ? undefined : await openUpper(order.writable, view, toc.key);
  const filesystem = writable ?? new PortableFilesystem(view);
  // libfuse says only "failed" when it cannot open the device.
  step('fuse-device', () => closeSync(openSync('/dev/fuse', 'r+')));
  const options = libfuseOptions(order.options, order.fsname, writable !== undefined);
  try {
    await mountFuseNative(fuseNative, order.mountpoint, options, filesystem, writable, report);
  } catch (error) {
    throw new StepError('mount', error);
  }
  const ended = whenConnectionEnds();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => unmounter.write('\n'));
  // A terminal that closes is no reason to leave a dead mount behind.
  process.on('SIGHUP', () => {});
  answer({ ready: true });
  await ended;
}

/** The upper is this process's alone from here on. */
async function openUpper(
  { upperFd, workFd, userXattrs }: NonNullable<ServerOrder['writable']>,
  view: ImageView,
  key: bigint,
): Promise<WritableFilesystem> {
  await loadXattrs().catch((error: unknown) => {
    throw new StepError('xattrs', error);
  });
  // Modes are the callers', whose umask the kernel has taken off.
  process.umask(0);
  return step('upper', () => {
    // One of our own, which the unmounter has not inherited: it would hold the lock for longer than this process lives.
    const lockedFd = openSync(`/proc/self/fd/${workFd}`, constants.O_RDONLY | constants.O_DIRECTORY);
    if (!tryLock(lockedFd)) throw new StepError('lock', 'another mount has it');
    const xattrs = new XattrNames(userXattrs ? 'user.overlay.' : 'trusted.overlay.');
    const overrides = keepsOverrides(upperFd);
    return new WritableFilesystem(
      new Upper({ upperFd, workFd: lockedFd, xattrs, overrides }),
      lockedFd,
      view,
      key,
    );
  });
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
    throw error instanceof StepError ? error : new StepError(name, error);
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

/**
 * The process that unmounts at each line it is sent: plainly, and if something is open below it lazily, to be served until that is
 * closed. libfuse opens /dev/fuse without O_CLOEXEC, and a child that holds it keeps the connection alive for which, when this process
 * is gone, it waits itself: it must be started before the mount is.
 */
function startUnmounter(mountpoint: string): Writable {
  const script =
    process.getuid?.() === 0
      ? 'umount -- "$1" || umount -l -- "$1"'
      : 'fusermount3 -u -- "$1" || fusermount -u -- "$1" || fusermount3 -uz -- "$1" || fusermount -uz -- "$1"';
  const child = spawn('/bin/sh', ['-c', `while read -r line; do ${script}; done`, 'sh', mountpoint], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without a shell a signal does nothing, and the mount can still be ended from outside.
  child.on('error', report);
  child.stdin.on('error', report);
  return child.stdin;
}

let reports = 0;

function report(error: unknown): void {
  if (reports++ < MAX_REPORTS) process.stderr.write(`lamina: request failed: ${String(error)}\n`);
}

const order = JSON.parse(process.argv[2] ?? '') as ServerOrder;
const unmounter = startUnmounter(order.mountpoint);
try {
  await serve(order, unmounter);
  for (const file of order.removeAtEnd) rmSync(file, { force: true });
  // Threads of libfuse may still hold the event loop.
  process.exit(0);
} catch (error) {
  const failed = error instanceof StepError ? error : new StepError('serve', error);
  // libfuse mounts before it checks all of its options. Nobody answers there: the unmount ends when this process does.
  if (connection() !== undefined) await new Promise((written) => unmounter.write('\n', written));
  const message: ServerAnswer = { ready: false, step: failed.step, message: failed.message };
  await new Promise((sent) => process.send?.(message, sent));
  // What the server printed is part of the error: whoever started it removes the files.
  process.exit(1);
}
