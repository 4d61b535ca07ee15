/**
 * A tree -> the bytes of a TOC file (FORMAT.md). Equal trees give equal bytes: inodes are numbered, strings and xattr sets
 * stored, in the one order that FORMAT.md fixes. Pure but for the hash function's set-up.
 */
import xxhash from 'xxhash-wasm';
import type { ByteString } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { DirNode, Extent, LayerToc, MergedToc, TocLayer, TreeNode, Xattrs } from '../layer/tree.js';
import { isDir } from '../layer/tree.js';
import {
  direntType,
  FIXED_HEADER_BYTES,
  FLAG_IMPLICIT,
  FLAG_OPAQUE,
  KIND_LAYER,
  KIND_MERGED,
  SECTION_ENTRY_BYTES,
  SECTIONS,
  tableHash,
  TOC_FEATURES,
  TOC_MAGIC,
  TOC_VERSION,
  TYPE_BITS,
} from './toc-format.js';

type Hash64 = (bytes: Uint8Array) => bigint;

/** Deepest directory; the recursion of every reader is bounded by it. */
export const MAX_DEPTH = 4096;

/** Encodes a layer's or a merged tree. Raises ELIMIT when the tree is beyond the limits of the format. */
export async function encodeToc(toc: LayerToc | MergedToc): Promise<Buffer> {
  const { h64Raw } = await xxhash();
  const merged = 'layers' in toc;
  const numbered = numberNodes(toc.root);
  const strings = new StringTable(h64Raw);
  const xattrs = new XattrTable();
  const dirents = encodeDirents(numbered, strings);
  const { inodes, extents } = encodeInodes(numbered, strings, xattrs);
  const layers = encodeLayers(merged ? toc.layers : [toc.layer]);
  const sections = [
    inodes,
    dirents,
    strings.encode(),
    encodeSlots(numbered, dirents),
    extents,
    xattrs.encode(),
    layers,
  ];
  return assemble(sections, merged ? KIND_MERGED : KIND_LAYER, numbered, h64Raw);
}

/** Every node with its place in the tables, in ino order. */
interface Numbered {
  nodes: TreeNode[];
  nlinks: number[];
  /** By ino - 1; 0 for all but directories. */
  parents: number[];
  /** Directories in the order in which their dirents are stored. */
  dirs: NumberedDir[];
  direntCount: number;
  /** Inos of the nodes that may stand under several names. */
  sharedInos: Map<TreeNode, number>;
}

interface NumberedDir {
  ino: number;
  firstDirent: number;
  /** Sorted; `inos` says where each leads. */
  names: ByteString[];
  inos: number[];
}

function numberNodes(root: DirNode): Numbered {
  const numbered: Numbered = {
    nodes: [root],
    nlinks: [2],
    parents: [1],
    dirs: [],
    direntCount: 0,
    sharedInos: new Map(),
  };
  numberChildren(root, 1, 0, numbered);
  return numbered;
}

function numberChildren(dir: DirNode, ino: number, depth: number, out: Numbered): void {
  if (depth > MAX_DEPTH) throw new LaminaError('ELIMIT', `the tree is deeper than ${MAX_DEPTH} directories`);
  // Code units of a ByteString are its bytes, so the default order is that of memcmp.
  const names = [...dir.children.keys()].sort();
  const inos = new Array<number>(names.length);
  out.dirs.push({ ino, firstDirent: out.direntCount, names, inos });
  out.direntCount += names.length;
  const firstNew = out.nodes.length;
  names.forEach((name, index) => (inos[index] = numberNode(dir.children.get(name)!, ino, out)));
  const afterNew = out.nodes.length;
  for (let index = firstNew; index < afterNew; index++) {
    const child = out.nodes[index];
    if (isDir(child)) numberChildren(child, index + 1, depth + 1, out);
  }
}

function numberNode(node: TreeNode, parentIno: number, out: Numbered): number {
  const known = node.shared ? out.sharedInos.get(node) : undefined;
  if (known !== undefined) {
    out.nlinks[known - 1]!++;
    return known;
  }
  const ino = out.nodes.push(node);
  if (isDir(node)) {
    out.nlinks.push(2);
    out.parents.push(parentIno);
    out.nlinks[parentIno - 1]!++;
  } else {
    out.nlinks.push(1);
    out.parents.push(0);
    if (node.shared) out.sharedInos.set(node, ino);
  }
  return ino;
}

interface StoredString {
  offset: number;
  hash: number | undefined;
}

/** Names and texts, each stored once, with the hash of the names. */
class StringTable {
  readonly #known = new Map<ByteString, StoredString>();
  readonly #parts: ByteString[] = [];
  #length = 0;
  readonly #scratch = Buffer.alloc(256);

