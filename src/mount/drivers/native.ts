/**
 * Starts `lamina-fuse serve` for a merged TOC and waits until it serves. What crosses: inherited file descriptors (TOC,
 * layer data, counters, a control pipe) and checked options; one line comes back (native/main.cc, Control).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { fromSystemError, LaminaError } from '../../errors.js';
import type { ErrorCode } from '../../errors.js';
import type { ByteSource } from '../../tar/source.js';
import type { MountOptions } from '../options.js';
import { openTocFile } from '../toc-file.js';
import { kernelOptions } from '../options.js';

/** A container's own layer, in overlayfs's format. */
export interface WritableLayer {
  /** What it is called in a message. */
  what: 'the container' | 'the upper directory' | 'the build step';
  upperDirectory: string;
  workDirectory: string;
  /** Its attributes are `user.overlay.*`. */
  userXattrs: boolean;
}

/** Layers that are still on their way (native/overlay/arrivals.h). */
export interface LazyServer {
  maps: readonly { source: number; fd: number }[];
  timeoutMs: number;
  /** Where the fetcher listens. */
  socket: string;
  /** The command line of the fetcher. */
  fetcher: readonly string[];
}

export interface ServerJob {
  lazy?: LazyServer;
  mountpoint: string;
  tocPath: string;
  /** Uncompressed tar of each layer, bottom to top. */
  sources: readonly ByteSource[];
  /** Shown as the source of the mount in /proc/self/mountinfo. */
  fsname: string;
  options: MountOptions;
  /** What the server prints goes here; its counters lie there. */
  logFile: string;
  statsFile: string;
  /** Where the server of what can be written makes the socket by which its changes are held; another process may. */
  holdSocket?: string;
  /** Read-only directories above the image, bottom to top. */
  lowerDirectories: readonly string[];
  /** Above all these; also where the mount is read-only. */
  writable?: WritableLayer;
  /** An empty directory for the image, where kernel overlayfs is to lie over it; the server removes it. */
  imageDirectory?: string;
  /** Removed by the server when the mount ends. */
  removeAtEnd: readonly string[];
}

/** A server that answered `ready`. The process ends when the mount does. */
export interface RunningServer {
  pid: number;
  process: ChildProcess;
}

const READY_TIMEOUT_MS = 30_000;
/** Descriptors 0-2 are the standard ones; the first of ours. */
const FIRST_FD = 3;

/** What a failed step means to a person. */
const STEPS: Record<string, { code: ErrorCode; what: string; hint?: string }> = {
  options: { code: 'EUSAGE', what: 'the server refused the mount options' },
  toc: { code: 'EBADTOC', what: 'the server refused the TOC' },
  source: { code: 'EIO', what: 'the server cannot read the layers' },
  'fuse-device': {
    code: 'ENOFUSE',
    what: 'cannot open /dev/fuse',
    hint: 'Load the fuse module (modprobe fuse); in a container, give it the device (--device /dev/fuse).',
  },
  mount: { code: 'EMOUNT', what: 'mount(2) failed' },
  overlay: {
    code: 'EDRIVER',
    what: 'kernel overlayfs cannot be used here',
    hint: 'Leave out --driver: the native server then does what overlayfs would.',
  },
  upper: { code: 'EMOUNT', what: 'the server cannot use the directories' },
  init: {
    code: 'ENOFUSE',
    what: 'the kernel and the server do not agree',
    hint: 'The native server needs Linux 5.1 or later; use --driver fuse-native.',
  },
  fork: { code: 'EMOUNT', what: 'the server could not be started' },
  fusermount: {
    code: 'ENOFUSE',
    what: 'fusermount3 failed',
    hint: 'Install fuse3; for --allow-other put user_allow_other into /etc/fuse.conf; or run as root.',
  },
};

