/** Runs a bundle in the foreground: the runtime's `run`, which waits for the process and ends with its status. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import type { Bundle } from './bundle.js';
import type { Runtime } from './find.js';
import type { OciSpec } from './spec.js';

/** `ignore`: /dev/null. `inherit`: this process's own. */
export type OutputTarget = 'inherit' | 'ignore' | ((chunk: Buffer) => void);

export interface Streams {
  /** Bytes are written, and then the end. */
  stdin: 'inherit' | 'ignore' | Buffer;
  stdout: OutputTarget;
  stderr: OutputTarget;
}

export interface ForegroundOptions extends Streams {
  /** Kills the process, and all that it started. */
  abort?: AbortSignal;
  /** The runtime writes the number of the process there as soon as it is. */
  pidFile?: string;
}

export function writeSpec({ directory }: Bundle, spec: OciSpec): void {
  writeFileSync(path.join(directory, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
}

/**
 * Resolves when the process has ended and its output has been read.
 * @returns its exit status; 128+n when signal n ended it
 * Raises ENOCOMMAND, ENOTEXECUTABLE and ERUNTIME when it never ran. Nothing of it is left then either.
 */
export async function runForeground(
  runtime: Runtime,
  bundle: Bundle,
  spec: OciSpec,
  options: ForegroundOptions,
): Promise<number> {
  writeSpec(bundle, spec);
  const log = path.join(bundle.directory, 'runtime.log');
  const [program = '', ...words] = [
    ...runtime.command,
    ...['--log', log, ...logFormat(runtime), 'run', '--bundle', bundle.directory],
    ...(options.pidFile === undefined ? [] : ['--pid-file', options.pidFile]),
    bundle.id,
  ];
  const { stdin, stdout, stderr } = options;
  const target = (output: OutputTarget): 'inherit' | 'ignore' | 'pipe' =>
    typeof output === 'string' ? output : 'pipe';
  const child = spawn(program, words, {
    // A terminal's own signals reach the runtime from us alone, so that none comes twice; a process with a terminal of its own needs ours.
    detached: !spec.process.terminal,
    stdio: [typeof stdin === 'string' ? stdin : 'pipe', target(stdout), target(stderr)],
  });
  if (typeof stdout === 'function') child.stdout!.on('data', stdout);
  if (typeof stderr === 'function') child.stderr!.on('data', stderr);
  // A process that does not read all of its input is no error.
  child.stdin?.on('error', () => {}).end(stdin);
  const kill = (): void => deleteContainer(runtime, bundle.id);
  options.abort?.addEventListener('abort', kill);
  try {
    const status = await untilClosed(child, runtime);
    if (options.abort?.aborted === true) kill();
    const failure = status === 0 ? undefined : startFailure(log);
    if (failure === undefined) return status;
    kill();
    throw runtimeError(failure, runtime, spec.process.args[0] ?? '');
  } finally {
    options.abort?.removeEventListener('abort', kill);
  }
}

function untilClosed(child: ChildProcess, runtime: Runtime): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(
        new LaminaError('ERUNTIME', `cannot run ${runtime.path}: ${cause.message}`, {
          path: runtime.path,
          cause,
        }),
      ),
    );
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
  });
}

/** Kills what is left of a container and forgets it. Says nothing when there is none. */
export function deleteContainer(runtime: Runtime, id: string): void {
  const [program = '', ...words] = [...runtime.command, 'delete', '--force', id];
  spawnSync(program, words, { stdio: 'ignore' });
}

/** As `deleteContainer`, where the runtime knows of one. */
export function deleteIfLeft(runtime: Runtime, id: string): void {
  if (existsSync(path.join(runtime.state, id))) deleteContainer(runtime, id);
}

/** The runtime's own error, which it writes before anything of the container has run. */
export function startFailure(log: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return undefined;
  }
  const errors = text
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      // crun logs nothing but errors, in plain words.
      if (!line.startsWith('{')) return [line];
      const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
      return level === 'error' && msg !== undefined ? [msg] : [];
    });
  return errors.at(-1);
}

/** What crun says of a command that cannot be run, it says in the same form to the command's own stderr. */
export function logFormat({ name }: Runtime): readonly string[] {
  return name === 'crun' ? [] : ['--log-format', 'json'];
}

/** docker's exit statuses: 127 for a command that is not there, 126 for one that cannot be run, 125 for all else. */
export function runtimeError(message: string, runtime: Runtime, command: string): LaminaError {
  const text = `${runtime.name}: ${message.replace(/^runc (run|create|exec) failed: /, '')}`;
  if (/executable file .*not found|exec.*: no such file or directory|stat .*: no such file/i.test(message))
    return commandNotFound(command, text);
  if (/exec.*permission denied|exec.*(exec format error|is a directory)/i.test(message))
    return new LaminaError('ENOTEXECUTABLE', text);
  return new LaminaError('ERUNTIME', text);
}

export function commandNotFound(command: string, text?: string): LaminaError {
  const message = command.includes('/')
    ? `exec: "${command}": stat ${command}: no such file or directory`
    : `exec: "${command}": executable file not found in $PATH`;
  return new LaminaError('ENOCOMMAND', message, text === undefined ? {} : { cause: new Error(text) });
}
