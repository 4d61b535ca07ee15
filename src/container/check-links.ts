/**
 * `work/links` of a container: copied-up files that stand under several names in the image, kept until each has its name in the upper.
 * One is there when a server was killed meanwhile; the next mount gives the names. Until then the names show different files.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import { typeOfMode } from '../layer/upper.js';
import type { DiskEntry, OverlayPrefix } from '../layer/upper.js';
import { inoOfOrigin } from '../merge/origin.js';
import type { TocReader } from '../merge/toc-reader.js';
import { scanDirectory } from './scan.js';

export interface KeptFile {
  path: ByteString;
  what: string;
  file: Buffer;
  /** A mount ends it; else it leads nowhere, and can only be removed. */
  isUnfinished: boolean;
}

/** @param toc the merged one of the container's image */
export async function keptFiles(work: string, prefix: OverlayPrefix, toc: TocReader): Promise<KeptFile[]> {
  const directory = path.join(work, 'links');
  const entries = existsSync(directory) ? await scanDirectory(directory, { depth: 1 }) : [];
  return entries
    .filter(({ depth }) => depth > 0)
    .map((entry) => {
      const problem = strayReason(entry, prefix, toc);
      return {
        path: `work/links/${entry.name}`,
        what: problem ?? 'a file that has not got all its names, left by a server that was killed',
        file: Buffer.concat([Buffer.from(`${directory}/`), bytesToBuffer(entry.name)]),
        isUnfinished: problem === undefined,
      };
    });
}

function strayReason(
  { name, mode, xattrs }: DiskEntry,
  prefix: OverlayPrefix,
  toc: TocReader,
): string | undefined {
  const ino = inoOfOrigin(name, toc.key, toc);
  if (ino === undefined) return 'a file that stands for none of the image';
  const lower = toc.inode(ino);
  if (lower.type === 'dir' || lower.nlink < 2)
    return 'a file that stands for one of the image with one name only';
  const type = typeOfMode(mode);
  // What is neither a file nor a directory has no attributes of users (xattr(7)).
  if (prefix === 'user.overlay.' && type !== 'file') return undefined;
  const origin = xattrs.find((xattr) => xattr.name === `${prefix}lamina.origin`)?.value.toString('latin1');
  return origin === name ? undefined : 'a file that is not the one its name says';
}
