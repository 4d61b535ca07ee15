/** The canonical dump of a TOC: one line per name (FORMAT.md, Canonical dump). The oracle of the tests and the debugging view. */
import { createHash } from 'node:crypto';
import type { ByteString } from '../bytes.js';
import { escapeBytes } from '../bytes.js';
import type { TreeReader } from '../layer/tree.js';
import { HOLE } from '../layer/tree.js';
import { readSource } from '../tar/source.js';
import type { ByteSource } from '../tar/source.js';
import type { TocInode } from './toc-reader.js';
import { ROOT_INO } from './toc-reader.js';

const TYPE_LETTERS = {
  dir: 'd',
  file: 'f',
  symlink: 'l',
  char: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
  whiteout: 'w',
  link: 'k',
} as const;

/**
 * The lines of the dump, without line ends.
 * @param sources the layers' uncompressed tars, bottom to top, for the digests of contents
 * @param start   the directory or file to begin at: its ino and its absolute path
 */
export function* dumpLines(
  toc: TreeReader,
  sources: readonly ByteSource[],
  start: { ino: number; path: ByteString } = { ino: ROOT_INO, path: '/' },
): Generator<string> {
  yield* dumpNode(toc, sources, start.ino, start.path, new Map());
}

/** The whole dump as one text; each line ends in a newline. */
export function dumpToc(toc: TreeReader, sources: readonly ByteSource[]): string {
  return [...dumpLines(toc, sources), ''].join('\n');
}

function* dumpNode(
  toc: TreeReader,
  sources: readonly ByteSource[],
  ino: number,
  path: ByteString,
  firstPaths: Map<number, string>,
): Generator<string> {
  const inode = toc.inode(ino);
  const shownPath = escapeBytes(path);
  const first = firstPaths.get(ino);
  if (first !== undefined) {
    yield `${shownPath} h ${first}`;
    return;
  }
  if (inode.nlink > 1 && inode.type !== 'dir') firstPaths.set(ino, shownPath);
  yield dumpLine(toc, sources, inode, shownPath);
  for (const entry of toc.entries(ino)) {
    yield* dumpNode(
      toc,
      sources,
      entry.ino,
      path === '/' ? `/${entry.name}` : `${path}/${entry.name}`,
      firstPaths,
    );
  }
}

function dumpLine(
  toc: TreeReader,
  sources: readonly ByteSource[],
  inode: TocInode,
  shownPath: string,
): string {
  const isDevice = inode.type === 'char' || inode.type === 'block';
  const fields = [
    shownPath,
    TYPE_LETTERS[inode.type] + (inode.implicit ? 'i' : '') + (inode.opaque ? 'o' : ''),
    inode.mode.toString(8).padStart(4, '0'),
    inode.type === 'dir' ? '-' : inode.nlink,
    `${inode.uid}:${inode.gid}`,
    isDevice ? `${inode.rdevMajor}:${inode.rdevMinor}` : '-',
    `${inode.mtimeSec}.${String(inode.mtimeNsec).padStart(9, '0')}`,
    inode.type === 'file' ? inode.sizeBytes : '-',
    dumpContent(toc, sources, inode),
    dumpXattrs(inode),
  ];
  return fields.join(' ');
}

function dumpContent(toc: TreeReader, sources: readonly ByteSource[], inode: TocInode): string {
  if (inode.type === 'symlink' || inode.type === 'link') return `->${escapeBytes(inode.target)}`;
  if (inode.type !== 'file') return '-';
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(1 << 20, Math.max(1, inode.sizeBytes)));
  for (const extent of toc.extents(inode.ino)) {
    for (let done = 0; done < extent.length;) {
      const part = chunk.subarray(0, Math.min(chunk.length, extent.length - done));
      if (extent.source === HOLE) part.fill(0);
      else readSource(sources[extent.source]!, part, extent.offset + done);
      hash.update(part);
      done += part.length;
    }
  }
  return `sha256:${hash.digest('hex')}`;
}

function dumpXattrs(inode: TocInode): string {
  if (inode.xattrs === undefined) return '-';
  return inode.xattrs
    .map(
      ({ name, value }) =>
        `${escapeBytes(name).replaceAll(',', '\\x2c').replaceAll('=', '\\x3d')}=${value.toString('hex')}`,
    )
    .join(',');
}
