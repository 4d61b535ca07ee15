/** Ends, and waiting for ends, of containers that run. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import type { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import type { ContainerRecord } from '../store/container-record.js';
import { bundleOwner, isOwned } from './bundle.js';
import { finishOrphan } from './prepare.js';
import { signalNumber } from './signals.js';
import { containerState, STATE_FILE, stateOf } from './state.js';
import { orphanedBundles } from './sweep.js';

const POLL_MS = 20;
const DEFAULT_STOP_SEC = 10;
/** How long what is left of a container may take to go when nothing of it can run any more. */
const ENDING_MS = 15_000;

/** Raises ENOTRUNNING, EUSAGE. */
export function killContainer(store: ContainerStore, record: ContainerRecord, signal: string): void {
  const number = signalNumber(signal);
  const { pid, status } = containerState(store, record);
  if (status !== 'running' || pid === 0)
    throw new LaminaError(
      'ENOTRUNNING',
      `cannot kill container: ${record.name}: container ${record.id} is not running`,
    );
  sendSignal(pid, number);
}

/**
 * Sends the stop signal, and after `timeoutSec` seconds SIGKILL (negative: never); returns when nothing of the container is left. One that does not
 * run is left as it is.
 */
export async function stopContainer(
  store: ContainerStore,
  record: ContainerRecord,
  { timeoutSec, signal }: { timeoutSec?: number; signal?: string } = {},
): Promise<void> {
  const { pid, status } = containerState(store, record);
  const seconds = timeoutSec ?? record.settings?.stopTimeoutSec ?? DEFAULT_STOP_SEC;
  if (status === 'running' && pid !== 0) {
    sendSignal(pid, signalNumber(signal ?? record.settings?.stopSignal ?? 'TERM'));
    const isGone = await untilOver(store, record, seconds < 0 ? Infinity : seconds * 1000);
    if (!isGone) sendSignal(containerState(store, record).pid, 9);
  }
  await untilGone(store, record);
}

/** Ends it at once, also where nobody looks after it any more. */
export async function forceStop(store: ContainerStore, record: ContainerRecord): Promise<void> {
  const { pid } = containerState(store, record);
  if (pid !== 0) sendSignal(pid, 9);
  await untilGone(store, record);
}

/** Waits for whoever takes the container down, and does it where there is nobody. Raises EINUSE when it does not end. */
export async function untilGone(store: ContainerStore, record: ContainerRecord): Promise<void> {
  for (let waitedMs = 0; waitedMs < ENDING_MS; waitedMs += POLL_MS) {
    const owner = bundleOwner(record.id);
    if (owner === undefined) return;
    if (!isOwned(owner)) {
      const orphan = orphanedBundles().find(({ name }) => name === record.id);
      return orphan === undefined ? undefined : finishOrphan(store, orphan);
    }
    const { pid, status } = containerState(store, record);
    if (status === 'running' && pid !== 0) waitedMs = Math.min(waitedMs, ENDING_MS / 2);
    await setTimeout(POLL_MS);
  }
  throw new LaminaError('EINUSE', `container ${record.name} does not end`, {
    hint: 'Look at its processes; lamina system check --repair takes away what nobody looks after.',
  });
}

/** Whether it has ended within that time. */
async function untilOver(store: ContainerStore, record: ContainerRecord, limitMs: number): Promise<boolean> {
  const until = Date.now() + limitMs;
  while (containerState(store, record).status === 'running') {
    if (Date.now() >= until) return false;
    await setTimeout(POLL_MS);
  }
  return true;
}

/**
 * The exit status of a container once it does not run; 0 of one that never did. One that is removed at its end is followed by the file of
 * its state, which stays open.
 */
export async function waitForContainer(store: ContainerStore, record: ContainerRecord): Promise<number> {
  let fd: number;
  try {
    fd = openSync(store.fileOf(record, STATE_FILE), 'r');
  } catch {
    return 0;
  }
  try {
    for (;;) {
      const buffer = Buffer.alloc(fstatSync(fd).size);
      const count = readSync(fd, buffer, 0, buffer.length, 0);
      const { status, exitCode, isHeld } = stateOf(buffer.toString('utf8', 0, count), record.id);
      if (status !== 'running' && !isHeld) return exitCode;
      await setTimeout(POLL_MS);
    }
  } finally {
    closeSync(fd);
  }
}

function sendSignal(pid: number, signal: number): void {
  if (pid <= 0) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
