/** Runs other programs for the bench, so that an interrupt ends them. */
import { execFile, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LaminaError } from '../errors.js';

const run = promisify(execFile);

export interface RunOptions {
  cwd?: string;
  signal?: AbortSignal;
}

/** -> stdout. Raises EMOUNT with what the program said. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  try {
    // Without it, libmount 2.39 gives the layers to fsconfig(2), which takes 256 bytes.
    const env = { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' };
    const { stdout } = await run(program, args, { ...options, env, maxBuffer: 1 << 24 });
    return stdout;
  } catch (error) {
    options.signal?.throwIfAborted();
    throw failed(program, (error as { stderr?: string }).stderr || (error as Error).message, error);
  }
}

/** For a program that stays in the background: its streams must not be waited for. Returns when what was started ended. */
export async function runDetaching(
  program: string,
  args: readonly string[],
  logFile: string,
  options: RunOptions = {},
): Promise<void> {
  const log = openSync(logFile, 'w', 0o600);
  try {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', log] });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject).on('exit', resolve);
    });
    if (status !== 0) throw failed(program, readFileSync(logFile, 'utf8'));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error instanceof LaminaError ? error : failed(program, (error as Error).message, error);
  } finally {
    closeSync(log);
  }
}

function failed(program: string, said: string, cause?: unknown): LaminaError {
  const last = said.trim().split('\n').slice(-2).join(' / ');
  return new LaminaError('EMOUNT', `${program} failed: ${last}`, { cause });
}

/** Whether a program of that name is on the PATH. */
export function hasProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
