/**
 * Unpacks what the peers need: each layer as a lower directory of overlayfs (whiteouts as 0:0 devices, opaque directories by an attribute:
 * kernel, filesystems/overlayfs.rst), or the merged tree as one directory. Files go through `lamina-fuse apply`, which no link leads
 * out of its directory. What a plain user cannot make (devices) becomes an empty file: names count, not what they are.
 */
import type { ByteString, Xattrs } from '../bytes.js';
import { Applier } from '../container/apply.js';
import type { AppliedAttributes } from '../container/apply.js';
import type { OpenedImage } from '../image/open.js';
import type { NodeType, TreeInode, TreeReader } from '../layer/tree.js';
import { ROOT_INO } from '../layer/tree.js';
import { readExtents } from '../merge/view-read.js';
import type { ByteSource } from '../tar/source.js';

const CHUNK_BYTES = 1 << 18;

/** Fills the empty directory `directory` with one layer. */
export async function unpackLayer(
  opened: OpenedImage,
  layer: number,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const toc = (await opened.layerTocs())[layer]!;
  await unpack(toc, [opened.sources[layer]!], await opened.toc(), opened.sources, directory, signal);
}

/** Fills the empty directory `directory` with the merged tree. */
export async function unpackMerged(
  opened: OpenedImage,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const toc = await opened.toc();
  await unpack(toc, opened.sources, toc, opened.sources, directory, signal);
}

async function unpack(
  toc: TreeReader,
  sources: readonly ByteSource[],
  merged: TreeReader,
  mergedSources: readonly ByteSource[],
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const applier = new Applier(directory, { noLinks: true, chown: isRoot });
  const firstNames = new Map<number, ByteString>();
  const put = async (path: ByteString, found: TreeInode): Promise<void> => {
    let [inode, from, data] = [found, toc, sources];
    const first = firstNames.get(inode.ino);
    if (first !== undefined) return applier.link(path, first);
    if (inode.type !== 'dir' && inode.type !== 'whiteout' && inode.nlink > 1) firstNames.set(inode.ino, path);
    // A link to a lower layer's file, and a directory that the layer does not describe, are as the whole image has them.
    if (inode.type === 'link' || inode.implicit) {
      const shown = find(merged, path);
      const fits = shown !== undefined && (shown.type === 'dir') === (inode.type === 'dir');
      if (fits) [inode, from, data] = [shown, merged, mergedSources];
    }
    const attributes = attributesOf(inode, found.opaque, isRoot);
    await applier.put(path, attributes, attributes.type === 'file' ? content(from, inode, data) : []);
  };
  try {
    const ahead: { path: ByteString; ino: number }[] = [{ path: '', ino: ROOT_INO }];
    for (let entry = ahead.pop(); entry !== undefined; entry = ahead.pop()) {
      signal.throwIfAborted();
      const inode = toc.inode(entry.ino);
      await put(entry.path, inode);
      if (inode.type !== 'dir') continue;
      const prefix = entry.path === '' ? '' : `${entry.path}/`;
      for (const { name, ino } of toc.entries(entry.ino).reverse())
        ahead.push({ path: `${prefix}${name}`, ino });
    }
    await applier.finish('cannot unpack');
  } catch (error) {
    await applier.abort();
    signal.throwIfAborted();
    throw error;
  }
}

function find(toc: TreeReader, path: ByteString): TreeInode | undefined {
  let ino: number | undefined = ROOT_INO;
  for (const name of path.split('/')) {
    if (name === '') continue;
    ino = toc.lookup(ino, name);
    if (ino === undefined) return undefined;
  }
  return toc.inode(ino);
}

function* content(toc: TreeReader, inode: TreeInode, sources: readonly ByteSource[]): Generator<Buffer> {
  if (inode.type !== 'file') return;
  const extents = toc.extents(inode.ino);
  for (let position = 0; position < inode.sizeBytes;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, inode.sizeBytes - position));
    readExtents(extents, sources, chunk, position);
    position += chunk.length;
    yield chunk;
  }
}

function attributesOf(inode: TreeInode, opaque: boolean, isRoot: boolean): AppliedAttributes {
  const attributes: AppliedAttributes = { ...inode, type: madeType(inode.type, isRoot) };
  if (inode.type !== 'file') attributes.sizeBytes = 0;
  if (inode.type === 'whiteout') Object.assign(attributes, { rdevMajor: 0, rdevMinor: 0, mode: 0 });
  // Whoever unpacked it can read it, as far as the image lets anybody.
  if (!isRoot) attributes.mode = (inode.mode & 0o777) | (inode.type === 'dir' ? 0o700 : 0o600);
  if (opaque) attributes.xattrs = withOpaque(inode.xattrs, isRoot);
  return attributes;
}

function madeType(type: NodeType, isRoot: boolean): NodeType {
  if (type === 'whiteout') return 'char';
  if (type === 'link') return 'file';
  if (type === 'socket') return 'fifo';
  return !isRoot && (type === 'char' || type === 'block') ? 'file' : type;
}

function withOpaque(xattrs: Xattrs | undefined, isRoot: boolean): Xattrs {
  const name = isRoot ? 'trusted.overlay.opaque' : 'user.overlay.opaque';
  return [...(xattrs ?? []), { name, value: Buffer.from('y') }];
}
