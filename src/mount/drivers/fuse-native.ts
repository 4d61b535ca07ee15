/**
 * Starts the portable driver: a Node process that serves the merged TOC through the package `fuse-native`, for hosts where
 * `lamina-fuse` cannot run. What crosses: inherited descriptors and one JSON argument (fuse-native-server.ts, ServerOrder); one message comes back.
 * What it cannot do is listed in fuse-native-limits.ts.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { packageFile } from '../../package-files.js';
import { LaminaError } from '../../errors.js';
import type { ErrorCode } from '../../errors.js';
import { kernelOptions } from '../options.js';
import { openTocFile } from '../toc-file.js';
import type { ServerAnswer, ServerOrder } from './fuse-native-server.js';
import { inUse } from './native.js';
import type { RunningServer, ServerJob } from './native.js';

const READY_TIMEOUT_MS = 30_000;
/** Descriptors 0-2 are the standard ones and 3 is the IPC channel; the first of ours. */
const FIRST_FD = 4;

/** What a failed step means to a person. */
const STEPS: Record<string, { code: ErrorCode; what: string; hint?: string }> = {
  load: {
    code: 'EDRIVER',
    what: 'the portable driver needs the package fuse-native, which cannot be loaded',
    hint: 'Install it (npm install fuse-native; it has to be built where it has no prebuilt binary), or use --driver native.',
  },
  xattrs: {
    code: 'EDRIVER',
    what: 'the portable driver needs the package fs-xattr for containers, which cannot be loaded',
    hint: 'Install it (npm install fs-xattr; it is built with a C compiler), or use --driver native.',
  },
  upper: { code: 'EMOUNT', what: 'the portable driver cannot use the layer of the container' },
  toc: { code: 'EBADTOC', what: 'the portable driver refused the TOC' },
  'fuse-device': {
    code: 'ENOFUSE',
    what: 'cannot open /dev/fuse',
    hint: 'Load the fuse module (modprobe fuse); in a container, give it the device (--device /dev/fuse).',
  },
  mount: {
    code: 'EDRIVER',
    what: 'libfuse 2.9 cannot mount',
    hint: 'Without root it needs a command "fusermount" (package fuse3 or fuse); see also --driver native.',
  },
};

/** Starts a server for `job`, detached from the terminal. Raises EDRIVER, ENOFUSE, EBADTOC, EMOUNT; nothing is mounted then. */
export async function startFuseNative(job: ServerJob): Promise<RunningServer> {
  if (process.platform !== 'linux') {
    throw new LaminaError('EDRIVER', `the portable driver serves Linux only, not ${process.platform}`, {
      hint: 'Read the image without a mount: lamina fs --help.',
    });
  }
  const tocFd = openTocFile(job.tocPath);
  const logFd = openSync(job.logFile, 'w', 0o600);
  const layerFds: number[] = [];
  try {
    const { writable } = job;
    for (const directory of writable === undefined ? [] : [writable.upperDirectory, writable.workDirectory])
      layerFds.push(openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY));
    const files = [...new Set(job.sources.map(({ fd }) => fd))];
    const firstFile = FIRST_FD + 1 + layerFds.length;
    const order: ServerOrder = {
      mountpoint: job.mountpoint,
      tocFd: FIRST_FD,
      tocName: job.tocPath,
      sources: job.sources.map(({ fd, offset, sizeBytes, name }) => ({
        fd: firstFile + files.indexOf(fd),
        offset,
        sizeBytes,
        name,
      })),
      options: kernelOptions(job.options).split(','),
      fsname: job.fsname,
      ...(writable === undefined
        ? {}
        : {
            writable: {
              upperFd: FIRST_FD + 1,
              workFd: FIRST_FD + 2,
              userXattrs: writable.userXattrs,
            },
          }),
      removeAtEnd: [...job.removeAtEnd],
    };
    const server = packageFile('dist/mount/drivers/fuse-native-server.js');
    const child = spawn(process.execPath, [server, JSON.stringify(order)], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', logFd, 'ipc', tocFd, ...layerFds, ...files],
    });
    const answer = await firstAnswer(child);
    if (child.connected) child.disconnect();
    if (answer?.ready) return { pid: child.pid!, process: child };
    await ended(child);
    throw startError(answer, job);
  } finally {
    for (const fd of [tocFd, logFd, ...layerFds]) closeSync(fd);
  }
}

/** undefined when the server ended, or kept silent, without one. */
async function firstAnswer(child: ChildProcess): Promise<ServerAnswer | undefined> {
  const answered = new Promise<ServerAnswer | undefined>((resolve, reject) => {
    child.once('message', (message) => resolve(message as ServerAnswer));
    child.once('exit', () => resolve(undefined));
    child.once('error', (error) =>
      reject(
        new LaminaError('EDRIVER', `cannot run the portable driver: ${error.message}`, { cause: error }),
      ),
    );
  });
  const timer = new AbortController();
  try {
    return await Promise.race([answered, setTimeout(READY_TIMEOUT_MS, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

/** Kills it. It may hold the lock of a container, which the caller wants to remove. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}

function startError(answer: ServerAnswer | undefined, job: ServerJob): LaminaError {
  const log = readFileSync(job.logFile, 'utf8').trim().split('\n').slice(-3).join(' / ');
  const printed = log === '' ? '' : ` (${log})`;
  const failed = answer === undefined || answer.ready ? undefined : answer;
  // The server holds a lock on the work directory for as long as it runs.
  if (failed?.step === 'lock') return inUse(job);
  const meaning = STEPS[failed?.step ?? ''] ?? { code: 'EMOUNT', what: 'the portable driver failed' };
  return new LaminaError(
    meaning.code,
    `cannot mount ${job.mountpoint}: ${meaning.what}: ${failed?.message ?? 'it ended without a word'}${printed}`,
    {
      path: job.mountpoint,
      ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
    },
  );
}
