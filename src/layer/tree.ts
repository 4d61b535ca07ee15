/**
 * The tree that one layer describes, and the tree that merged layers make: the same nodes for both. A layer's tree may
 * also hold whiteouts, links to files of lower layers, and directories that it only passes through (`implicit`); a
 * merged tree holds none of these. Hard links are one node that stands under several names.
 */
import type { ByteString, Xattrs } from '../bytes.js';

export type { Xattrs };

/** A run of a file's bytes. Extents of a file are in order, without gaps, and cover exactly 0..sizeBytes. */
export interface Extent {
  /** Offset in the file. */
  logical: number;
  length: number;
  /** Index of the layer whose tar holds the bytes, or HOLE: zeros that are stored nowhere. */
  source: number;
  /** Offset in that layer's (uncompressed) tar; 0 for a hole. */
  offset: number;
}

/** `Extent.source` of a hole. */
export const HOLE = 0xffffffff;

export type NodeType =
  'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket' | 'whiteout' | 'link';

/** File type bits of `st_mode` (inode(7)). */
export const FILE_TYPE_BITS: Readonly<Record<Exclude<NodeType, 'whiteout' | 'link'>, number>> = {
  file: 0o100000,
  dir: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
};

/** What every name leads to. `type` says which of the optional fields count. */
export interface TreeNode {
  type: NodeType;
  /** Permission, setuid, setgid and sticky bits: 0..0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since the epoch, rounded down, and the rest in nanoseconds 0..999999999. */
  mtimeSec: number;
  mtimeNsec: number;
  /** Index of the layer (bottom is 0) that gave these attributes; NO_LAYER for a directory that no layer describes. */
  layer: number;
  xattrs: Xattrs | undefined;
  /** file: logical size. */
  sizeBytes: number;
  /** file: where the bytes are; empty for an empty file. */
  extents: readonly Extent[];
  /** symlink: its text. link (layer trees only): path of a file that some lower layer holds. */
  target: ByteString;
  /** char, block. */
  rdevMajor: number;
  rdevMinor: number;
  /** dir: children by name. undefined for all else. */
  children: Map<ByteString, TreeNode> | undefined;
  /** The node may stand under several names (hard links). Never true of a directory. */
  shared: boolean;
  /** dir in a layer tree: nothing of the lower layers shows through. */
  opaque: boolean;
  /** dir in a layer tree: the layer has entries below it but does not describe it; lower attributes stay. */
  implicit: boolean;
}

/** `TreeNode.layer` of a directory that no layer describes. */
export const NO_LAYER = 0xffffffff;

/** A directory. */
export type DirNode = TreeNode & { type: 'dir'; children: Map<ByteString, TreeNode> };

export function isDir(node: TreeNode | undefined): node is DirNode {
  return node !== undefined && node.children !== undefined;
}

/** An empty directory that nothing describes: root-owned, 0755, the epoch. */
export function implicitDir(): DirNode {
  return {
    type: 'dir',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    layer: NO_LAYER,
    xattrs: undefined,
    sizeBytes: 0,
    extents: [],
    target: '',
    rdevMajor: 0,
    rdevMinor: 0,
    children: new Map(),
    shared: false,
    opaque: false,
    implicit: true,
  } as DirNode;
}

/** Whether a directory of a layer tree holds more than whiteouts and directories that only lead to whiteouts. */
export function addsAnything(dir: DirNode): boolean {
  for (const child of dir.children.values()) {
    if (isDir(child) ? !child.implicit || addsAnything(child) : child.type !== 'whiteout') return true;
  }
  return false;
}

/** The layers of an image, bottom to top, as one TOC file names them. */
export interface TocLayer {
  /** Digest of the uncompressed tar, `sha256:<hex>` or `sha512:<hex>`. */
  diffId: string;
  /** Size of the uncompressed tar. */
  sizeBytes: number;
}

/** What one layer adds, hides and makes opaque. */
export interface LayerToc {
  /** Its place in the image, bottom is 0: `layer` and `source` of its nodes. A layer TOC that is written alone has 0. */
  index: number;
  layer: TocLayer;
  root: DirNode;
}

/** What all layers together show. */
export interface MergedToc {
  /** Bottom to top; `TreeNode.layer` and `Extent.source` index it. */
  layers: readonly TocLayer[];
  root: DirNode;
}

/** One inode of a numbered tree. Fields as in TreeNode; `parent` is 0 but for directories. */
export interface TreeInode {
  ino: number;
  type: NodeType;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  mtimeSec: number;
  mtimeNsec: number;
  rdevMajor: number;
  rdevMinor: number;
  layer: number;
  target: ByteString;
  xattrs: Xattrs | undefined;
  parent: number;
  opaque: boolean;
  implicit: boolean;
}

export interface TreeEntry {
  name: ByteString;
  ino: number;
  type: NodeType;
}

export const ROOT_INO = 1;

/** A tree that is asked by inode number: a TOC file, or one with an upper directory over it. */
export interface TreeReader {
  readonly kind: 'layer' | 'merged';
  /** Bottom to top. */
  readonly layers: readonly TocLayer[];
  /** Inodes are numbered from 1 up to this. */
  readonly inodeCount: number;
  /** How many sources extents may name; as many as there are layers when absent. */
  readonly sourceCount?: number;
  inode(ino: number): TreeInode;
  /** The ino that `name` leads to in the directory `parentIno`; undefined when it has no such name or is none. */
  lookup(parentIno: number, name: ByteString): number | undefined;
  /** The children of a directory in byte order of their names; none for all else. */
  entries(ino: number): TreeEntry[];
  /** The extents of a regular file, in order; none for all else. */
  extents(ino: number): readonly Extent[];
}

/** What a node of a tree and an inode of a TOC both say of a file. */
export type FileAttributes = Pick<
  TreeInode,
  | 'type'
  | 'mode'
  | 'uid'
  | 'gid'
  | 'mtimeSec'
  | 'mtimeNsec'
  | 'xattrs'
  | 'target'
  | 'rdevMajor'
  | 'rdevMinor'
  | 'sizeBytes'
>;
