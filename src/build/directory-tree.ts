/** A directory of the disk as a tree like that of an image, so that COPY has one kind of source. Read once; what the ignore file names is not there. */
import type { ByteString, Xattrs } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { scanDirectory } from '../container/scan.js';
import { UpperFiles } from '../container/upper-files.js';
import type { Extent, NodeType, TreeEntry, TreeInode, TreeReader } from '../layer/tree.js';
import { ROOT_INO } from '../layer/tree.js';
import type { DiskEntry } from '../layer/upper.js';
import { typeOfMode } from '../layer/upper.js';
import { ImageView } from '../merge/view.js';
import type { IgnoreMatcher } from './ignore.js';

/** Other attributes belong to the host: labels, ACLs that name its users, a union's own. */
function isCarried(name: ByteString): boolean {
  return (
    name === 'security.capability' ||
    (name.startsWith('user.') && !/^user\.(overlay|containers)\./.test(name))
  );
}

/** A view of a directory; `close` it. All belongs to root, whoever owns it here. Raises as `scanDirectory` does. */
export async function viewDirectory(
  directory: string,
  isIgnored: IgnoreMatcher = () => false,
): Promise<{ view: ImageView; close(): void }> {
  const tree = new DirectoryTree(await scanDirectory(directory), isIgnored);
  const files = new UpperFiles(directory);
  const sources = tree.files.map((file) => files.source(file));
  return { view: new ImageView(tree, sources), close: () => files.close() };
}

interface Node {
  inode: TreeInode;
  children: Map<ByteString, number>;
  fileIndex: number;
}

interface FileOnDisk {
  path: ByteString;
  sizeBytes: number;
  disk: DiskEntry;
}

class DirectoryTree implements TreeReader {
  readonly kind = 'merged';
  readonly layers = [];
  readonly files: FileOnDisk[] = [];
  readonly #nodes: (Node | undefined)[] = [undefined];

  /** @param entries depth first, the directory itself first */
  constructor(entries: readonly DiskEntry[], isIgnored: IgnoreMatcher) {
    const inos = new Map<string, number>();
    /** The directories that lead to the entry; those that are ignored are made when something in them is not. */
    const ancestors: { entry: DiskEntry; path: ByteString; ino: number | undefined }[] = [];
    const place = (depth: number): number => {
      const at = ancestors[depth]!;
      if (at.ino !== undefined) return at.ino;
      const parent = depth === 0 ? ROOT_INO : place(depth - 1);
      at.ino = this.#add(at.entry, at.path, parent);
      if (depth > 0) this.#nodes[parent]!.children.set(at.entry.name, at.ino);
      return at.ino;
    };
    for (const entry of entries) {
      ancestors.length = entry.depth;
      const parent = ancestors.at(-1);
      const path = parent === undefined || parent.path === '' ? entry.name : `${parent.path}/${entry.name}`;
      const isRoot = entry.depth === 0;
      ancestors.push({ entry, path: isRoot ? '' : path, ino: undefined });
      if (!isRoot && isIgnored(Buffer.from(path, 'latin1').toString('utf8'))) continue;
      const type = typeOfMode(entry.mode);
      if (type === undefined || type === 'socket') continue;
      const key = `${entry.dev}:${entry.ino}`;
      const linked = type === 'dir' ? undefined : inos.get(key);
      if (linked === undefined) {
        const ino = place(entry.depth);
        if (type !== 'dir') inos.set(key, ino);
        continue;
      }
      this.#nodes[place(entry.depth - 1)]!.children.set(entry.name, linked);
      this.#nodes[linked]!.inode.nlink++;
    }
  }

  get inodeCount(): number {
    return this.#nodes.length - 1;
  }

  get sourceCount(): number {
    return this.files.length;
  }

  inode(ino: number): TreeInode {
    return this.#nodes[ino]!.inode;
  }

  lookup(parentIno: number, name: ByteString): number | undefined {
    return this.#nodes[parentIno]?.children.get(name);
  }

  entries(ino: number): TreeEntry[] {
    return [...this.#nodes[ino]!.children]
      .map(([name, child]) => ({ name, ino: child, type: this.inode(child).type }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  extents(ino: number): readonly Extent[] {
    const { fileIndex, inode } = this.#nodes[ino]!;
    if (fileIndex < 0 || inode.sizeBytes === 0) return [];
    return [{ logical: 0, length: inode.sizeBytes, source: fileIndex, offset: 0 }];
  }

  #add(disk: DiskEntry, path: ByteString, parent: number): number {
    const type = typeOfMode(disk.mode) as NodeType;
    const ino = this.#nodes.length;
    const xattrs = disk.xattrs.filter(({ name }) => isCarried(name));
    const isFile = type === 'file';
    this.#nodes.push({
      inode: {
        ...{ ino, type, nlink: 1, uid: 0, gid: 0, layer: 0, opaque: false, implicit: false },
        mode: type === 'symlink' ? 0o777 : disk.mode & 0o7777,
        sizeBytes: isFile ? disk.sizeBytes : 0,
        mtimeSec: disk.mtimeSec,
        mtimeNsec: disk.mtimeNsec,
        rdevMajor: disk.rdevMajor,
        rdevMinor: disk.rdevMinor,
        target: disk.target,
        xattrs: xattrs.length === 0 ? undefined : (xattrs as Xattrs),
        parent: type === 'dir' ? parent : 0,
      },
      children: new Map(),
      fileIndex: isFile ? this.files.length : -1,
    });
    if (isFile) this.files.push({ path, sizeBytes: disk.sizeBytes, disk });
    return ino;
  }
}

/** For messages. */
export function shownPath(path: ByteString): string {
  return displayBytes(path);
}