/** Starts a server for `job`, detached from the terminal. Raises EMOUNT, ENOFUSE, EBADTOC, EPERM; nothing is mounted then. */
export async function startNative(binary: string, job: ServerJob): Promise<RunningServer> {
  const tocFd = openTocFile(job.tocPath);
  const logFd = openSync(job.logFile, 'w', 0o600);
  const statsFd = openSync(job.statsFile, 'w+', 0o600);
  const layerFds: number[] = [];
  try {
    const { writable, lowerDirectories } = job;
    const own = writable === undefined ? [] : [writable.upperDirectory, writable.workDirectory];
    for (const directory of [...own, ...lowerDirectories]) layerFds.push(openDirectory(directory));
    // One inherited descriptor for each open file, however many layers lie in it.
    const files = [...new Set([...job.sources, ...(job.lazy?.maps ?? [])].map(({ fd }) => fd))];
    const firstFile = FIRST_FD + 3 + layerFds.length;
    const inheritedFd = (fd: number): number => firstFile + files.indexOf(fd);
    const args = [
      'serve',
      '--toc-fd',
      String(FIRST_FD),
      '--control-fd',
      String(FIRST_FD + 1),
      '--stats-fd',
      String(FIRST_FD + 2),
    ];
    for (const { fd, offset, sizeBytes } of job.sources)
      args.push('--source', `${inheritedFd(fd)}:${offset}:${sizeBytes}`);
    if (job.lazy !== undefined) {
      const { maps, socket, timeoutMs, fetcher } = job.lazy;
      for (const { source, fd } of maps) args.push('--presence-map', `${source}:${inheritedFd(fd)}`);
      args.push('--fetcher-socket', socket, '--fetch-timeout', String(timeoutMs));
      for (const argument of fetcher) args.push('--fetcher', argument);
    }
    if (writable !== undefined) {
      args.push('--upper-fd', String(FIRST_FD + 3), '--work-fd', String(FIRST_FD + 4));
      if (writable.userXattrs) args.push('--userxattr');
      if (job.holdSocket !== undefined) args.push('--hold-socket', job.holdSocket);
    }
    lowerDirectories.forEach((_, index) =>
      args.push('--lower-fd', String(FIRST_FD + 3 + own.length + index)),
    );
    for (const file of job.removeAtEnd) args.push('--remove', file);
    args.push('--fsname', job.fsname, '--options', kernelOptions(job.options));
    if (!job.options.uring) args.push('--no-uring');
    if (job.options.passthrough !== undefined)
      args.push(job.options.passthrough ? '--passthrough' : '--no-passthrough');
    if (job.imageDirectory !== undefined) args.push('--kernel-union', job.imageDirectory);
    if (job.options.threads > 0) args.push('--threads', String(job.options.threads));
    args.push(job.mountpoint);
    const child = spawn(binary, args, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', logFd, tocFd, 'pipe', statsFd, ...layerFds, ...files],
    });
    const line = await firstLine(child);
    (child.stdio[FIRST_FD + 1] as Readable).destroy();
    if (line?.startsWith('ready ')) return { pid: child.pid!, process: child };
    child.kill('SIGKILL');
    throw startError(line, job);
  } finally {
    for (const fd of [tocFd, logFd, statsFd, ...layerFds]) closeSync(fd);
  }
}

/** Raises ENOENT, ENOTDIR, EACCES. */
function openDirectory(directory: string): number {
  try {
    return openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw fromSystemError(error, 'cannot use the layer', directory);
  }
}

/** The control line; undefined when the server ended, or kept silent, without one. */
async function firstLine(child: ChildProcess): Promise<string | undefined> {
  const control = child.stdio[FIRST_FD + 1] as Readable;
  let text = '';
  const read = new Promise<string | undefined>((resolve, reject) => {
    control.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    control.on('end', () => resolve(undefined)).on('error', () => resolve(undefined));
    child.on('error', (error) =>
      reject(
        new LaminaError('ENOSERVER', `cannot run the native server: ${error.message}`, { cause: error }),
      ),
    );
  });
  const timer = new AbortController();
  try {
    return await Promise.race([read, setTimeout(READY_TIMEOUT_MS, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

/** Of what can be written there is one mount at a time. */
export function inUse({ mountpoint, writable }: ServerJob): LaminaError {
  return new LaminaError('EINUSE', `cannot mount ${mountpoint}: ${writable!.what} is mounted already`, {
    path: mountpoint,
  });
}

/** `failed step=STEP errno=N message` -> the error that a person reads. */
function startError(line: string | undefined, job: ServerJob): LaminaError {
  const match = /^failed step=(\S+) errno=(\d+) ?(.*)$/.exec(line ?? '');
  if (match === null) {
    const log = readFileSync(job.logFile, 'utf8').trim().split('\n').slice(-3).join(' / ');
    return new LaminaError(
      'EMOUNT',
      `cannot mount ${job.mountpoint}: the server ended without a word${log === '' ? '' : `: ${log}`}`,
      {
        path: job.mountpoint,
      },
    );
  }
  const [, step, errno, message] = match as unknown as [string, string, string, string];
  // The server holds a lock on the work directory for as long as it runs.
  if (step === 'upper' && errno === '16') return inUse(job);
  const meaning = STEPS[step] ?? { code: 'EMOUNT' as const, what: `the server failed at "${step}"` };
  const code = errno === '1' && step === 'mount' ? 'EPERM' : meaning.code;
  return new LaminaError(
    code,
    `cannot mount ${job.mountpoint}: ${meaning.what}: ${message} (errno ${errno})`,
    {
      path: job.mountpoint,
      ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
    },
  );
}
