/**
 * `commit`: the image of a container with one more layer, which holds what the container changed. The cost follows the change: the upper
 * directory is read, the image under it only where something stood before.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, unlinkSync, writeSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { parseImageName } from '../archive/name.js';
import { checkTarget, writeImage } from '../archive/write.js';
import type { ArchivedImage, LayerBlob } from '../archive/image.js';
import type { ImageTarget, WrittenImage } from '../archive/write.js';
import { layerEntries, writeLayer } from '../layer/diff.js';
import type { LayerEntry } from '../layer/diff.js';
import type { UpperNode } from '../layer/upper.js';
import type { ByteSource } from '../tar/source.js';
import { applyChanges } from '../image/change.js';
import type { RunConfigJson } from '../image/change.js';
import { stageImage } from '../image/load.js';
import { OF_ITS_OWN_MAKING, parseConfig } from '../oci/config.js';
import { hashBytes } from '../oci/digest.js';
import type { Reference } from '../oci/reference.js';
import type { ImageStore } from '../store/image-store.js';
import { lockDirectory } from '../store/flock.js';
import { holdChanges } from './hold.js';
import { openContainer } from './open.js';
import type { OpenedContainer } from './open.js';
import type { ContainerRecord } from '../store/container-record.js';
import { scanDirectory } from './scan.js';
import type { ContainerStore } from './store.js';
import { changed } from './upper-files.js';

export interface CommitOptions {
  author?: string;
  message?: string;
  /** Dockerfile instructions. */
  changes?: readonly string[];
  /** The layer is what the container was at one moment: its changes wait, or EBUSY is raised; true when absent. */
  pause?: boolean;
  /** SOURCE_DATE_EPOCH: the time of the image, and the latest of its new layer. */
  epochSec?: number;
}

/** `oci:PATH[:REF]`, `oci-archive:PATH[:REF]`, `docker-archive:PATH[:REF]`. Raises EUSAGE. */
export function parseTarget(text: string): ImageTarget {
  if (!/^(oci|oci-archive|docker-archive):/.test(text))
    throw new LaminaError('EUSAGE', `invalid target "${text}": it names no archive or layout`, {
      hint: 'Give oci:DIR[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:REF].',
    });
  const { transport, path: file, reference } = parseImageName(text);
  return { form: transport!, path: file, reference };
}

/** Where the image goes: into the store, under a name or none, or to a file or layout. */
export type CommitTarget = ImageTarget | { form: 'store'; images: ImageStore; name: Reference | undefined };

/** Raises EBASE, EUPPER, EWHITEOUT, EBUSY, EUSAGE (`changes`), and what `writeImage` and the store raise. */
export async function commit(
  store: ContainerStore,
  record: ContainerRecord,
  target: CommitTarget,
  options: CommitOptions = {},
): Promise<WrittenImage> {
  if (target.form !== 'store') await checkTarget(target);
  const { layer, opened } = await readMoment(store, record, options);
  try {
    const base = JSON.parse(opened.base.archived.configBytes.toString('utf8')) as Record<string, unknown>;
    const own = withSettings((base['config'] ?? {}) as RunConfigJson, record);
    const config = applyChanges(own, options.changes ?? []);
    const layers: LayerBlob[] = [
      ...opened.base.archived.layers,
      ...(layer === undefined
        ? []
        : [{ ...layer, compression: 'none' as const, digest: layer.diffId, mediaType: undefined }]),
    ];
    const configBytes = configJson(base, config, layer?.diffId, options);
    if (target.form === 'store') return await addToStore(target, opened.base.archived, configBytes, layers);
    const { os, architecture, variant } = opened.base.archived.platform;
    const image = {
      config: configBytes,
      layers,
      platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    };
    return await locked(target, () => writeImage(target, image));
  } finally {
    if (layer !== undefined) closeSync(layer.blob.fd);
    opened.close();
  }
}

interface Moment {
  opened: OpenedContainer;
  /** undefined: nothing has changed. */
  layer: PackedLayer | undefined;
}

/** How often a container is read that does not hold still. */
const MOST_READS = 3;

/** The layer as it is at one moment; without `pause` files as they come. Changes wait no longer than it takes to read it. */
async function readMoment(
  store: ContainerStore,
  record: ContainerRecord,
  options: CommitOptions,
): Promise<Moment> {
  // Refused before anything has to wait.
  applyChanges({}, options.changes ?? []);
  if (options.pause === false) return readOnce(store, record, options, false);
  const hold = await holdChanges(record.id);
  try {
    const isStill = hold !== undefined && hold.writers === 0;
    for (let left = MOST_READS; ; left--) {
      try {
        return await readOnce(store, record, options, !isStill);
      } catch (error) {
        if (!(error instanceof LaminaError) || error.code !== 'EBUSY' || left === 1) throw error;
      }
    }
  } finally {
    hold?.release();
  }
}

async function readOnce(
  store: ContainerStore,
  record: ContainerRecord,
  options: CommitOptions,
  check: boolean,
): Promise<Moment> {
  const opened = await openContainer(store, record);
  let layer: PackedLayer | undefined;
  try {
    const entries = layerEntries(opened.tree, opened.lower);
    if (entries.some(isPacked)) layer = await packLayer(opened, entries, options);
    if (check) await checkUnchanged(store, opened);
    return { opened, layer };
  } catch (error) {
    if (layer !== undefined) closeSync(layer.blob.fd);
    opened.close();
    throw error;
  }
}

