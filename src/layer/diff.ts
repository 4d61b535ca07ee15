/**
 * What an upper directory changes, and the layer that says so. The layer is explicit and depends on nothing but the change: names in byte
 * order, depth first; in each directory the whiteouts before their siblings; every name that an opaque or renamed directory hides
 * has a whiteout of its own (image-spec layer.md, Whiteouts); renamed directories are there as a whole, and so is every name of a file
 * with several names, since a link to a file outside of the layer cannot be unpacked by all.
 */
import type { ByteString, Xattrs } from '../bytes.js';
import { compareBytes, displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { TarWriter } from '../tar/write.js';
import type { TarHeaderInput, TarSink } from '../tar/write.js';
import type { OverlaidTree } from './overlaid.js';
import type { FileAttributes, TreeInode, TreeReader } from './tree.js';
import { ROOT_INO } from './tree.js';
import { isReservedName, OPAQUE_NAME, whiteoutName } from './whiteout.js';

/** docker's letters: added, changed, deleted. `same`: in the layer only because something else needs it. */
export type ChangeKind = 'A' | 'C' | 'D' | 'same';

/** One entry of the layer. Paths have no slash before them; the root's is empty. */
export interface LayerEntry {
  /** `skipped`: a change that a layer cannot hold (a socket). */
  kind: 'node' | 'whiteout' | 'opaque' | 'skipped';
  path: ByteString;
  /** node: its inode in the tree. */
  ino: number;
  change: ChangeKind;
}

export interface Change {
  kind: 'A' | 'C' | 'D';
  path: ByteString;
}

/** As most tools unpack a layer with its whiteouts as files first, a whiteout's name should itself be a name. */
const MAX_NAME_BYTES = 255;

/**
 * What differs between `lower` and `tree`, which lies over it, as the entries of a layer in their order.
 * @param options.forPeople what changed, whether or not a layer can say it
 * Raises EWHITEOUT for a name that a layer cannot hold.
 */
export function layerEntries(
  tree: OverlaidTree,
  lower: TreeReader,
  options: { forPeople?: boolean } = {},
): LayerEntry[] {
  const forPeople = options.forPeople === true;
  const entries = new Collector(tree, lower, indexedNames(tree), forPeople).collect();
  if (forPeople) return entries;
  const others = otherNames(tree, lower, entries);
  return others.size === 0 ? entries : new Collector(tree, lower, others, false).collect();
}

/** The changes as `docker diff` lists them: a changed directory, or one with changes below it, before what is in it. */
export function changesOf(entries: readonly LayerEntry[]): Change[] {
  const changes: Change[] = [];
  for (const { kind, path, change } of entries) {
    if (path !== '' && kind !== 'opaque' && change !== 'same') changes.push({ kind: change, path });
  }
  // Whiteouts stand in their place among the names here.
  return changes.sort((a, b) => comparePaths(a.path, b.path));
}

function comparePaths(a: ByteString, b: ByteString): number {
  // A slash ends a name, so it comes before every other byte.
  return compareBytes(a.replaceAll('/', '\0'), b.replaceAll('/', '\0'));
}

/** Names that must be in the layer although they have not changed -> by directory, with those that lead there. */
type Forced = ReadonlyMap<ByteString, ReadonlySet<ByteString>>;

class Collector {
  constructor(
    private readonly tree: OverlaidTree,
    private readonly lower: TreeReader,
    private readonly forced: Forced,
    private readonly forPeople: boolean,
  ) {}

  collect(): LayerEntry[] {
    const entries = this.#directory(ROOT_INO, ROOT_INO, '');
    const isChanged = !isAlike(this.tree.inode(ROOT_INO), this.lower.inode(ROOT_INO));
    return isChanged ? [{ kind: 'node', path: '', ino: ROOT_INO, change: 'C' }, ...entries] : entries;
  }

  /** What is in a directory. `base`: the lower directory that stands at this path. */
  #directory(ino: number, base: number | undefined, path: ByteString): LayerEntry[] {
    const overlaid = this.tree.overlaid(ino);
    const isMerged =
      base !== undefined && (overlaid === undefined ? ino === base : overlaid.lowerIno === base);
    // Over its own lower directory only the upper's names can differ.
    const names = new Set(isMerged ? (overlaid?.upper.children?.keys() ?? []) : this.#namesOf(ino));
    if (!isMerged && base !== undefined) for (const { name } of this.lower.entries(base)) names.add(name);
    for (const name of this.forced.get(path) ?? []) names.add(name);

    const hidden: LayerEntry[] = [];
    const shown: LayerEntry[] = [];
    let mayList = true;
    for (const name of [...names].sort()) {
      const child = this.tree.lookup(ino, name);
      const below = base === undefined ? undefined : this.lower.lookup(base, name);
      const at = path === '' ? name : `${path}/${name}`;
      if (child === undefined || this.tree.inode(child).type === 'socket') {
        if (below !== undefined) {
          if (whiteoutName(name).length > MAX_NAME_BYTES) mayList = false;
          hidden.push({ kind: 'whiteout', path: at, ino: 0, change: child === undefined ? 'D' : 'C' });
        } else if (child !== undefined) shown.push({ kind: 'skipped', path: at, ino: child, change: 'A' });
      } else shown.push(...this.#child(child, below, name, at));
    }
    if (mayList || isMerged || base === undefined || this.forPeople) return [...hidden, ...shown];
    // Nothing of the lower directory counts below the marker, so all that is there is said anew.
    return [{ kind: 'opaque', path, ino, change: 'same' }, ...this.#directory(ino, undefined, path)];
  }

  #child(ino: number, below: number | undefined, name: ByteString, path: ByteString): LayerEntry[] {
    const inode = this.tree.inode(ino);
    const isOverlaid = this.tree.overlaid(ino) !== undefined;
    const base = below === undefined ? undefined : this.lower.inode(below);
    const isForced = this.forced.has(path);
    if (inode.type === 'dir') {
      if (ino === below && !isOverlaid && !isForced) return [];
      const lowerDir = base?.type === 'dir' ? base : undefined;
      const inside = this.#directory(ino, lowerDir?.ino, path);
      if (inside.length === 0 && lowerDir !== undefined && isAlike(inode, lowerDir)) return [];
      const isOnlyForced = inside.every(({ change }) => change === 'same');
      const change = lowerDir !== undefined && isAlike(inode, lowerDir) && isOnlyForced ? 'same' : 'C';
      return [this.#node(ino, name, path, below === undefined ? 'A' : change), ...inside];
    }
    if (base !== undefined && this.#isUntouched(inode, base)) {
      return isForced ? [this.#node(ino, name, path, 'same')] : [];
    }
    return [this.#node(ino, name, path, below === undefined ? 'A' : 'C')];
  }

  /** Copied up, or not even that, without a change. */
  #isUntouched(inode: TreeInode, base: TreeInode): boolean {
    if (inode.ino === base.ino) return true;
    const overlaid = this.tree.overlaid(inode.ino);
    if (overlaid?.upper.metacopy !== true || overlaid.lowerIno !== base.ino) return false;
    return inode.nlink === 1 && isAlike(inode, base);
  }

  #node(ino: number, name: ByteString, path: ByteString, change: ChangeKind): LayerEntry {
    if (!this.forPeople && isReservedName(name)) {
      const shown = displayBytes(`/${path}`);
      throw new LaminaError(
        'EWHITEOUT',
        `${shown} cannot be in a layer: it would be taken for a whiteout (image-spec layer.md)`,
        { path: shown, hint: 'Rename it in the container.' },
      );
    }
    return { kind: 'node', path, ino, change };
  }

  #namesOf(ino: number): ByteString[] {
    return this.tree.entries(ino).map(({ name }) => name);
  }
}

/**
 * The unchanged names of files of which another name is in the layer: a renamed lower directory may hold one of several. They are
 * looked for in the whole image, but only when there are such files.
 */
function otherNames(tree: OverlaidTree, lower: TreeReader, entries: readonly LayerEntry[]): Forced {
  const counts = new Map<number, number>();
  for (const { kind, ino } of entries) {
    if (kind !== 'node' || tree.overlaid(ino) !== undefined) continue;
    const inode = lower.inode(ino);
    if (inode.type !== 'dir' && inode.nlink > 1) counts.set(ino, (counts.get(ino) ?? 0) + 1);
  }
  const wanted = new Set(
    [...counts].filter(([ino, count]) => count < lower.inode(ino).nlink).map(([ino]) => ino),
  );
  if (wanted.size === 0) return new Map();
  return namesOf(tree, (ino) => wanted.has(ino) || tree.isIndexed(ino));
}

/** Names of the lower tree that lead to a file of the upper. */
function indexedNames(tree: OverlaidTree): Forced {
  return tree.hasIndexed ? namesOf(tree, (ino) => tree.isIndexed(ino)) : new Map();
}

function namesOf(tree: OverlaidTree, isWanted: (ino: number) => boolean): Forced {
  const forced = new Map<ByteString, Set<ByteString>>();
  const visit = (ino: number, path: ByteString): void => {
    for (const entry of tree.entries(ino)) {
      const at = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.type === 'dir') visit(entry.ino, at);
      else if (isWanted(entry.ino)) force(forced, at);
    }
  };
  visit(ROOT_INO, '');
  return forced;
}

/** Notes `path` in its directory, that in its own, and so on; `path` itself as a directory without names. */
function force(forced: Map<ByteString, Set<ByteString>>, path: ByteString): void {
  if (!forced.has(path)) forced.set(path, new Set());
  for (let at = path; at !== '';) {
    const slash = at.lastIndexOf('/');
    const parent = at.slice(0, Math.max(0, slash));
    const names = forced.get(parent) ?? new Set();
    names.add(at.slice(slash + 1));
    forced.set(parent, names);
    at = parent;
  }
}

function isAlike(a: TreeInode, b: TreeInode): boolean {
  return (
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtimeSec === b.mtimeSec &&
    a.mtimeNsec === b.mtimeNsec &&
    haveEqualXattrs(a.xattrs, b.xattrs)
  );
}

function haveEqualXattrs(a: Xattrs = [], b: Xattrs = []): boolean {
  return (
    a.length === b.length &&
    a.every(({ name, value }, index) => b[index]!.name === name && b[index]!.value.equals(value))
  );
}

export interface WriteLayerOptions {
  /** Times after this are set to it (SOURCE_DATE_EPOCH). */
  epochSec?: number;
}

/**
 * Writes the layer as a tar. The first name of a file with several is the file, the others link to it. Equal changes give equal bytes.
 * @param content the bytes of a regular file
 * Raises EIO when a file changes while it is read, and what `content` and `sink` raise.
 */
export async function writeLayer(
  tree: TreeReader,
  entries: readonly LayerEntry[],
  content: (ino: number) => AsyncIterable<Buffer>,
  sink: TarSink,
  options: WriteLayerOptions = {},
): Promise<void> {
  const writer = new TarWriter(sink);
  const firstNames = new Map<number, ByteString>();
  for (const { kind, path, ino } of entries) {
    if (kind === 'whiteout') await writer.entry(marker(hiding(path)));
    else if (kind === 'opaque')
      await writer.entry(marker(path === '' ? OPAQUE_NAME : `${path}/${OPAQUE_NAME}`));
    if (kind !== 'node') continue;
    const inode = tree.inode(ino);
    const header = layerHeader(inode, path === '' ? './' : path, options.epochSec);
    const first = firstNames.get(ino);
    if (first !== undefined) {
      await writer.entry({ ...header, type: 'link', linkName: first, xattrs: undefined });
      continue;
    }
    if (inode.type !== 'dir') firstNames.set(ino, path);
    await writer.entry(header, inode.type === 'file' ? content(ino) : undefined);
  }
  await writer.finish();
}

function hiding(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/') + 1;
  return path.slice(0, slash) + whiteoutName(path.slice(slash));
}

/** Nothing of a marker but its name counts. */
function marker(name: ByteString): TarHeaderInput {
  return { type: 'file', name, mode: 0o600, uid: 0, gid: 0, sizeBytes: 0, mtimeSec: 0, mtimeNsec: 0 };
}

/** @param epochSec later times are set to it */
export function layerHeader(
  inode: FileAttributes,
  name: ByteString,
  epochSec: number | undefined,
): TarHeaderInput {
  const isLater =
    epochSec !== undefined &&
    (inode.mtimeSec > epochSec || (inode.mtimeSec === epochSec && inode.mtimeNsec > 0));
  return {
    type: inode.type as TarHeaderInput['type'],
    name,
    ...(inode.type === 'symlink' ? { linkName: inode.target } : {}),
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    sizeBytes: inode.sizeBytes,
    mtimeSec: isLater ? epochSec : inode.mtimeSec,
    mtimeNsec: isLater ? 0 : inode.mtimeNsec,
    devMajor: inode.rdevMajor,
    devMinor: inode.rdevMinor,
    xattrs: inode.xattrs,
  };
}
