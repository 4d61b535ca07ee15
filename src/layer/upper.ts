/**
 * What a writable layer's directory says, in overlayfs's own format: whiteouts, opaque directories, redirects, metacopies.
 * The rule it guards: what is private to the union (`<prefix>*`) is understood here and never seen again. Sources: Linux
 * Documentation/filesystems/overlayfs.rst; fs/overlayfs/overlayfs.h; containers/storage pkg/idtools (override_stat).
 */
import type { ByteString, Xattrs } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { FILE_TYPE_BITS } from './tree.js';
import type { NodeType } from './tree.js';

/** One name below a directory, as the disk has it. */
export interface DiskEntry {
  /** 0 for the directory itself. */
  depth: number;
  name: ByteString;
  /** st_mode. */
  mode: number;
  dev: bigint;
  ino: bigint;
  nlink: number;
  uid: number;
  gid: number;
  rdevMajor: number;
  rdevMinor: number;
  sizeBytes: number;
  mtimeSec: number;
  mtimeNsec: number;
  ctimeSec: number;
  ctimeNsec: number;
  target: ByteString;
  /** In byte order of their names. */
  xattrs: Xattrs;
}

/** Which attributes are the union's own: root's, or what everybody may set. */
export type OverlayPrefix = 'trusted.overlay.' | 'user.overlay.';

export interface UpperNode {
  type: NodeType;
  /** From the root of the upper directory, without a slash before it; empty for the root. */
  path: ByteString;
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  mtimeSec: number;
  mtimeNsec: number;
  rdevMajor: number;
  rdevMinor: number;
  target: ByteString;
  /** As the container sees them. */
  xattrs: Xattrs | undefined;
  /** dir. */
  children: Map<ByteString, UpperNode> | undefined;
  /** dir: nothing of the lower directory shows through. */
  opaque: boolean;
  /** dir, metacopy: where in the lower tree it came from; a path from the root, or a name beside this one. */
  redirect: ByteString | undefined;
  /** file: attributes are this one's, the content is the lower file's. */
  metacopy: boolean;
  /** All names of a file in kernel overlayfs's index, those of the lower tree included. */
  linksInUnion: number | undefined;
  /** What the disk says, to tell names of one inode, and whether anything changed. */
  disk: DiskEntry;
}

/** Of the host, not of the file: another host labels it anew. */
const HOST_XATTRS: ReadonlySet<ByteString> = new Set(['security.selinux']);
/** Owner, mode and type of what could not be given them (containers/storage, pkg/idtools). */
export const OVERRIDE_STAT = 'user.containers.override_stat';
/** The same by fuse-overlayfs, with xattr_permissions=1; in the order in which native/overlay/override.h looks for them. */
const OVERRIDES: readonly ByteString[] = [
  OVERRIDE_STAT,
  'security.fuseoverlayfs.override_stat',
  'user.fuseoverlayfs.override_stat',
];

/**
 * The attribute in which an upper directory keeps owners: the one that its root has (FORMAT.md). undefined: they are the objects' own.
 */
export function overrideOf(root: DiskEntry): ByteString | undefined {
  return OVERRIDES.find((attribute) => root.xattrs.some(({ name }) => name === attribute));
}
const ESCAPE = 'overlay.';

/** The type in st_mode. */
export const S_IFMT = 0o170000;
const TYPE_OF_BITS = new Map(Object.entries(FILE_TYPE_BITS).map(([type, bits]) => [bits, type as NodeType]));

/** What st_mode says that something is; undefined for what Linux does not know. */
export function typeOfMode(mode: number): NodeType | undefined {
  return TYPE_OF_BITS.get(mode & S_IFMT);
}

/**
 * The tree that a scan of an upper directory describes.
 * @param entries depth first, a directory before its children, the root first
 * Raises EUPPER when they contradict themselves.
 */
