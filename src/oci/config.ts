/**
 * The image config: what runs, where, and the diffIds of its layers. Source: image-spec config.md, and moby's image spec for what
 * Docker adds. Only what decides about layers is required; the rest may be absent or null.
 */
import { parseDigest } from './digest.js';
import { DEFAULT_MAX_JSON_BYTES, parseJsonObject, quoted, type JsonObject } from './json.js';
import { platformFromJson, type Platform } from './platform.js';

export interface ImageConfig {
  platform: Platform;
  /** RFC 3339, as written. */
  created: string | undefined;
  author: string | undefined;
  config: RunConfig;
  rootfs: {
    /** Bottom to top; well-formed digests. */
    diffIds: readonly string[];
  };
  /** Oldest first. */
  history: readonly HistoryEntry[];
}

/** What a container of the image runs with. */
export interface RunConfig {
  user: string;
  exposedPorts: readonly string[];
  /** NAME=VALUE */
  env: readonly string[];
  entrypoint: readonly string[] | undefined;
  cmd: readonly string[] | undefined;
  volumes: readonly string[];
  workingDir: string;
  labels: ReadonlyMap<string, string>;
  stopSignal: string | undefined;
  onBuild: readonly string[];
  shell: readonly string[] | undefined;
}

export interface HistoryEntry {
  created: string | undefined;
  createdBy: string | undefined;
  author: string | undefined;
  comment: string | undefined;
  /** The step made no layer. */
  emptyLayer: boolean;
}

/** `what` names the document. Raises EBADIMAGE, ELIMIT. */
export function parseConfig(bytes: Buffer, what: string, maxBytes = DEFAULT_MAX_JSON_BYTES): ImageConfig {
  const object = parseJsonObject(bytes, what, maxBytes);
  const rootfs = object.object('rootfs');
  const type = rootfs.optionalString('type') ?? 'layers';
  if (type !== 'layers') throw rootfs.bad('type', `${quoted(type)} is not "layers"`);
  const diffIds = rootfs.strings('diff_ids');
  for (const [index, diffId] of diffIds.entries()) parseDigest(diffId, `${rootfs.where}, diff_ids[${index}]`);
  return {
    platform: platformFromJson(object),
    created: object.optionalString('created'),
    author: object.optionalString('author'),
    config: runConfig(object.optionalObject('config')),
    rootfs: { diffIds },
    history: object.objects('history').map((entry) => ({
      created: entry.optionalString('created'),
      createdBy: entry.optionalString('created_by'),
      author: entry.optionalString('author'),
      comment: entry.optionalString('comment'),
      emptyLayer: entry.optionalBoolean('empty_layer') ?? false,
    })),
  };
}

function runConfig(object: JsonObject | undefined): RunConfig {
  return {
    user: object?.optionalString('User') ?? '',
    exposedPorts: object?.optionalObject('ExposedPorts')?.keys() ?? [],
    env: object?.strings('Env') ?? [],
    entrypoint: commandLine(object, 'Entrypoint'),
    cmd: commandLine(object, 'Cmd'),
    volumes: object?.optionalObject('Volumes')?.keys() ?? [],
    workingDir: object?.optionalString('WorkingDir') ?? '',
    labels: object?.stringMap('Labels') ?? new Map(),
    stopSignal: object?.optionalString('StopSignal'),
    onBuild: object?.strings('OnBuild') ?? [],
    shell: commandLine(object, 'Shell'),
  };
}

/** Docker before 1.3 wrote a string where there is a list now; its StrSlice still reads both. */
function commandLine(object: JsonObject | undefined, key: string): string[] | undefined {
  const value = object?.get(key);
  return typeof value === 'string' ? [value] : object?.optionalStrings(key);
}

/** Fields of a config file that say how that one image was made: of an image that is made from it they would be wrong. */
export const OF_ITS_OWN_MAKING: readonly string[] = [
  'id',
  'parent',
  'parent_id',
  'container',
  'container_config',
  'Size',
  'size',
  'throwaway',
];
