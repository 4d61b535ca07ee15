/** What a system call that failed says, thrown in the shape of Node's own system errors: `code` and a negative `errno`. */
import { constants } from 'node:os';

export type ErrnoName = keyof typeof constants.errno;

/** As if a system call had failed so. */
export function systemError(code: ErrnoName): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code, errno: -constants.errno[code] });
}

/** The negative errno of Node's errors, or of fs-xattr's, whose are positive; undefined where a program error was thrown. */
export function errnoOf(error: unknown): number | undefined {
  const { errno } = (error ?? {}) as { errno?: unknown };
  return typeof errno === 'number' && errno !== 0 ? -Math.abs(errno) : undefined;
}

export function isErrno(error: unknown, ...codes: ErrnoName[]): boolean {
  const errno = errnoOf(error);
  return codes.some((code) => -constants.errno[code] === errno);
}
