/** `--squash`: all layers above the base image as one, which holds what differs between the two trees and nothing that came and went. */
import type { ByteString } from '../bytes.js';
import { writeLayer } from '../layer/diff.js';
import type { LayerEntry } from '../layer/diff.js';
import { NO_LAYER, ROOT_INO } from '../layer/tree.js';
import type { TreeReader } from '../layer/tree.js';
import { writeLayerFile } from './layer-file.js';
import type { LayerFile } from './layer-file.js';
import type { Session } from './session.js';
import { diffIdsOf } from './state.js';
import type { BuildState, Json } from './state.js';

export interface Squashed {
  state: BuildState;
  layerFile: LayerFile | undefined;
}

/** undefined when there is nothing to squash. */
export async function squashState(
  session: Session,
  base: BuildState,
  state: BuildState,
): Promise<Squashed | undefined> {
  const below = base.layers.length;
  if (state.layers.length - below < 2) return undefined;
  const [lower, upper] = [await session.view(base), await session.view(state)];
  const entries = differences(lower.toc, upper.toc, below);
  const content = async function* (ino: number): AsyncGenerator<Buffer> {
    yield* upper.chunks(ino);
  };
  const { epochSec } = session.options;
  const layerFile =
    entries.length === 0
      ? undefined
      : await writeLayerFile(session.cache.root, (sink) =>
          writeLayer(upper.toc, entries, content, sink, epochSec === undefined ? {} : { epochSec }),
        );
  const layers = [...base.layers, ...(layerFile === undefined ? [] : [session.layer(layerFile)])];
  const history = (state.json['history'] as Json[]).map((entry, index) =>
    index < (base.json['history'] as Json[]).length ? entry : { ...entry, empty_layer: true },
  );
  const merged = {
    created: session.created,
    comment: `merge ${diffIdsOf(state).at(-1)!} to ${diffIdsOf(base).at(-1) ?? 'scratch'}`,
    ...(layerFile === undefined ? { empty_layer: true } : {}),
  };
  const squashed: BuildState = {
    ...state,
    isStored: false,
    layers,
    json: {
      ...state.json,
      created: session.created,
      rootfs: { ...(state.json['rootfs'] as Json), diff_ids: layers.map(({ diffId }) => diffId) },
      history: [...history, merged],
    },
  };
  return { state: squashed, layerFile };
}

/** @param below how many layers both have; what comes from one of them has not changed */
function differences(lower: TreeReader, upper: TreeReader, below: number): LayerEntry[] {
  const isNew = (ino: number): boolean => {
    const { layer } = upper.inode(ino);
    return layer !== NO_LAYER && layer >= below;
  };
  const visit = (ino: number, base: number | undefined, path: ByteString): LayerEntry[] => {
    const hidden: LayerEntry[] = [];
    const shown: LayerEntry[] = [];
    const at = (name: ByteString): ByteString => (path === '' ? name : `${path}/${name}`);
    for (const { name } of base === undefined ? [] : lower.entries(base))
      if (upper.lookup(ino, name) === undefined)
        hidden.push({ kind: 'whiteout', path: at(name), ino: 0, change: 'D' });
    for (const { name, ino: child, type } of upper.entries(ino)) {
      const old = base === undefined ? undefined : lower.lookup(base, name);
      const isDir = type === 'dir';
      const oldDir = old !== undefined && isDir && lower.inode(old).type === 'dir' ? old : undefined;
      const inner = isDir ? visit(child, oldDir, at(name)) : [];
      if (old === undefined || isNew(child) || inner.length > 0 || (isDir && oldDir === undefined))
        shown.push({ kind: 'node', path: at(name), ino: child, change: old === undefined ? 'A' : 'C' });
      shown.push(...inner);
    }
    return [...hidden, ...shown];
  };
  const entries = visit(ROOT_INO, ROOT_INO, '');
  return isNew(ROOT_INO) ? [{ kind: 'node', path: '', ino: ROOT_INO, change: 'C' }, ...entries] : entries;
}
