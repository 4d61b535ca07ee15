/**
 * Reads a TOC file where it lies (FORMAT.md): nothing is decoded before it is asked for, so that one look-up in an image of
 * 65,000 names costs one look-up. Every offset is checked when it is used: a damaged file raises EBADTOC, never less.
 */
import xxhash from 'xxhash-wasm';
import type { ByteString } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type {
  DirNode,
  Extent,
  LayerToc,
  MergedToc,
  TocLayer,
  TreeEntry,
  TreeInode,
  TreeNode,
  TreeReader,
  Xattrs,
} from '../layer/tree.js';
import { HOLE, ROOT_INO } from '../layer/tree.js';
import { MAX_DEPTH } from './encode.js';
import {
  FIXED_HEADER_BYTES,
  FLAG_IMPLICIT,
  FLAG_OPAQUE,
  KIND_LAYER,
  KIND_MERGED,
  SECTION_ENTRY_BYTES,
  SECTIONS,
  TOC_FEATURES,
  TOC_MAGIC,
  TOC_VERSION,
  TYPE_OF_BITS,
} from './toc-format.js';
import type { SectionName } from './toc-format.js';

export type { TreeEntry as TocEntry, TreeInode as TocInode } from '../layer/tree.js';
export { ROOT_INO };

export class TocReader implements TreeReader {
  readonly kind: 'layer' | 'merged';
  readonly inodeCount: number;
  /** Bottom to top. */
  readonly layers: readonly TocLayer[];
  readonly #file: Buffer;
  readonly #name: string;
  readonly #sections: Record<SectionName, Buffer>;