  constructor(private readonly hash64: Hash64) {}

  text(text: ByteString): StoredString {
    let stored = this.#known.get(text);
    if (stored === undefined) {
      stored = { offset: this.#length, hash: undefined };
      this.#known.set(text, stored);
      this.#parts.push(text);
      this.#length += text.length;
      if (this.#length >= 2 ** 32)
        throw new LaminaError('ELIMIT', 'the names of the tree are longer than 4 GiB');
    }
    return stored;
  }

  /** As `text`, with the low 32 bits of its XXH64; at most 255 bytes. */
  name(name: ByteString): { offset: number; hash: number } {
    const stored = this.text(name);
    if (stored.hash === undefined) {
      const length = this.#scratch.write(name, 'latin1');
      stored.hash = Number(this.hash64(this.#scratch.subarray(0, length)) & 0xffffffffn);
    }
    return stored as { offset: number; hash: number };
  }

  encode(): Buffer {
    return Buffer.from(this.#parts.join(''), 'latin1');
  }
}

function encodeDirents(numbered: Numbered, strings: StringTable): Buffer {
  const dirents = Buffer.alloc(numbered.direntCount * 16);
  const view = new DataView(dirents.buffer, dirents.byteOffset, dirents.byteLength);
  let at = 0;
  for (const { names, inos } of numbered.dirs) {
    for (const [index, name] of names.entries()) {
      const ino = inos[index]!;
      view.setUint32(at, ino, true);
      const stored = strings.name(name);
      view.setUint32(at + 4, stored.offset, true);
      view.setUint16(at + 8, name.length, true);
      view.setUint8(at + 10, direntType(numbered.nodes[ino - 1]!.type));
      view.setUint32(at + 12, stored.hash, true);
      at += 16;
    }
  }
  return dirents;
}

function encodeInodes(
  numbered: Numbered,
  strings: StringTable,
  xattrs: XattrTable,
): { inodes: Buffer; extents: Buffer } {
  const inodes = Buffer.alloc(numbered.nodes.length * 72);
  const view = new DataView(inodes.buffer, inodes.byteOffset, inodes.byteLength);
  const extents = Buffer.alloc(numbered.nodes.reduce((sum, node) => sum + node.extents.length, 0) * 32);
  const extentView = new DataView(extents.buffer, extents.byteOffset, extents.byteLength);
  let extentCount = 0;

  numbered.nodes.forEach((node, index) => {
    const at = index * 72;
    view.setUint32(at, TYPE_BITS[node.type] | (node.type === 'whiteout' ? 0 : node.mode), true);
    view.setUint32(at + 4, numbered.nlinks[index]!, true);
    view.setUint32(at + 8, node.uid, true);
    view.setUint32(at + 12, node.gid, true);
    setUint53(
      view,
      at + 16,
      node.type === 'file' ? node.sizeBytes : node.type === 'symlink' ? node.target.length : 0,
    );
    view.setUint32(at + 24, node.mtimeSec >>> 0, true);
    view.setInt32(at + 28, Math.floor(node.mtimeSec / 2 ** 32), true);
    view.setUint32(at + 32, node.mtimeNsec, true);
    view.setUint32(at + 36, node.rdevMajor, true);
    view.setUint32(at + 40, node.rdevMinor, true);
    view.setUint32(at + 44, node.layer, true);
    if (node.type === 'symlink' || node.type === 'link') {
      view.setUint32(at + 48, strings.text(node.target).offset, true);
      view.setUint32(at + 52, node.target.length, true);
    } else if (node.extents.length > 0) {
      view.setUint32(at + 48, extentCount, true);
      view.setUint32(at + 52, node.extents.length, true);
      for (const extent of node.extents) setExtent(extentView, extentCount++ * 32, extent);
    }
    view.setUint32(at + 56, xattrs.offset(node.xattrs), true);
    view.setUint32(at + 60, numbered.parents[index]!, true);
    view.setUint32(at + 64, (node.opaque ? FLAG_OPAQUE : 0) | (node.implicit ? FLAG_IMPLICIT : 0), true);
  });
  for (const { ino, names, firstDirent } of numbered.dirs) {
    view.setUint32((ino - 1) * 72 + 48, firstDirent, true);
    view.setUint32((ino - 1) * 72 + 52, names.length, true);
  }
  return { inodes, extents };
}

function setExtent(view: DataView, at: number, extent: Extent): void {
  setUint53(view, at, extent.logical);
  setUint53(view, at + 8, extent.length);
  setUint53(view, at + 16, extent.offset);
  view.setUint32(at + 24, extent.source, true);
}

/** Attribute sets, equal ones stored once. */
class XattrTable {
  readonly #offsets = new Map<string, number>();
  readonly #sets: Buffer[] = [Buffer.alloc(8)];
  #length = 8;

  offset(xattrs: Xattrs | undefined): number {
    if (xattrs === undefined) return 0;
    const set = encodeXattrs(xattrs);
    const key = set.toString('latin1');
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const offset = this.#length;
    const padding = -set.length & 3;
    this.#offsets.set(key, offset);
    this.#sets.push(set, Buffer.alloc(padding));
    this.#length += set.length + padding;
    if (this.#length >= 2 ** 32)
      throw new LaminaError('ELIMIT', 'the extended attributes of the tree are larger than 4 GiB');
    return offset;
  }

  encode(): Buffer {
    return Buffer.concat(this.#sets);
  }
}

function encodeXattrs(xattrs: Xattrs): Buffer {
  const length = xattrs.reduce((sum, { name, value }) => sum + 8 + name.length + value.length, 8);
  const set = Buffer.alloc(length);
  set.writeUInt32LE(xattrs.length, 0);
  set.writeUInt32LE(length, 4);
  let at = 8;
  for (const { name, value } of xattrs) {
    set.writeUInt16LE(name.length, at);
    set.writeUInt32LE(value.length, at + 4);
    set.write(name, at + 8, 'latin1');
    value.copy(set, at + 8 + name.length);
    at += 8 + name.length + value.length;
  }
  return set;
}

function encodeSlots(numbered: Numbered, dirents: Buffer): Buffer {
  let slotCount = 2;
  while (slotCount < numbered.direntCount * 2) slotCount *= 2;
  const slots = new Uint32Array(slotCount * 2);
  for (const { ino, names, firstDirent } of numbered.dirs) {
    for (let index = firstDirent; index < firstDirent + names.length; index++) {
      const hash = tableHash(dirents.readUInt32LE(index * 16 + 12), ino);
      let slot = hash & (slotCount - 1);
      while (slots[slot * 2 + 1] !== 0) slot = (slot + 1) & (slotCount - 1);
      slots[slot * 2] = hash;
      slots[slot * 2 + 1] = index + 1;
    }
  }
  return Buffer.from(slots.buffer);
}

function encodeLayers(layers: readonly TocLayer[]): Buffer {
  if (layers.length > 4096)
    throw new LaminaError('ELIMIT', `the image has ${layers.length} layers; at most 4096 can be merged`);
  const records = Buffer.alloc(layers.length * 80);
  layers.forEach(({ diffId, sizeBytes }, index) => {
    const [algorithm, hex] = diffId.split(':') as [string, string];
    const digest = Buffer.from(hex, 'hex');
    records.writeUInt32LE(algorithm === 'sha512' ? 2 : 1, index * 80);
    records.writeUInt32LE(digest.length, index * 80 + 4);
    digest.copy(records, index * 80 + 8);
    records.writeBigUInt64LE(BigInt(sizeBytes), index * 80 + 72);
  });
  return records;
}

function assemble(sections: Buffer[], kind: number, numbered: Numbered, hash64: Hash64): Buffer {
  const headerBytes = FIXED_HEADER_BYTES + SECTION_ENTRY_BYTES * sections.length;
  const starts: number[] = [];
  let fileBytes = headerBytes;
  for (const section of sections) {
    fileBytes += -fileBytes & 7;
    starts.push(fileBytes);
    fileBytes += section.length;
  }
  const file = Buffer.alloc(fileBytes);
  TOC_MAGIC.copy(file, 0);
  file.writeUInt32LE(TOC_VERSION, 8);
  file.writeUInt32LE(headerBytes, 12);
  file.writeBigUInt64LE(TOC_FEATURES, 16);
  file.writeUInt32LE(kind, 24);
  file.writeUInt32LE(sections.length, 28);
  file.writeBigUInt64LE(BigInt(fileBytes), 32);
  file.writeUInt32LE(numbered.nodes.length, 48);
  file.writeUInt32LE(numbered.direntCount, 52);
  sections.forEach((section, index) => {
    const { id, recordBytes } = SECTIONS[index]!;
    const at = FIXED_HEADER_BYTES + index * SECTION_ENTRY_BYTES;
    section.copy(file, starts[index]!);
    file.writeUInt32LE(id, at);
    file.writeUInt32LE(recordBytes, at + 4);
    file.writeBigUInt64LE(BigInt(starts[index]!), at + 8);
    file.writeBigUInt64LE(BigInt(section.length), at + 16);
    file.writeBigUInt64LE(hash64(section), at + 24);
  });
  file.writeBigUInt64LE(hash64(file.subarray(0, headerBytes)), 40);
  return file;
}

function setUint53(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
