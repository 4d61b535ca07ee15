/**
 * Runs the parts of `lamina-fuse` that do for Node what it has no calls for: reading attributes, resolving paths inside a root,
 * locks. Not one of them needs FUSE (native/scan/scan.h).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { displayBytes } from '../bytes.js';
import { ERROR_CODES, LaminaError } from '../errors.js';
import type { ErrorCode } from '../errors.js';
import { serverBinary } from '../server-binary.js';

export interface Helper {
  stdin: Writable;
  stdout: Readable;
  /** Its exit status, and what it wrote to stderr. */
  ended: Promise<{ status: number; said: string }>;
  process: ChildProcess;
}

/** The first descriptor of `fds` in the helper. */
export const HELPER_FD = 3;

/** @param fds inherited, from HELPER_FD on. Raises ENOSERVER. */
export function startHelper(args: readonly (string | Buffer)[], fds: readonly number[] = []): Helper {
  // Arguments are bytes to the kernel but text to Node; latin1 would be encoded anew. All that are not UTF-8 go by stdin.
  const child = spawn(serverBinary(), args as string[], { stdio: ['pipe', 'pipe', 'pipe', ...fds] });
  const said: Buffer[] = [];
  child.stderr!.on('data', (chunk: Buffer) => said.push(chunk));
  // A helper that ended early says why on stderr; the broken pipe is not the reason.
  child.stdin!.on('error', () => {});
  const ended = new Promise<{ status: number; said: string }>((resolve, reject) => {
    child.on('error', (error) =>
      reject(
        new LaminaError('ENOSERVER', `cannot run the native server: ${error.message}`, { cause: error }),
      ),
    );
    child.on('close', (code) =>
      resolve({ status: code ?? 128, said: Buffer.concat(said).toString('latin1').trim() }),
    );
  });
  // Whoever reads the streams first learns of it there; it must not end the program before.
  ended.catch(() => {});
  return { stdin: child.stdin!, stdout: child.stdout!, ended, process: child };
}

/** Waits for its end. Raises the error that it named, with `doing` before it: `cannot read`. */
export async function untilEnded(helper: Helper, doing: string): Promise<void> {
  const { status, said } = await helper.ended;
  if (status !== 0) throw helperError(said, doing, status);
}

/** `errno=N NAME path: message` -> the error that a person reads. */
export function helperError(said: string, doing: string, status: number): LaminaError {
  const match = /^errno=(\d+) (\w+) (.*): ([^:]*)$/s.exec(said);
  if (match === null)
    return new LaminaError('EIO', `${doing}: lamina-fuse ended with status ${status}: ${said}`);
  const [, , name, path, message] = match as unknown as [string, string, string, string, string];
  const shown = displayBytes(path);
  const code = name in ERROR_CODES ? (name as ErrorCode) : 'EIO';
  return new LaminaError(code, `${doing} ${shown}: ${message}`, { path: shown, errno: name });
}
