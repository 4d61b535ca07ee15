/**
 * A container with a terminal of its own, run for somebody who has none: `run -t` into a pipe. The monitor has the terminal, and what it
 * prints is shown as it comes.
 */
import { closeSync, openSync } from 'node:fs';
import { runDetached } from './detached.js';
import { LOG_FILE, readLog } from './log.js';
import type { PreparedContainer } from './prepare.js';
import { STATE_FILE } from './state.js';
import { killContainer, waitForContainer } from './stop.js';

/** Runs it to its end. @returns its exit status. Raises what `runDetached` raises. */
export async function runShown(prepared: PreparedContainer): Promise<number> {
  const { store, record } = prepared;
  // Both are held open: the container may be gone, with its files, before they are read.
  const files = [LOG_FILE, STATE_FILE].map((name) => openSync(store.fileOf(record, name), 'a', 0o600));
  const pass = (signal: NodeJS.Signals): void => {
    try {
      killContainer(store, record, signal);
    } catch {
      // It has just ended.
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
  for (const signal of signals) process.on(signal, pass);
  let isOver = false;
  const ended = waitForContainer(store, record).finally(() => (isOver = true));
  try {
    await runDetached(prepared);
    for await (const { text } of readLog(`/proc/self/fd/${files[0]!}`, () => isOver))
      process.stdout.write(text);
    return await ended;
  } finally {
    for (const signal of signals) process.off(signal, pass);
    await ended.catch(() => {});
    for (const fd of files) closeSync(fd);
  }
}
