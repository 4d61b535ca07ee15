/**
 * `work/index` of kernel overlayfs, mounted with `index=on`: a copied-up file of which the lower layer has several names is linked there too,
 * under the lower file's handle, so that the names that are not in the upper lead to it as well (overlayfs.rst, "Inode properties";
 * struct ovl_fb of fs/overlayfs/overlayfs.h). The lower layer is an image as EROFS (native/erofs/encode.h), where an inode's number
 * follows from its ino.
 */
import type { ByteString } from '../bytes.js';
import type { UpperNode } from './upper.js';

/**
 * Version, magic, length of the whole, flags, and the kind of handle, FILEID_INO64_GEN or FILEID_INO32_GEN (include/linux/exportfs.h); the UUID
 * of the filesystem, which ends in "laminafs"; then the number of the inode in words of 32 bits, the high one first, and a generation.
 */
const HANDLE =
  /^00fb(?:210[0-3]81|1d0[0-3]01)[0-9a-f]{16}6c616d696e616673(?:00000000)?([0-9a-f]{8})00000000$/;
/** native/erofs/encode.h */
const NODES_PER_INODE = 4;

/** @param index what the directory holds, by name, their paths relative to the upper. @returns by ino in the lower tree */
export function indexedFiles(index: UpperNode): Map<number, UpperNode> {
  const files = new Map<number, UpperNode>();
  for (const [name, node] of index.children ?? []) {
    const ino = lowerInoOf(name);
    // Directories and whiteouts are there for NFS only.
    if (ino !== undefined && node.type !== 'dir' && node.type !== 'whiteout') files.set(ino, node);
  }
  return files;
}

function lowerInoOf(name: ByteString): number | undefined {
  const [, number] = HANDLE.exec(name) ?? [];
  if (number === undefined) return undefined;
  const ino = Buffer.from(number, 'hex').readUInt32LE(0) / NODES_PER_INODE;
  return Number.isInteger(ino) ? ino : undefined;
}