/** As docker: the new image runs as the container did. What is as in the image stays as it is written there. */
export function withSettings(base: RunConfigJson, { settings, labels }: ContainerRecord): RunConfigJson {
  if (settings === undefined) return base;
  const wanted: Record<string, unknown> = {
    Cmd: settings.cmd ?? [],
    Entrypoint: settings.entrypoint ?? [],
    Env: settings.env,
    Labels: labels,
    StopSignal: settings.stopSignal ?? '',
    User: settings.user,
    WorkingDir: settings.workingDir,
  };
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(wanted)) {
    const isEmpty = Object.keys(Object(value) as object).length === 0;
    const was = merged[key] ?? undefined;
    const wasEmpty = was === undefined || Object.keys(Object(was) as object).length === 0;
    if ((isEmpty && wasEmpty) || JSON.stringify(was) === JSON.stringify(value)) continue;
    if (isEmpty) delete merged[key];
    else merged[key] = value;
  }
  return merged as RunConfigJson;
}

async function addToStore(
  { images, name }: Extract<CommitTarget, { form: 'store' }>,
  base: ArchivedImage,
  configBytes: Buffer,
  layers: readonly LayerBlob[],
): Promise<WrittenImage> {
  const imageId = hashBytes('sha256', configBytes);
  const config = parseConfig(configBytes, 'config');
  const staging = await images.stage();
  try {
    const entry = await stageImage(images, staging, {
      ...{ references: [], imageId, config, configBytes, manifestDigest: undefined, manifest: undefined },
      platform: config.platform,
      layers,
    });
    await images.update((draft) => {
      const parent = draft.before.byId(base.imageId) === undefined ? {} : { parent: base.imageId };
      const named = name === undefined ? {} : { name, taggedAt: new Date().toISOString() };
      draft.add({ ...entry, ...parent, ...named });
    }, staging);
    return { imageId, manifestDigest: entry.digest };
  } finally {
    staging.dispose();
  }
}

function isPacked({ kind }: LayerEntry): boolean {
  return kind !== 'skipped';
}

/** A layout's index is read and written: one at a time. */
async function locked<T>(target: ImageTarget, work: () => Promise<T>): Promise<T> {
  const lock =
    target.form === 'oci' ? await lockDirectory(path.dirname(path.resolve(target.path))) : undefined;
  try {
    return await work();
  } finally {
    lock?.release();
  }
}

interface PackedLayer {
  blob: ByteSource;
  diffId: string;
}

/** The layer as a file that has no name any more: whatever ends this process, nothing of it stays. The caller closes it. */
async function packLayer(
  { view, tree, base }: OpenedContainer,
  entries: readonly LayerEntry[],
  { epochSec }: CommitOptions,
): Promise<PackedLayer> {
  const file = path.join(base.cache.root, 'tmp', `${process.pid}-${randomBytes(8).toString('hex')}`);
  const fd = openSync(file, 'wx+', 0o600);
  try {
    unlinkSync(file);
    const hash = createHash('sha256');
    const content = async function* (ino: number): AsyncGenerator<Buffer> {
      yield* view.chunks(ino);
    };
    const sink = (chunk: Buffer): void => {
      hash.update(chunk);
      for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
    };
    await writeLayer(tree, entries, content, sink, epochSec === undefined ? {} : { epochSec });
    const blob = { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: 'the new layer' };
    return { blob, diffId: `sha256:${hash.digest('hex')}` };
  } catch (error) {
    closeSync(fd);
    throw fromSystemError(error, 'cannot write the new layer below', base.cache.root);
  }
}

/** What was packed is what is there at one moment, if nothing has changed from before to after. Raises EBUSY. */
async function checkUnchanged(store: ContainerStore, { record, upper }: OpenedContainer): Promise<void> {
  const before = [...disks(upper)];
  const after = await scanDirectory(store.upperOf(record));
  for (let index = 0; index < Math.max(before.length, after.length); index++) {
    const [node, entry] = [before[index], after[index]];
    const isSame =
      node !== undefined &&
      entry !== undefined &&
      (
        [
          'depth',
          'name',
          'ino',
          'mode',
          'sizeBytes',
          'mtimeSec',
          'mtimeNsec',
          'ctimeSec',
          'ctimeNsec',
        ] as const
      ).every((field) => node.disk[field] === entry[field]);
    if (!isSame) throw changed(node?.path ?? entry?.name ?? '');
  }
}

function* disks(node: UpperNode): Generator<UpperNode> {
  yield node;
  for (const child of node.children?.values() ?? []) yield* disks(child);
}

/** What described the container that the base image was made in would be wrong of this one. */
const OF_ANOTHER: readonly string[] = [...OF_ITS_OWN_MAKING, 'author'];

function configJson(
  base: Record<string, unknown>,
  config: RunConfigJson,
  diffId: string | undefined,
  options: CommitOptions,
): Buffer {
  const created = new Date(
    options.epochSec === undefined ? Date.now() : options.epochSec * 1000,
  ).toISOString();
  const command = config['Cmd'];
  const said = {
    ...(options.author ? { author: options.author } : {}),
    ...(options.message ? { comment: options.message } : {}),
  };
  const entry = {
    created,
    created_by: Array.isArray(command) ? command.join(' ') : '',
    ...said,
    ...(diffId === undefined ? { empty_layer: true } : {}),
  };
  const kept = Object.fromEntries(Object.entries(base).filter(([key]) => !OF_ANOTHER.includes(key)));
  const rootfs = base['rootfs'] as { diff_ids?: string[] | null };
  const history = Array.isArray(base['history']) ? base['history'] : [];
  return Buffer.from(
    JSON.stringify({
      ...kept,
      created,
      ...(options.author ? { author: options.author } : {}),
      config,
      rootfs: {
        ...rootfs,
        diff_ids: [...(rootfs.diff_ids ?? []), ...(diffId === undefined ? [] : [diffId])],
      },
      history: [...history, entry],
    }),
  );
}