  /**
   * @param file the whole TOC file; it must not change afterwards
   * @param name what to call it in errors
   * Checks header and section table (EBADTOC, ETOCVERSION), not the checksums: see `verifyChecksums`.
   */
  constructor(file: Buffer, name: string) {
    this.#file = file;
    this.#name = name;
    if (file.length < FIXED_HEADER_BYTES || !file.subarray(0, 8).equals(TOC_MAGIC))
      throw this.#bad('it is not a TOC file');
    const version = file.readUInt32LE(8);
    const features = file.readBigUInt64LE(16);
    if (version !== TOC_VERSION || (features & ~TOC_FEATURES) !== 0n) {
      throw new LaminaError(
        'ETOCVERSION',
        `${name}: TOC version ${version} with features 0x${features.toString(16)}; this Lamina reads version ${TOC_VERSION}`,
        { path: name },
      );
    }
    const kind = file.readUInt32LE(24);
    if (kind !== KIND_LAYER && kind !== KIND_MERGED) throw this.#bad(`unknown kind ${kind}`);
    this.kind = kind === KIND_LAYER ? 'layer' : 'merged';
    if (file.readBigUInt64LE(32) !== BigInt(file.length))
      throw this.#bad('its size is not what its header says');
    this.#sections = this.#findSections();
    this.inodeCount = this.#sections.inodes.length / 72;
    if (this.inodeCount === 0 || this.inodeCount !== file.readUInt32LE(48))
      throw this.#bad('wrong inode count');
    if (this.#sections.dirents.length / 16 !== file.readUInt32LE(52)) throw this.#bad('wrong dirent count');
    this.layers = this.#readLayers();
    if (this.inode(ROOT_INO).type !== 'dir') throw this.#bad('its root is not a directory');
  }

  /** Checks the header's and every section's checksum; raises EBADTOC. Worth it once, when a file comes from a disk. */
  async verifyChecksums(): Promise<void> {
    const { h64Raw } = await xxhash();
    const header = Buffer.from(this.#file.subarray(0, this.#file.readUInt32LE(12)));
    header.fill(0, 40, 48);
    if (h64Raw(header) !== this.#file.readBigUInt64LE(40))
      throw this.#bad('the checksum of its header is wrong');
    SECTIONS.forEach(({ name }, index) => {
      const expected = this.#file.readBigUInt64LE(FIXED_HEADER_BYTES + index * SECTION_ENTRY_BYTES + 24);
      if (h64Raw(this.#sections[name]) !== expected)
        throw this.#bad(`the checksum of its ${name} section is wrong`);
    });
  }

  /** Tells this file from others: the checksum of its header, which covers those of all sections. */
  get key(): bigint {
    return this.#file.readBigUInt64LE(40);
  }

  inode(ino: number): TreeInode {
    const inodes = this.#sections.inodes;
    if (!(ino >= 1 && ino <= this.inodeCount)) throw this.#bad(`inode ${ino} does not exist`);
    const at = (ino - 1) * 72;
    const mode = inodes.readUInt32LE(at);
    const type = TYPE_OF_BITS.get(mode & 0o170000);
    if (type === undefined) throw this.#bad(`inode ${ino} has mode 0${mode.toString(8)}`);
    const flags = inodes.readUInt32LE(at + 64);
    return {
      ino,
      type,
      mode: mode & 0o7777,
      nlink: inodes.readUInt32LE(at + 4),
      uid: inodes.readUInt32LE(at + 8),
      gid: inodes.readUInt32LE(at + 12),
      sizeBytes: this.#uint53(inodes, at + 16),
      mtimeSec: inodes.readInt32LE(at + 28) * 2 ** 32 + inodes.readUInt32LE(at + 24),
      mtimeNsec: inodes.readUInt32LE(at + 32),
      rdevMajor: inodes.readUInt32LE(at + 36),
      rdevMinor: inodes.readUInt32LE(at + 40),
      layer: inodes.readUInt32LE(at + 44),
      target:
        type === 'symlink' || type === 'link'
          ? this.#string(inodes.readUInt32LE(at + 48), inodes.readUInt32LE(at + 52))
          : '',
      xattrs: this.#xattrs(inodes.readUInt32LE(at + 56)),
      parent: inodes.readUInt32LE(at + 60),
      opaque: (flags & FLAG_OPAQUE) !== 0,
      implicit: (flags & FLAG_IMPLICIT) !== 0,
    };
  }

  /** The ino that `name` leads to in the directory `parentIno`; undefined when it has no such name or is none. */
  lookup(parentIno: number, name: ByteString): number | undefined {
    const [first, count] = this.#direntRange(parentIno);
    let low = first;
    let high = first + count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = this.#direntName(middle);
      if (found === name) return this.#sections.dirents.readUInt32LE(middle * 16);
      if (found < name) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  /** The children of a directory in byte order of their names; none for all else. */
  entries(ino: number): TreeEntry[] {
    const [first, count] = this.#direntRange(ino);
    const entries: TreeEntry[] = [];
    for (let index = first; index < first + count; index++) {
      const child = this.#sections.dirents.readUInt32LE(index * 16);
      if (!(child >= 1 && child <= this.inodeCount)) throw this.#bad(`inode ${child} does not exist`);
      const type = TYPE_OF_BITS.get(this.#sections.inodes.readUInt32LE((child - 1) * 72) & 0o170000);
      if (type === undefined) throw this.#bad(`inode ${child} has no known type`);
      entries.push({ name: this.#direntName(index), ino: child, type });
    }
    return entries;
  }

  /** The extents of a regular file, in order; none for all else. */
  extents(ino: number): Extent[] {
    const { inodes, extents } = this.#sections;
    if (this.inode(ino).type !== 'file') return [];
    const first = inodes.readUInt32LE((ino - 1) * 72 + 48);
    const count = inodes.readUInt32LE((ino - 1) * 72 + 52);
    if ((first + count) * 32 > extents.length) throw this.#bad(`the extents of inode ${ino} do not exist`);
    return Array.from({ length: count }, (_, index) => {
      const at = (first + index) * 32;
      const source = extents.readUInt32LE(at + 24);
      if (source !== HOLE && source >= this.layers.length)
        throw this.#bad(`inode ${ino} lies in source ${source}`);
      const extent = {
        logical: this.#uint53(extents, at),
        length: this.#uint53(extents, at + 8),
        offset: this.#uint53(extents, at + 16),
        source,
      };
      if (source !== HOLE && extent.offset + extent.length > this.layers[source]!.sizeBytes) {
        throw this.#bad(`the extents of inode ${ino} lie outside their source`);
      }
      return extent;
    });
  }

  #findSections(): Record<SectionName, Buffer> {
    const headerBytes = this.#file.readUInt32LE(12);
    const count = this.#file.readUInt32LE(28);
    if (headerBytes !== FIXED_HEADER_BYTES + count * SECTION_ENTRY_BYTES || headerBytes > this.#file.length) {
      throw this.#bad('the size of its header is wrong');
    }
    const found: Partial<Record<SectionName, Buffer>> = {};
    SECTIONS.forEach(({ name, id, recordBytes }, index) => {
      const at = FIXED_HEADER_BYTES + index * SECTION_ENTRY_BYTES;
      if (
        index >= count ||
        this.#file.readUInt32LE(at) !== id ||
        this.#file.readUInt32LE(at + 4) !== recordBytes
      ) {
        throw this.#bad(`it lacks the ${name} section`);
      }
      const start = this.#uint53(this.#file, at + 8);
      const length = this.#uint53(this.#file, at + 16);
      if (
        start < headerBytes ||
        start + length > this.#file.length ||
        (recordBytes > 0 && length % recordBytes !== 0)
      ) {
        throw this.#bad(`its ${name} section lies outside the file`);
      }
      found[name] = this.#file.subarray(start, start + length);
    });
    return found as Record<SectionName, Buffer>;
  }

  #readLayers(): TocLayer[] {
    const records = this.#sections.layers;
    return Array.from({ length: records.length / 80 }, (_, index) => {
      const at = index * 80;
      const algorithm = records.readUInt32LE(at);
      const length = records.readUInt32LE(at + 4);
      if (!((algorithm === 1 && length === 32) || (algorithm === 2 && length === 64)))
        throw this.#bad(`layer ${index} has no known digest`);
      const hex = records.toString('hex', at + 8, at + 8 + length);
      return {
        diffId: `${algorithm === 1 ? 'sha256' : 'sha512'}:${hex}`,
        sizeBytes: this.#uint53(records, at + 72),
      };
    });
  }

  #direntRange(ino: number): [number, number] {
    const { inodes, dirents } = this.#sections;
    if (!(ino >= 1 && ino <= this.inodeCount)) throw this.#bad(`inode ${ino} does not exist`);
    const at = (ino - 1) * 72;
    if ((inodes.readUInt32LE(at) & 0o170000) !== 0o040000) return [0, 0];
    const first = inodes.readUInt32LE(at + 48);
    const count = inodes.readUInt32LE(at + 52);
    if ((first + count) * 16 > dirents.length)
      throw this.#bad(`the entries of directory ${ino} do not exist`);
    return [first, count];
  }

  #direntName(index: number): ByteString {
    const { dirents } = this.#sections;
    return this.#string(dirents.readUInt32LE(index * 16 + 4), dirents.readUInt16LE(index * 16 + 8));
  }

  #string(offset: number, length: number): ByteString {
    const { strings } = this.#sections;
    if (offset + length > strings.length) throw this.#bad('a name lies outside the strings section');
    return strings.toString('latin1', offset, offset + length);
  }

  #xattrs(offset: number): Xattrs | undefined {
    if (offset === 0) return undefined;
    const section = this.#sections.xattrs;
    if (offset + 8 > section.length) throw this.#bad('an attribute set lies outside its section');
    const end = offset + section.readUInt32LE(offset + 4);
    if (end > section.length) throw this.#bad('an attribute set lies outside its section');
    let at = offset + 8;
    return Array.from({ length: section.readUInt32LE(offset) }, () => {
      if (at + 8 > end) throw this.#bad('an attribute lies outside its set');
      const nameEnd = at + 8 + section.readUInt16LE(at);
      const valueEnd = nameEnd + section.readUInt32LE(at + 4);
      if (valueEnd > end) throw this.#bad('an attribute lies outside its set');
      const attribute = {
        name: section.toString('latin1', at + 8, nameEnd),
        value: section.subarray(nameEnd, valueEnd),
      };
      at = valueEnd;
      return attribute;
    });
  }

  #uint53(buffer: Buffer, at: number): number {
    const value = buffer.readUInt32LE(at + 4) * 2 ** 32 + buffer.readUInt32LE(at);
    if (value > Number.MAX_SAFE_INTEGER) throw this.#bad(`a number at byte ${at} is beyond 2^53`);
    return value;
  }

  #bad(what: string): LaminaError {
    return new LaminaError('EBADTOC', `${this.#name}: ${what}`, { path: this.#name });
  }
}

/** The whole tree of a TOC, as it was encoded. A merged TOC gives a MergedToc, a layer TOC a LayerToc. */
export function decodeTree(toc: TocReader): LayerToc | MergedToc {
  const known = new Map<number, TreeNode>();
  const root = decodeNode(toc, ROOT_INO, known, 0) as DirNode;
  return toc.kind === 'merged' ? { layers: toc.layers, root } : { index: 0, layer: toc.layers[0]!, root };
}

function decodeNode(toc: TocReader, ino: number, known: Map<number, TreeNode>, depth: number): TreeNode {
  const shared = known.get(ino);
  if (shared !== undefined) {
    if (shared.children !== undefined)
      throw new LaminaError('EBADTOC', `directory ${ino} stands under two names`);
    return shared;
  }
  if (depth > MAX_DEPTH) throw new LaminaError('EBADTOC', `the tree is deeper than ${MAX_DEPTH} directories`);
  const { ino: _ino, nlink, parent: _parent, ...attributes } = toc.inode(ino);
  const isDirectory = attributes.type === 'dir';
  const node: TreeNode = {
    ...attributes,
    extents: toc.extents(ino),
    children: isDirectory ? new Map() : undefined,
    shared: nlink > 1 && !isDirectory,
  };
  known.set(ino, node);
  if (isDirectory) {
    for (const entry of toc.entries(ino))
      node.children!.set(entry.name, decodeNode(toc, entry.ino, known, depth + 1));
  }
  return node;
}
