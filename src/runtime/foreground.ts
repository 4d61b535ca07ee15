/** A container that is run by the command which waits for it: `run`, and `start` with `--attach`. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { processStart } from '../mount/table.js';
import { runForeground } from './execute.js';
import type { OutputTarget } from './execute.js';
import { LOG_FILE, LogWriter } from './log.js';
import { finishContainer, recordFailure } from './prepare.js';
import type { PreparedContainer } from './prepare.js';
import { now, recordStart } from './state.js';

export interface Attachment {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

const POLL_MS = 5;

/**
 * Runs it to its end and takes it down. Signals that this process gets go to the container.
 * @returns its exit status. Raises ENOCOMMAND, ENOTEXECUTABLE, ERUNTIME when it could not be started.
 */
export async function runAttached(prepared: PreparedContainer, attached: Attachment): Promise<number> {
  if (prepared.spec.process.terminal && !process.stdin.isTTY)
    return (await import('./shown.js')).runShown(prepared);
  const { store, record, runtime, bundle, spec } = prepared;
  const isTerminal = spec.process.terminal;
  const log = isTerminal ? undefined : new LogWriter(store.fileOf(record, LOG_FILE));
  const signals = new SignalProxy(isTerminal);
  let isOver = false;
  const stream = (name: 'stdout' | 'stderr'): OutputTarget =>
    isTerminal
      ? 'inherit'
      : (chunk) => {
          log?.write(name, chunk);
          if (attached[name]) process[name].write(chunk);
        };
  let status: number;
  try {
    const running = runForeground(runtime, bundle, spec, {
      // A terminal is a whole: the runtime reads its size from the input.
      stdin: attached.stdin || isTerminal ? 'inherit' : 'ignore',
      stdout: stream('stdout'),
      stderr: stream('stderr'),
      pidFile: path.join(bundle.directory, 'pid'),
    });
    const pid = untilStarted(path.join(bundle.directory, 'pid'), () => isOver).then((started) => {
      if (started === undefined) return;
      recordStart(store, record, {
        event: 'start',
        at: now(),
        pid: started,
        pidStart: processStart(started) ?? '',
        runtime: runtime.path,
      });
      signals.to(started);
    });
    status = await running.finally(() => (isOver = true));
    await pid;
  } catch (error) {
    recordFailure(store, record, error);
    await finishContainer(store, record, undefined);
    throw error;
  } finally {
    signals.end();
    log?.close();
  }
  await finishContainer(store, record, status);
  return status;
}

/** The process that the runtime names; undefined when it ends without one. */
async function untilStarted(file: string, isOver: () => boolean): Promise<number | undefined> {
  for (;;) {
    const over = isOver();
    if (existsSync(file)) {
      const pid = Number(readFileSync(file, 'utf8'));
      if (pid > 0) return pid;
    }
    if (over) return undefined;
    await setTimeout(POLL_MS);
  }
}

const PROXIED = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGWINCH',
] as const;
/** What a terminal sends to everybody in front of it; in a container's own terminal keys are bytes. */
const FROM_TERMINAL = new Set<string>(['SIGWINCH', 'SIGCONT']);

/** Passes signals on, from its making; those that come before there is a process are kept for it. */
class SignalProxy {
  #pid = 0;
  readonly #kept: NodeJS.Signals[] = [];
  readonly #handlers = new Map<NodeJS.Signals, () => void>();

  constructor(isTerminal: boolean) {
    for (const signal of PROXIED) {
      const handler = (): void => {
        if (isTerminal && FROM_TERMINAL.has(signal)) return;
        if (this.#pid === 0) this.#kept.push(signal);
        else send(this.#pid, signal);
      };
      this.#handlers.set(signal, handler);
      process.on(signal, handler);
    }
  }

  to(pid: number): void {
    this.#pid = pid;
    for (const signal of this.#kept.splice(0)) send(pid, signal);
  }

  end(): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}
