/**
 * A container that runs on its own: `run -d`, `start`. A small native process (native/monitor) stays with it, keeps what it prints and records its
 * end; then it becomes the program that takes the container down (finish-main.ts).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { LaminaError } from '../errors.js';
import { processStart } from '../mount/table.js';
import { packageFile } from '../package-files.js';
import { serverBinary } from '../server-binary.js';
import { giveBundle } from './bundle.js';
import { deleteContainer, logFormat, runtimeError, startFailure, writeSpec } from './execute.js';
import { LOG_FILE } from './log.js';
import { finishContainer, recordFailure } from './prepare.js';
import type { PreparedContainer } from './prepare.js';
import { STATE_FILE } from './state.js';

/** Descriptor of the monitor by which it is told to begin, and tells what became of it. */
const CONTROL_FD = 3;

/**
 * Starts it; returns when its process runs. Nothing of it is left when it raises ENOCOMMAND, ENOTEXECUTABLE, ERUNTIME, ENOSERVER.
 */
export async function runDetached(prepared: PreparedContainer): Promise<void> {
  const { store, record, runtime, bundle, spec, settings } = prepared;
  writeSpec(bundle, spec);
  const inBundle = (name: string): string => path.join(bundle.directory, name);
  const log = inBundle('runtime.log');
  const words = [
    ...runtime.command,
    ...['--log', log, ...logFormat(runtime), 'run', '--detach', '--bundle', bundle.directory],
    ...[
      '--pid-file',
      inBundle('pid'),
      ...(settings.tty ? ['--console-socket', 'console.sock'] : []),
      bundle.id,
    ],
  ];
  const atEnd = [
    process.execPath,
    packageFile('dist/runtime/finish-main.js'),
    path.dirname(store.directory),
    record.id,
  ];
  const monitor = [
    'monitor',
    ...['--control-fd', String(CONTROL_FD), '--directory', bundle.directory],
    ...['--log', store.fileOf(record, LOG_FILE), '--state', store.fileOf(record, STATE_FILE)],
    ...['--pid-file', inBundle('pid'), '--runtime-path', runtime.path],
    ...(settings.tty ? ['--tty'] : []),
    ...(settings.openStdin ? ['--open-stdin'] : []),
    ...['--runtime', String(words.length), ...words, '--at-end', String(atEnd.length), ...atEnd],
  ];
  try {
    const child = spawn(serverBinary(), monitor, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const said = await begin(prepared, child);
    if (said.startsWith('started ')) {
      (child.stdio[CONTROL_FD] as Duplex).destroy();
      child.unref();
      return;
    }
    const failure = startFailure(log);
    const what = failure ?? `it ended with status ${said.replace(/^failed /, '').trim() || 'unknown'}`;
    throw runtimeError(what, runtime, record.command[0] ?? '');
  } catch (error) {
    deleteContainer(runtime, bundle.id);
    recordFailure(store, record, error);
    await finishContainer(store, record, undefined);
    throw error;
  }
}

/** Gives the bundle to the monitor, so that it is its from before anything runs, and waits for its word. */
function begin({ bundle, runtime, record }: PreparedContainer, child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(new LaminaError('ENOSERVER', `cannot run the native server: ${cause.message}`, { cause })),
    );
    if (child.pid === undefined) return;
    const control = child.stdio[CONTROL_FD] as Duplex;
    let text = '';
    control.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n')) resolve(text);
    });
    control.on('error', () => {}).on('close', () => resolve(text));
    const owner = { pid: child.pid, pidStart: processStart(child.pid) ?? '', runtime: runtime.path };
    giveBundle(bundle, { ...owner, container: record.id });
    control.write('g');
  });
}
