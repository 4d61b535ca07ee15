/** Constants of the TOC file, version 1. FORMAT.md is the specification; native/toc/format.h holds the same numbers. */
import { FILE_TYPE_BITS } from '../layer/tree.js';
import type { NodeType } from '../layer/tree.js';

export const TOC_MAGIC = Buffer.from('LAMINAT1', 'latin1');
export const TOC_VERSION = 1;
/** Feature bits that this version understands: none. */
export const TOC_FEATURES = 0n;

export const FIXED_HEADER_BYTES = 64;
export const SECTION_ENTRY_BYTES = 32;

/** Sections in file order: id, bytes per record (0 = a run of bytes). */
export const SECTIONS = [
  { name: 'inodes', id: 1, recordBytes: 72 },
  { name: 'dirents', id: 2, recordBytes: 16 },
  { name: 'strings', id: 3, recordBytes: 0 },
  { name: 'slots', id: 4, recordBytes: 8 },
  { name: 'extents', id: 5, recordBytes: 32 },
  { name: 'xattrs', id: 6, recordBytes: 0 },
  { name: 'layers', id: 7, recordBytes: 80 },
] as const;

export type SectionName = (typeof SECTIONS)[number]['name'];

export const KIND_LAYER = 1;
export const KIND_MERGED = 2;

export const FLAG_OPAQUE = 1;
export const FLAG_IMPLICIT = 2;

/** As FILE_TYPE_BITS; 0 and 0170000 are ours, for layer TOCs (FORMAT.md, Inode record). */
export const TYPE_BITS: Readonly<Record<NodeType, number>> = {
  ...FILE_TYPE_BITS,
  whiteout: 0,
  link: 0o170000,
};

export const TYPE_OF_BITS = new Map<number, NodeType>(
  Object.entries(TYPE_BITS).map(([type, bits]) => [bits, type as NodeType]),
);

/** `d_type` of a dirent: the file type bits shifted, as IFTODT(3) does; 0 for what only a layer TOC holds. */
export function direntType(type: NodeType): number {
  return type === 'link' ? 0 : TYPE_BITS[type] >> 12;
}

/** The table hash of a name in a directory, from the low 32 bits of the name's XXH64 (FORMAT.md, Slots). */
export function tableHash(nameHash: number, parentIno: number): number {
  let hash = nameHash ^ Math.imul(parentIno, 0x9e3779b1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  return hash >>> 0;
}
