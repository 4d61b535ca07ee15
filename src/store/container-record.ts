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
  /** What runs: entrypoint and command of the image. */
  command: readonly string[];
  labels: Readonly<Record<string, string>>;
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
  if (!isWhole) throw damaged(file, 'a field is missing or of the wrong type');
  return { labels: {}, ...record } as ContainerRecord;
}

function damaged(file: string, what: string, cause?: unknown): LaminaError {
  return new LaminaError('EIO', `${file} is damaged: ${what}`, {
    path: file,
    cause,
    hint: 'Put the file back from a backup, or remove the container by its whole ID with: lamina rm -f.',
  });
}
