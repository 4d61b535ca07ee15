/** Environment variables of a process, as docker puts them together (moby: container.CreateDaemonEnvironment). */
import type { ResolvedUser } from './user.js';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface EnvironmentRequest {
  /** Of the image, NAME=VALUE. */
  image: readonly string[];
  /** What takes the place of the image's, or comes after it; `NAME` without a value takes the variable away. */
  overrides?: readonly string[];
  user: Pick<ResolvedUser, 'home'>;
  /** HOSTNAME; none when undefined. */
  hostname?: string;
  terminal?: boolean;
}

/** NAME=VALUE, each name once, at its first place. */
export function processEnvironment(request: EnvironmentRequest): string[] {
  const variables = new Map<string, string>([['PATH', DEFAULT_PATH]]);
  if (request.hostname !== undefined) variables.set('HOSTNAME', request.hostname);
  if (request.terminal === true) variables.set('TERM', 'xterm');
  for (const text of [...request.image, ...(request.overrides ?? [])]) {
    const at = text.indexOf('=');
    if (at < 0) variables.delete(text);
    else variables.set(text.slice(0, at), text.slice(at + 1));
  }
  if (!variables.has('HOME')) variables.set('HOME', request.user.home);
  return [...variables].map(([name, value]) => `${name}=${value}`);
}
