/**
 * What an image holds by its own merged TOC, and from that what each pass is given and must find. The paths are those that the user
 * who runs the bench may reach through a mount, so that every subject does the same work.
 */
import type { ByteString } from '../bytes.js';
import type { TreeInode, TreeReader } from '../layer/tree.js';
import { NO_LAYER } from '../layer/tree.js';
import { ImageView } from '../merge/view.js';
import type { ByteSource } from '../tar/source.js';
import { spread } from './statistics.js';

export interface ListedName {
  /** From the root, without a leading slash. */
  path: ByteString;
  inode: TreeInode;
}

/** Names whose entry one layer gives. */
export interface LayerNames {
  /** Bottom is 0. */
  layer: number;
  names: ListedName[];
}

export interface Listing {
  layerCount: number;
  /** All that a walk meets, in depth-first order. */
  names: ListedName[];
  /** Directories that are not entered, because this user may not. */
  skipped: ByteString[];
  /** Regular files that this user may read. */
  files: ListedName[];
  /** Names that do not exist, in directories all over the tree. */
  missing: ByteString[];
  /** Of the topmost, a middle and the bottom layer that give enough names; fewer where there are fewer. */
  byLayer: { top?: LayerNames; middle?: LayerNames; bottom?: LayerNames };
}

/** A layer with fewer names than this says little about a lookup. */
const ENOUGH_NAMES = 50;
/** What programs ask for in vain: module paths, settings. */
const MISSING_NAMES: readonly ByteString[] = ['node_modules', 'index.missing', '.env'];

export interface Reader {
  uid: number;
  gids: readonly number[];
}

export function currentUser(): Reader {
  return { uid: process.getuid?.() ?? 0, gids: process.getgroups?.() ?? [] };
}

/** `reader` 0 is root, who may read everything. */
export function listImage(toc: TreeReader, sources: readonly ByteSource[], reader = currentUser()): Listing {
  const view = new ImageView(toc, sources);
  const names: ListedName[] = [];
  const files: ListedName[] = [];
  const skipped: ByteString[] = [];
  const missing: ByteString[] = [];
  const walk = view.walk(undefined, ({ depth, ino, path }) => {
    const enters = depth === 0 || may(reader, toc.inode(ino), 5);
    if (!enters) skipped.push(path.slice(1));
    return enters;
  });
  for (const { ino, path, depth, type } of walk) {
    const inode = toc.inode(ino);
    // What a list of lines cannot hold; the walks meet it all the same.
    if (depth > 0) names.push({ path: path.slice(1), inode });
    if (type === 'file' && may(reader, inode, 4)) files.push({ path: path.slice(1), inode });
    if (type === 'dir' && (depth === 0 || may(reader, inode, 5))) {
      for (const name of MISSING_NAMES)
        if (toc.lookup(ino, name) === undefined)
          missing.push(`${path.slice(1)}${depth > 0 ? '/' : ''}${name}`);
    }
  }
  return {
    layerCount: toc.layers.length,
    names,
    skipped,
    files: files.filter(({ path }) => isLine(path)),
    missing: missing.filter(isLine),
    byLayer: layersOf(names),
  };
}

/** Whether it can stand in a list with one path a line. */
export function isLine(path: ByteString): boolean {
  return !path.includes('\n');
}

/** @param bits of `rwx` that are needed. The kernel takes the first class that fits (path_resolution(7)). */
function may({ uid, gids }: Reader, inode: TreeInode, bits: number): boolean {
  if (uid === 0) return true;
  const shift = inode.uid === uid ? 6 : gids.includes(inode.gid) ? 3 : 0;
  return ((inode.mode >> shift) & bits) === bits;
}

/** Directories are merged from several layers: only what one layer alone gives counts. */
function layersOf(names: readonly ListedName[]): Listing['byLayer'] {
  const byLayer = new Map<number, ListedName[]>();
  for (const name of names) {
    const { layer, type } = name.inode;
    if (type === 'dir' || layer === NO_LAYER || !isLine(name.path)) continue;
    const group = byLayer.get(layer);
    if (group === undefined) byLayer.set(layer, [name]);
    else group.push(name);
  }
  const most = Math.max(0, ...[...byLayer.values()].map((group) => group.length));
  const able = [...byLayer]
    .filter(([, group]) => group.length >= Math.min(ENOUGH_NAMES, most))
    .sort(([a], [b]) => a - b)
    .map(([layer, group]): LayerNames => ({ layer, names: group }));
  const [bottom, top] = [able[0], able.at(-1)];
  const middle = able.length > 2 ? able[able.length >> 1] : undefined;
  return {
    ...(top === undefined ? {} : { top }),
    ...(middle === undefined ? {} : { middle }),
    ...(bottom === undefined || bottom === top ? {} : { bottom }),
  };
}

/** lstat of each: regular files have bytes. */
export function workOf(names: readonly ListedName[]): { operations: number; bytes: number } {
  const sizes = names.map(({ inode }) => (inode.type === 'file' ? inode.sizeBytes : 0));
  return { operations: names.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** Files from all over the tree that hold at most `bytes` together. */
export function filesWithin(files: readonly ListedName[], bytes: number, count: number): ListedName[] {
  let left = bytes;
  return spread(files, count).filter(({ inode }) => {
    if (inode.sizeBytes > left) return false;
    left -= inode.sizeBytes;
    return true;
  });
}