export function readUpper(entries: Iterable<DiskEntry>, prefix: OverlayPrefix): UpperNode {
  const ancestors: UpperNode[] = [];
  let override: ByteString | undefined;
  for (const entry of entries) {
    if (entry.depth === 0) override = overrideOf(entry);
    ancestors.length = Math.min(ancestors.length, entry.depth);
    const parent = ancestors.at(-1);
    if (ancestors.length !== entry.depth) throw badUpper(entry.name, 'its scan is out of order');
    const path = parent === undefined || parent.path === '' ? entry.name : `${parent.path}/${entry.name}`;
    const node = nodeOf(entry, path, { prefix, override }, parent);
    parent?.children!.set(entry.name, node);
    ancestors.push(node);
  }
  const [root] = ancestors;
  if (root?.children === undefined) throw badUpper('', 'it is not a directory');
  return root;
}

function nodeOf(
  disk: DiskEntry,
  path: ByteString,
  { prefix, override }: { prefix: OverlayPrefix; override: ByteString | undefined },
  parent: UpperNode | undefined,
): UpperNode {
  const own = new Map<ByteString, Buffer>();
  const shown: { name: ByteString; value: Buffer }[] = [];
  for (const { name, value } of disk.xattrs) {
    if (name.startsWith(prefix)) {
      const inner = name.slice(prefix.length);
      if (inner.startsWith(ESCAPE)) shown.push({ name: prefix + inner.slice(ESCAPE.length), value });
      else own.set(inner, value);
    } else if (OVERRIDES.includes(name)) {
      if (name === override) own.set(OVERRIDE_STAT, value);
    } else if (!HOST_XATTRS.has(name)) shown.push({ name, value });
  }
  const type = typeOfMode(disk.mode);
  if (type === undefined) throw badUpper(path, `it has the mode 0${disk.mode.toString(8)}`);
  const node: UpperNode = {
    type,
    path,
    // Linux knows no permission bits of symbolic links: symlink(7).
    mode: type === 'symlink' ? 0o777 : disk.mode & 0o7777,
    uid: disk.uid,
    gid: disk.gid,
    sizeBytes: type === 'file' ? disk.sizeBytes : 0,
    mtimeSec: disk.mtimeSec,
    mtimeNsec: disk.mtimeNsec,
    rdevMajor: disk.rdevMajor,
    rdevMinor: disk.rdevMinor,
    target: disk.target,
    xattrs: shown.length === 0 ? undefined : shown.sort((a, b) => (a.name < b.name ? -1 : 1)),
    children: undefined,
    opaque: false,
    redirect: undefined,
    metacopy: false,
    linksInUnion: undefined,
    disk,
  };
  if (isWhiteoutEntry(disk, parent?.disk, prefix)) return { ...node, type: 'whiteout' };
  const kept = own.get(OVERRIDE_STAT);
  if (kept !== undefined) applyOverride(node, kept, path);
  if (node.type === 'dir') {
    node.children = new Map();
    node.opaque = own.get('opaque')?.toString('latin1') === 'y';
  }
  node.linksInUnion = linksInUnion(own.get('nlink'), disk);
  node.metacopy = node.type === 'file' && own.has('metacopy');
  if (node.type === 'dir' || node.metacopy) node.redirect = redirectOf(own.get('redirect'), path);
  return node;
}

/** `U+N`, `U-N`: so many more names, or fewer, than the upper inode has (fs/overlayfs/util.c, ovl_set_nlink_common). */
function linksInUnion(value: Buffer | undefined, { nlink }: DiskEntry): number | undefined {
  const [, difference] = /^U([+-]\d+)/.exec(value?.toString('latin1') ?? '') ?? [];
  return difference === undefined ? undefined : nlink + Number(difference);
}

