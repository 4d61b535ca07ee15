/** The options that `run` and `create` share, as docker spells them, and what they mean (docker/cli: cli/command/container/opts.go). */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { SettingsRequest } from '../../runtime/settings.js';
import type { ContainerMount } from '../../store/container-record.js';
import { gather } from '../output/gather.js';

export interface RunFlags {
  addHost: string[];
  capAdd: string[];
  capDrop: string[];
  cidfile?: string;
  entrypoint?: string;
  env: string[];
  envFile: string[];
  groupAdd: string[];
  hostname?: string;
  init?: boolean;
  interactive?: boolean;
  label: string[];
  mount: string[];
  name?: string;
  network?: string;
  platform?: string;
  privileged?: boolean;
  publish: string[];
  publishAll?: boolean;
  pull: string;
  readOnly?: boolean;
  rm?: boolean;
  runtime?: string;
  securityOpt: string[];
  stopSignal?: string;
  stopTimeout?: string;
  tmpfs: string[];
  tty?: boolean;
  ulimit: string[];
  user?: string;
  volume: string[];
  workdir?: string;
}

export function addRunOptions(command: Command): Command {
  return command
    .option('--add-host <list>', 'Add a custom host-to-IP mapping (host:ip)', gather, [])
    .option('--cap-add <list>', 'Add Linux capabilities', gather, [])
    .option('--cap-drop <list>', 'Drop Linux capabilities', gather, [])
    .option('--cidfile <string>', 'Write the container ID to the file')
    .option('--entrypoint <string>', 'Overwrite the default ENTRYPOINT of the image')
    .option('-e, --env <list>', 'Set environment variables', gather, [])
    .option('--env-file <list>', 'Read in a file of environment variables', gather, [])
    .option('--group-add <list>', 'Add additional groups to join', gather, [])
    .option('-h, --hostname <string>', 'Container host name')
    .option('--init', 'Run an init inside the container that forwards signals and reaps processes')
    .option('-i, --interactive', 'Keep STDIN open even if not attached')
    .option('-l, --label <list>', 'Set meta data on a container', gather, [])
    .option('--mount <mount>', 'Attach a filesystem mount to the container', gather, [])
    .option('--name <string>', 'Assign a name to the container')
    .option('--network <network>', 'Network of the container ("host", "none")')
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .option('--privileged', 'Give extended privileges to this container')
    .option(
      '-p, --publish <list>',
      "Accepted for docker's sake: with the host's network every port is there",
      gather,
      [],
    )
    .option('-P, --publish-all', "Accepted for docker's sake")
    .option('--pull <string>', 'Pull image before running ("always", "missing", "never")', 'missing')
    .option('--read-only', "Mount the container's root filesystem as read only")
    .option('--rm', 'Automatically remove the container when it exits')
    .option('--runtime <string>', 'OCI runtime to use for this container (LAMINA_RUNTIME; crun or runc)')
    .option(
      '--security-opt <list>',
      'Security options (seccomp=unconfined|FILE, no-new-privileges)',
      gather,
      [],
    )
    .option('--stop-signal <string>', 'Signal to stop the container')
    .option('--stop-timeout <int>', 'Timeout (in seconds) to stop a container')
    .option('--tmpfs <list>', 'Mount a tmpfs directory', gather, [])
    .option('-t, --tty', 'Allocate a pseudo-TTY')
    .option('--ulimit <ulimit>', 'Ulimit options', gather, [])
    .option('-u, --user <string>', 'Username or UID (format: <name|uid>[:<group|gid>])')
    .option('-v, --volume <list>', 'Bind mount a volume', gather, [])
    .option('-w, --workdir <string>', 'Working directory inside the container');
}

