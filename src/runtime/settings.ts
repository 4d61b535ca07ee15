/** How a container is run, from its image's config and what was asked for: docker's rules (moby runconfig, merge.go). */
import { LaminaError } from '../errors.js';
import type { RunConfig } from '../oci/config.js';
import type { ContainerMount, ContainerSettings } from '../store/container-record.js';
import type { Rlimit } from './spec.js';

/** What `run` and `create` can ask for; absent: as the image says. */
export interface SettingsRequest extends Partial<
  Omit<ContainerSettings, 'entrypoint' | 'cmd' | 'env' | 'mounts'>
> {
  /** An empty list, or one empty word, takes the image's away. */
  entrypoint?: readonly string[];
  /** Words after the image. */
  cmd?: readonly string[];
  /** NAME=VALUE, or NAME to take it away. */
  env?: readonly string[];
  mounts?: readonly ContainerMount[];
}

/** Raises EUSAGE when there is nothing to run. */
export function settingsOf(config: RunConfig, request: SettingsRequest = {}): ContainerSettings {
  const { env = [], mounts = [], cmd = [], entrypoint, ...rest } = request;
  const ownEntrypoint = entrypoint?.filter((word) => word !== '');
  // As docker: another entrypoint leaves the image's command out.
  const chosen =
    ownEntrypoint === undefined
      ? { entrypoint: config.entrypoint ?? null, cmd: cmd.length > 0 ? cmd : (config.cmd ?? null) }
      : { entrypoint: ownEntrypoint.length > 0 ? ownEntrypoint : null, cmd: cmd.length > 0 ? cmd : null };
  const taken = new Set(mounts.map(({ target }) => target.replace(/(?<=.)\/+$/, '')));
  const volumes = config.volumes
    .filter((target) => target.startsWith('/') && !taken.has(target.replace(/(?<=.)\/+$/, '')))
    .map((target): ContainerMount => ({ type: 'volume', target, readOnly: false, options: [] }));
  return {
    workingDir: config.workingDir,
    user: config.user,
    groupAdd: [],
    tty: false,
    openStdin: false,
    addHosts: [],
    network: 'host',
    readOnly: false,
    capAdd: [],
    capDrop: [],
    privileged: false,
    seccomp: 'default',
    noNewPrivileges: false,
    ulimits: [],
    autoRemove: false,
    init: false,
    ...(config.stopSignal === undefined ? {} : { stopSignal: config.stopSignal }),
    ...rest,
    ...chosen,
    env: mergeEnv(config.env, env),
    mounts: [...mounts, ...volumes],
  };
}

/** Raises EUSAGE when there is nothing to run. */
export function checkRunnable({ entrypoint, cmd }: ContainerSettings): void {
  if ((entrypoint?.length ?? 0) + (cmd?.length ?? 0) > 0) return;
  throw new LaminaError('EUSAGE', 'no command specified', {
    hint: 'The image names no command: give one after it.',
  });
}

function mergeEnv(image: readonly string[], own: readonly string[]): string[] {
  const merged = new Map<string, string | undefined>();
  for (const text of [...image, ...own]) {
    const at = text.indexOf('=');
    merged.set(at < 0 ? text : text.slice(0, at), at < 0 ? undefined : text.slice(at + 1));
  }
  return [...merged].flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

/** `nofile=1024:2048`, `core=unlimited`. Raises EUSAGE. */
export function parseUlimit(text: string): Rlimit {
  const [, name = '', soft = '', hard = soft] =
    /^(\w+)=(-?\d+|unlimited)(?::(-?\d+|unlimited))?$/.exec(text) ?? [];
  if (!ULIMITS.includes(name))
    throw new LaminaError('EUSAGE', `invalid ulimit argument: ${text}`, {
      hint: 'Write it as in: --ulimit nofile=1024:2048.',
    });
  // The runtimes read 64 bits without a sign; JSON's numbers end before RLIM_INFINITY.
  const value = (word: string): number => (word === 'unlimited' || word === '-1' ? 2 ** 63 : Number(word));
  return { type: `RLIMIT_${name.toUpperCase()}`, soft: value(soft), hard: value(hard) };
}

const ULIMITS =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  );