/** A 0:0 character device; or, where devices cannot be made, an empty file in a directory that says it holds such. */
export function isWhiteoutEntry(
  disk: DiskEntry,
  parent: DiskEntry | undefined,
  prefix: OverlayPrefix,
): boolean {
  if (isWhiteoutDevice(disk)) return true;
  if ((disk.mode & S_IFMT) !== 0o100000 || disk.sizeBytes !== 0 || parent === undefined) return false;
  return disk.xattrs.some(({ name }) => name === `${prefix}whiteout`) && opaqueValue(parent, prefix) === 'x';
}

export function isWhiteoutDevice({ mode, rdevMajor, rdevMinor }: DiskEntry): boolean {
  return (mode & S_IFMT) === 0o020000 && rdevMajor === 0 && rdevMinor === 0;
}

/** `y`: opaque. `x`: may hold whiteouts that are files. */
export function opaqueValue(disk: DiskEntry, prefix: OverlayPrefix): ByteString | undefined {
  return disk.xattrs.find(({ name }) => name === `${prefix}opaque`)?.value.toString('latin1');
}

/** As fs/overlayfs/namei.c, ovl_check_redirect: a path from the root without empty parts, or one name; undefined when it is neither. */
export function parseRedirect(value: Buffer): ByteString | undefined {
  const text = value.toString('latin1');
  const names = text.startsWith('/') ? text.slice(1).split('/') : [text];
  const isWell = names.every((name) => name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name));
  return isWell ? text : undefined;
}

function redirectOf(value: Buffer | undefined, path: ByteString): ByteString | undefined {
  if (value === undefined) return undefined;
  const redirect = parseRedirect(value);
  if (redirect !== undefined) return redirect;
  throw badUpper(path, `its redirect "${displayBytes(value.toString('latin1'))}" is no path`);
}

export interface StatOverride {
  uid: number;
  gid: number;
  mode: number;
  type: NodeType | undefined;
  rdevMajor: number;
  rdevMinor: number;
}

/** `uid:gid:mode[:type]`, octal; type is `file`, `dir`, `pipe`, `socket`, `block-MAJOR-MINOR` or `char-MAJOR-MINOR`. */
export function parseOverride(value: Buffer): StatOverride | undefined {
  const text = value.toString('latin1').replace(/\0$/, '');
  const match = /^(\d{1,10}):(\d{1,10}):0*([0-7]{0,6})(?::(\w+)(?:-(\d+)-(\d+))?)?$/.exec(text);
  if (match === null) return undefined;
  const [, uid, gid, mode, type, major, minor] = match;
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode: parseInt(mode || '0', 8) & 0o7777,
    type: OVERRIDE_TYPES.get(type ?? ''),
    rdevMajor: Number(major ?? 0),
    rdevMinor: Number(minor ?? 0),
  };
}

function applyOverride(node: UpperNode, value: Buffer, path: ByteString): void {
  const override = parseOverride(value);
  if (override === undefined)
    throw badUpper(path, `its ${OVERRIDE_STAT} "${displayBytes(value.toString('latin1'))}" cannot be read`);
  node.uid = override.uid;
  node.gid = override.gid;
  if (node.type !== 'symlink') node.mode = override.mode;
  const { type } = override;
  // Only what could not be made is said: an empty file that stands for a device, FIFO or socket.
  if (type === undefined || node.type !== 'file' || type === 'file' || type === 'dir') return;
  node.type = type;
  node.sizeBytes = 0;
  node.rdevMajor = override.rdevMajor;
  node.rdevMinor = override.rdevMinor;
}

const OVERRIDE_TYPES = new Map<string, NodeType>([
  ['file', 'file'],
  ['dir', 'dir'],
  ['pipe', 'fifo'],
  ['socket', 'socket'],
  ['block', 'block'],
  ['char', 'char'],
]);

export function badUpper(path: ByteString, what: string): LaminaError {
  const shown = displayBytes(`/${path}`);
  return new LaminaError('EUPPER', `the container's own layer is damaged at ${shown}: ${what}`, {
    path: shown,
  });
}
