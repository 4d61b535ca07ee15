/**
 * What became of a container that was started: `state.jsonl` in its directory, one line for each event, of which the last start counts.
 * Lines are only ever added, so that whoever holds the file open learns the end also of a container that is removed with it. What is recorded is
 * held against the processes that are there: a container runs while its first process does.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import type { ContainerStore } from '../container/store.js';
import { fromSystemError } from '../errors.js';
import { processStart } from '../mount/table.js';
import type { ContainerPlace } from '../container/store.js';
import { bundleOwner, isOwned } from './bundle.js';

export type StateEvent =
  /** Its first process runs. `pidStart` as /proc says. */
  | { event: 'start'; at: string; pid: number; pidStart: string; runtime: string }
  /** It has ended; native/monitor writes this line as well. */
  | { event: 'exit'; at: string; exitCode: number }
  /** Nothing of it is left. */
  | { event: 'end'; at: string }
  /** It could not be started. */
  | { event: 'failed'; at: string; exitCode: number; error: string };

export interface ContainerState {
  status: 'created' | 'running' | 'exited';
  /** Of the host's; 0 unless it runs. */
  pid: number;
  exitCode: number;
  error: string;
  /** ISO 8601. */
  startedAt: string | undefined;
  finishedAt: string | undefined;
  /** Path of the runtime that runs it. */
  runtime: string | undefined;
  /** Somebody still has it mounted, or is taking it down. */
  isHeld: boolean;
}

export const STATE_FILE = 'state.jsonl';

/** What docker says of a container whose end nobody saw. */
const UNKNOWN_EXIT = 255;

/** Forgets what was before. */
export function recordStart(store: ContainerStore, record: ContainerPlace, event: StateEvent): void {
  const file = store.fileOf(record, STATE_FILE);
  try {
    writeFileSync(file, line(event), { mode: 0o600 });
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

/** Says nothing where the container has been removed meanwhile. */
export function recordEvent(store: ContainerStore, record: ContainerPlace, event: StateEvent): void {
  const file = store.fileOf(record, STATE_FILE);
  try {
    appendFileSync(file, line(event), { mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw fromSystemError(error, 'cannot write', file);
  }
}

export function containerState(store: ContainerStore, record: ContainerPlace): ContainerState {
  let text = '';
  try {
    text = readFileSync(store.fileOf(record, STATE_FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw fromSystemError(error, 'cannot read', store.fileOf(record, STATE_FILE));
  }
  return stateOf(text, record.id);
}

/** @param text of the file */
export function stateOf(text: string, id: string): ContainerState {
  const state: ContainerState = {
    status: 'created',
    pid: 0,
    exitCode: 0,
    error: '',
    startedAt: undefined,
    finishedAt: undefined,
    runtime: undefined,
    isHeld: false,
  };
  let start: Extract<StateEvent, { event: 'start' }> | undefined;
  let exit: Extract<StateEvent, { event: 'exit' }> | undefined;
  let isOver = false;
  for (const event of parse(text)) {
    if (event.event === 'start') [start, exit, isOver] = [event, undefined, false];
    else if (event.event === 'exit') exit = event;
    else if (event.event === 'end') isOver = true;
    else Object.assign(state, { exitCode: event.exitCode, error: event.error });
  }
  const owner = isOver ? undefined : bundleOwner(id);
  state.isHeld = owner !== undefined && isOwned(owner);
  if (start === undefined) return state;
  Object.assign(state, { startedAt: start.at, runtime: start.runtime });
  const isAlive = processStart(start.pid) === start.pidStart;
  if (exit === undefined && !isOver && (isAlive || state.isHeld))
    return { ...state, status: 'running', pid: isAlive ? start.pid : 0 };
  return {
    ...state,
    status: 'exited',
    exitCode: exit?.exitCode ?? UNKNOWN_EXIT,
    finishedAt: exit?.at ?? start.at,
  };
}

function parse(text: string): StateEvent[] {
  return text.split('\n').flatMap((each) => {
    try {
      return each === '' ? [] : [JSON.parse(each) as StateEvent];
    } catch {
      // The power went while it was written.
      return [];
    }
  });
}

function line(event: StateEvent): string {
  return `${JSON.stringify(event)}\n`;
}

export function now(): string {
  return new Date().toISOString();
}
