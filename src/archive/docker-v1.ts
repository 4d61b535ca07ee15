/**
 * Archives of Docker before 1.10: `repositories` names ids, and each id has `ID/json`, which names its parent, and
 * `ID/layer.tar` (moby image/spec/v1.md). There is no config and there are no diffIds, so both are made as docker load makes them (moby
 * image/tarexport/load.go, legacyLoad; image/v1 MakeConfigFromV1Config): the layers must be read once to be hashed.
 */
import { createHash } from 'node:crypto';
import { utf8ToBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { parseConfig } from '../oci/config.js';
import { hashBytes } from '../oci/digest.js';
import { parseJsonObject, quoted, type JsonObject } from '../oci/json.js';
import { platformFromJson, type Platform } from '../oci/platform.js';
import { readSource, type ByteSource } from '../tar/source.js';
import type { DockerImage } from './choose.js';
import type { DocumentReader } from './files.js';
import type { ArchivedImage, ArchiveLimits } from './image.js';
import { pairLayers } from './layers.js';

/** Fields that the config made from the v1 JSON does not keep. */
const DROPPED = new Set(['id', 'parent', 'Size', 'parent_id', 'layer_id', 'throwaway']);

interface Step {
  id: string;
  json: JsonObject;
  bytes: Buffer;
}

/** Raises EBADIMAGE, ELIMIT. */
export function openV1Images(path: string, documents: DocumentReader, limits: ArchiveLimits): DockerImage[] {
  const what = `${path}, repositories`;
  const bytes = documents.read('repositories', what);
  if (bytes === undefined)
    throw new LaminaError('EBADIMAGE', `${path} has no manifest.json and no repositories`);
  const repositories = parseJsonObject(bytes, what, limits.maxJsonBytes);
  const references = new Map<string, string[]>();
  for (const name of repositories.keys()) {
    for (const [tag, id] of repositories.stringMap(name)) {
      const names = references.get(id) ?? [];
      names.push(`${name}:${tag}`);
      references.set(id, names);
    }
  }
  return [...references].map(([id, names], position) =>
    v1Image(id, names, position, path, documents, limits),
  );
}

function v1Image(
  id: string,
  references: readonly string[],
  position: number,
  path: string,
  documents: DocumentReader,
  limits: ArchiveLimits,
): DockerImage {
  const top = (): Step => readStep(id, path, documents);
  return {
    identity: id,
    references,
    otherNames: [id],
    position,
    manifestDigest: undefined,
    indexDigests: [],
    imageId: () => undefined,
    platform: (): Platform => platformFromJson(top().json),
    load: () => load(chain(id, path, documents, limits), references, path, documents, limits),
  };
}

function readStep(id: string, path: string, documents: DocumentReader): Step {
  const what = `${path}, ${quoted(id)}`;
  if (!/^[0-9a-f]{64}$/.test(id)) throw new LaminaError('EBADIMAGE', `${what} is not an image id`, { path });
  const bytes = documents.read(`${id}/json`, what);
  if (bytes === undefined)
    throw new LaminaError('EBLOB', `${path}: ${id}/json is not in the archive`, { path });
  return { id, bytes, json: parseJsonObject(bytes, what, documents.maxBytes) };
}

/** From the bottom to `id`. */
function chain(id: string, path: string, documents: DocumentReader, limits: ArchiveLimits): Step[] {
  const steps: Step[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = id; next !== undefined;) {
    if (seen.has(next))
      throw new LaminaError('EBADIMAGE', `${path}: the parents of ${id} run in a circle`, { path });
    if (seen.size >= limits.maxLayers)
      throw new LaminaError('ELIMIT', `${path}: ${id} has more than maxLayers (${limits.maxLayers}) layers`, {
        path,
      });
    seen.add(next);
    const step = readStep(next, path, documents);
    steps.unshift(step);
    next = step.json.optionalString('parent') || undefined;
  }
  return steps;
}

function load(
  steps: readonly Step[],
  references: readonly string[],
  path: string,
  documents: DocumentReader,
  limits: ArchiveLimits,
): ArchivedImage {
  const blobs = steps.map(({ id }) => {
    const blob = documents.files.open(`${id}/layer.tar`);
    if (blob !== undefined) return blob;
    throw new LaminaError('EBLOB', `${path}: ${id}/layer.tar is not in the archive`, { path });
  });
  const diffIds = blobs.map(hashSource);
  const layers = pairLayers(
    blobs.map((blob) => ({ digest: undefined, mediaType: undefined, blob })),
    diffIds,
    path,
  );
  const compressed = layers.find((layer) => layer.compression !== 'none');
  if (compressed !== undefined)
    throw new LaminaError(
      'EBADIMAGE',
      `${compressed.blob.name} is compressed, which this kind of archive never is`,
    );
  const configBytes = makeConfig(steps, diffIds);
  const config = parseConfig(configBytes, `${path}, ${steps.at(-1)!.id}/json`, limits.maxJsonBytes);
  return {
    references,
    imageId: hashBytes('sha256', configBytes),
    config,
    configBytes,
    manifestDigest: undefined,
    manifest: undefined,
    platform: config.platform,
    layers,
  };
}

function makeConfig(steps: readonly Step[], diffIds: readonly string[]): Buffer {
  const { json } = steps.at(-1)!;
  const fields = json
    .keys()
    .filter((key) => !DROPPED.has(key))
    .map((key): [string, unknown] => [key, json.get(key) ?? null]);
  const history = steps.map((step) => ({
    created: step.json.optionalString('created'),
    author: step.json.optionalString('author') || undefined,
    created_by: step.json.optionalObject('container_config')?.strings('Cmd').join(' ') || undefined,
    comment: step.json.optionalString('comment') || undefined,
  }));
  fields.push(['rootfs', { type: 'layers', diff_ids: diffIds }], ['history', history]);
  fields.sort(([a], [b]) => (utf8ToBytes(a) < utf8ToBytes(b) ? -1 : 1));
  return Buffer.from(JSON.stringify(Object.fromEntries(fields)));
}

function hashSource(source: ByteSource): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  for (let position = 0; position < source.sizeBytes;) {
    const count = readSource(source, buffer, position);
    hash.update(buffer.subarray(0, count));
    position += count;
  }
  return `sha256:${hash.digest('hex')}`;
}