/** Raises EUSAGE, ENOENT for files that are named. */
export async function settingsRequest(flags: RunFlags, cmd: readonly string[]): Promise<SettingsRequest> {
  const { readEnvFile } = await import('./env-file.js');
  const { parseMountFlag, parseTmpfs, parseVolume } = await import('./mount-flags.js');
  const fromFiles = flags.envFile.flatMap(readEnvFile);
  const mounts: ContainerMount[] = [
    ...flags.volume.map(parseVolume),
    ...flags.tmpfs.map(parseTmpfs),
    ...flags.mount.map(parseMountFlag),
  ];
  const targets = mounts.map(({ target }) => target);
  const twice = targets.find((target, index) => targets.indexOf(target) !== index);
  if (twice !== undefined) throw new LaminaError('EUSAGE', `Duplicate mount point: ${twice}`);
  const { hostname, runtime, stopSignal, user, workdir } = flags;
  return {
    ...(flags.entrypoint === undefined ? {} : { entrypoint: [flags.entrypoint] }),
    cmd,
    env: [...fromFiles, ...flags.env.map(withOwnValue)],
    mounts,
    ...(workdir === undefined ? {} : { workingDir: absolute(workdir) }),
    ...(user === undefined ? {} : { user }),
    groupAdd: flags.groupAdd,
    tty: flags.tty === true,
    openStdin: flags.interactive === true,
    ...(hostname === undefined ? {} : { hostname: checkHostname(hostname) }),
    addHosts: flags.addHost.map(checkAddHost),
    network: parseNetwork(flags),
    readOnly: flags.readOnly === true,
    capAdd: flags.capAdd.flatMap((text) => text.split(',')),
    capDrop: flags.capDrop.flatMap((text) => text.split(',')),
    privileged: flags.privileged === true,
    ...(await securityOptions(flags.securityOpt)),
    ulimits: flags.ulimit,
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(flags.stopTimeout === undefined ? {} : { stopTimeoutSec: parseSeconds(flags.stopTimeout) }),
    autoRemove: flags.rm === true,
    init: flags.init === true,
    ...(runtime === undefined ? {} : { runtime }),
  };
}

/** Everything that can be found wrong before a container is made. Raises EUSAGE, ENORUNTIME. */
export async function checkRequest(request: SettingsRequest): Promise<void> {
  const [{ capabilitySet }, { parseUlimit }, { signalNumber }, { findRuntime }] = await Promise.all([
    import('../../runtime/capabilities.js'),
    import('../../runtime/settings.js'),
    import('../../runtime/signals.js'),
    import('../../runtime/find.js'),
  ]);
  if (request.runtime !== undefined) findRuntime(request.runtime);
  capabilitySet({ add: request.capAdd ?? [], drop: request.capDrop ?? [] });
  for (const ulimit of request.ulimits ?? []) parseUlimit(ulimit);
  if (request.stopSignal !== undefined) signalNumber(request.stopSignal);
}

/** `NAME` alone takes its value from here, and nothing where there is none. */
export function withOwnValue(text: string): string {
  if (text === '' || text.startsWith('='))
    throw new LaminaError('EUSAGE', `invalid environment variable: ${text}`);
  if (text.includes('=')) return text;
  const value = process.env[text];
  return value === undefined ? text : `${text}=${value}`;
}

function absolute(directory: string): string {
  if (directory.startsWith('/')) return directory;
  throw new LaminaError(
    'EUSAGE',
    `the working directory '${directory}' is invalid, it needs to be an absolute path`,
  );
}

function checkHostname(name: string): string {
  if (/^[a-zA-Z0-9]([\w.-]{0,61}[a-zA-Z0-9])?$/.test(name)) return name;
  throw new LaminaError('EUSAGE', `invalid hostname format: ${name}`);
}

function checkAddHost(text: string): string {
  const [, host, address] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (host === undefined || !/^[\da-f:.[\]]+$/i.test(address ?? ''))
    throw new LaminaError('EUSAGE', `invalid add-host: "${text}"`, { hint: 'Write it as in: db:10.0.0.2.' });
  return `${host}:${address!.replace(/^\[(.*)\]$/, '$1')}`;
}

function parseNetwork({ network = 'host', publish, publishAll }: RunFlags): 'host' | 'none' {
  if (network !== 'host' && network !== 'none')
    throw new LaminaError('EUSAGE', `network ${network} not found`, {
      hint: 'A container has the network of this machine ("host", the default) or none ("none").',
    });
  if (network === 'host' && (publish.length > 0 || publishAll === true))
    process.stderr.write('WARNING: Published ports are discarded when using host network mode\n');
  return network;
}

async function securityOptions(
  options: readonly string[],
): Promise<Pick<SettingsRequest, 'seccomp' | 'noNewPrivileges'>> {
  const found: { seccomp?: string; noNewPrivileges?: boolean } = {};
  for (const option of options) {
    const [, name, value = ''] = /^([^=:]+)(?:[=:](.*))?$/.exec(option) ?? [];
    if (name === 'no-new-privileges') found.noNewPrivileges = value !== 'false';
    else if (name === 'seccomp' && value !== '') {
      const path = await import('node:path');
      found.seccomp = value === 'unconfined' ? value : path.resolve(value);
    } else if (name !== 'apparmor' && name !== 'label')
      throw new LaminaError('EUSAGE', `invalid --security-opt: "${option}"`);
  }
  return found;
}

export function parseSeconds(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for a time: it is no number of seconds`);
}

/** `NAME=VALUE` or `NAME`. */
export function parseLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
