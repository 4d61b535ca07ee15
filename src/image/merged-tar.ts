/**
 * A merged image, or a part of it, as one tar: what `docker export` would give. Equal images give equal bytes: names come in
 * byte order, depth first, and nothing but what the image holds goes in. The first name of a hard link is the file, the others link to it.
 */
import type { ByteString } from '../bytes.js';
import type { NodeType } from '../layer/tree.js';
import type { TocInode } from '../merge/toc-reader.js';
import type { ImageView, Located } from '../merge/view.js';
import { joinPath } from '../merge/view.js';
import { TarWriter } from '../tar/write.js';
import type { TarHeaderInput, TarSink } from '../tar/write.js';

/**
 * Writes everything from `start` down. A sparse file is written with its holes as zeros.
 * @param rename the name of `start` in the tar; `.` makes all names relative to it. Names below are joined to it.
 * Raises EIO when a layer cannot be read, and what `sink` raises.
 */
export async function writeMergedTar(
  view: ImageView,
  start: Located,
  rename: ByteString,
  sink: TarSink,
): Promise<void> {
  const writer = new TarWriter(sink);
  const firstNames = new Map<number, ByteString>();
  const prefixLength = joinPath(start.path, '').length;
  for (const entry of view.walk(start)) {
    const inode = view.toc.inode(entry.ino);
    const below = entry.path.slice(prefixLength);
    const name =
      entry.depth === 0 ? (rename === '.' ? './' : rename) : rename === '.' ? below : joinPath(rename, below);
    const first = firstNames.get(entry.ino);
    if (first !== undefined) {
      await writer.entry({ ...header(inode, name), type: 'link', linkName: first, xattrs: undefined });
      continue;
    }
    if (inode.type !== 'dir' && inode.nlink > 1) firstNames.set(entry.ino, name);
    await writer.entry(header(inode, name), inode.type === 'file' ? content(view, inode.ino) : undefined);
  }
  await writer.finish();
}

async function* content(view: ImageView, ino: number): AsyncGenerator<Buffer> {
  yield* view.chunks(ino);
}

function header(inode: TocInode, name: ByteString): TarHeaderInput {
  return {
    type: inode.type as Exclude<NodeType, 'whiteout'>,
    name,
    ...(inode.type === 'symlink' ? { linkName: inode.target } : {}),
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    sizeBytes: inode.sizeBytes,
    mtimeSec: inode.mtimeSec,
    mtimeNsec: inode.mtimeNsec,
    devMajor: inode.rdevMajor,
    devMinor: inode.rdevMinor,
    xattrs: inode.xattrs,
  };
}
