/** container.json: what a container is, and how its image is found again. */
import { LaminaError } from '../errors.js';
import type { ImageTransport } from '../archive/image.js';

export const RECORD_VERSION = 1;

export interface ContainerRecord {
  version: number;
  /** 64 hex digits. */
  id: string;
  name: string;
  /** ISO 8601. */
  createdAt: string;
  image: ContainerImage;
  /** The upper directory's attributes are `user.overlay.*`: its user may not set `trusted.` ones. */
  userXattrs: boolean;
  /** What runs: entrypoint and command. */
  command: readonly string[];
  labels: Readonly<Record<string, string>>;
  /** How it is run; absent: as its image says, which is how containers were made before they could be run. */
  settings?: ContainerSettings;
}

/** What `run` and `create` say, with what the image says where they say nothing. */
export interface ContainerSettings {
  /** `--entrypoint` and the image's; null: none. Together with `cmd` it is the record's `command`. */
  entrypoint: readonly string[] | null;
  cmd: readonly string[] | null;
  /** NAME=VALUE, of the image and those after it; PATH, HOME, HOSTNAME and TERM only where somebody set them. */
  env: readonly string[];
  workingDir: string;
  /** `USER[:GROUP]` */
  user: string;
  groupAdd: readonly string[];
  tty: boolean;
  openStdin: boolean;
  /** undefined: as the network has it. */
  hostname?: string;
  addHosts: readonly string[];
  network: 'host' | 'none';
  readOnly: boolean;
  mounts: readonly ContainerMount[];
  capAdd: readonly string[];
  capDrop: readonly string[];
  privileged: boolean;
  /** `default`, `unconfined` or an absolute path. */
  seccomp: string;
  noNewPrivileges: boolean;
  /** `NAME=SOFT[:HARD]` */
  ulimits: readonly string[];
  stopSignal?: string;
  stopTimeoutSec?: number;
  /** Removed when it ends. */
  autoRemove: boolean;
  /** The `run` that made it and is to start it, as the mount table names processes. */
  madeBy?: { pid: number; pidStart: string };
  /** A small init process before the command. */
  init: boolean;
  /** Name or path. */
  runtime?: string;
}

export interface ContainerMount {
  /** `volume`: a directory that is kept with the container. */
  type: 'bind' | 'tmpfs' | 'volume';
  /** Absolute, on the host; of a bind only. */
  source?: string;
  /** Absolute. */
  target: string;
  readOnly: boolean;
  /** As mount(8) has them. */
  options: readonly string[];
}

export interface ContainerImage {
  /** As it was named. */
  name: string;
  /** undefined: detected. */
  transport: ImageTransport | null;
  /** Absolute; of the store when it lies there. */
  path: string;
  reference: string | null;
  /** `os/arch[/variant]`, what the image is for. */
  platform: string;
  /** Config digest. */
  imageId: string;
  /** In the store, which keeps what it leads to for as long as the container is there. */
  manifestDigest?: string;
  /** Bottom to top. */
  diffIds: readonly string[];
}

/** Raises EIO when the file is not what this program wrote. */
export function parseRecord(text: string, file: string): ContainerRecord {
  let record: Partial<ContainerRecord> | null;
  try {
    record = JSON.parse(text) as Partial<ContainerRecord> | null;
  } catch (cause) {
    throw damaged(file, 'it is not JSON', cause);
  }
  if (typeof record?.version === 'number' && record.version > RECORD_VERSION)
    throw damaged(file, `version ${record.version} was written by a newer Lamina`);
  const { image } = record ?? {};
  const isWhole =
    record !== null &&
    /^[0-9a-f]{64}$/.test(record.id ?? '') &&
    [record.name, record.createdAt, image?.name, image?.path, image?.platform, image?.imageId].every(
      (field) => typeof field === 'string',
    ) &&
    typeof record.userXattrs === 'boolean' &&
    [record.command, image?.diffIds].every(
      (list) => Array.isArray(list) && list.every((item) => typeof item === 'string'),
    );
  const { settings } = record ?? {};
  const isRunnable =
    settings === undefined ||
    ([settings.env, settings.mounts, settings.ulimits, settings.capAdd].every(Array.isArray) &&
      [settings.user, settings.workingDir, settings.seccomp].every((field) => typeof field === 'string'));
  if (!isWhole || !isRunnable) throw damaged(file, 'a field is missing or of the wrong type');
  return { labels: {}, ...record } as ContainerRecord;
}

function damaged(file: string, what: string, cause?: unknown): LaminaError {
  return new LaminaError('EIO', `${file} is damaged: ${what}`, {
    path: file,
    cause,
    hint: 'Put the file back from a backup, or remove the container by its whole ID with: lamina rm -f.',
  });
}
