/**
 * What a COPY, an ADD or a WORKDIR puts into its layer, path by path, over the image that it stands on. The layer's tar is written
 * straight from the sources. Directories that lead to what is new are in it as the image has them, because tools that unpack layers one
 * by one would otherwise make them anew, with attributes of their own.
 */
import { createHash } from 'node:crypto';
import type { ByteString } from '../bytes.js';
import { compareBytes, displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { layerHeader } from '../layer/diff.js';
import type { FileAttributes, TreeInode } from '../layer/tree.js';
import { ROOT_INO } from '../layer/tree.js';
import type { ImageView } from '../merge/view.js';
import { TarWriter } from '../tar/write.js';
import type { TarSink } from '../tar/write.js';

export type Content = { view: ImageView; ino: number } | { bytes: Buffer };

export interface PlannedEntry {
  attributes: FileAttributes;
  /** file. */
  content?: Content;
  /** Equal for the names of one file. */
  linkKey?: string;
  /** Only leads to others: the image has it so. */
  isParent: boolean;
}

export interface Owner {
  uid: number;
  gid: number;
}

export interface DirectoryDefaults {
  owner: Owner;
  /** When it is made. */
  timeSec: number;
}

/** Paths have no slash at either end; the root is ''. */
export class LayerPlan {
  readonly #entries = new Map<ByteString, PlannedEntry>();

  /** @param base what the layer lies over; undefined: nothing of it counts, as with --link */
  constructor(readonly base: ImageView | undefined) {}

  /** Whether there is anything but directories that the image has already. */
  get isEmpty(): boolean {
    return [...this.#entries.values()].every(({ isParent }) => isParent);
  }

  /** What is at a path, as the finished layer shows it: type and target; undefined when nothing is. */
  at(path: ByteString): Pick<TreeInode, 'type' | 'target'> | undefined {
    return this.#entries.get(path)?.attributes ?? this.#baseInode(path);
  }

  /**
   * The path that a path leads to once symbolic links are followed, none of which leads out of the root. What is not there
   * is taken as it is written. Raises ELOOP.
   */
  resolve(path: ByteString, followLast = true): ByteString {
    const ahead = path.split('/').reverse();
    let at: ByteString[] = [];
    for (let links = 0; ahead.length > 0;) {
      const name = ahead.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        at.pop();
        continue;
      }
      const next = [...at, name].join('/');
      const found = this.at(next);
      if (found?.type === 'symlink' && (followLast || ahead.some((rest) => rest !== '' && rest !== '.'))) {
        if (++links > MAX_LINKS)
          throw new LaminaError('ELOOP', `too many levels of symbolic links: /${displayBytes(path)}`);
        if (found.target.startsWith('/')) at = [];
        ahead.push(...found.target.split('/').reverse());
      } else at.push(name);
    }
    return at.join('/');
  }

  /** Puts something where nothing of another kind is, with what leads there. Raises EBUILD. */
  put(path: ByteString, entry: Omit<PlannedEntry, 'isParent'>, defaults: DirectoryDefaults): void {
    const isDir = entry.attributes.type === 'dir';
    const existing = path === '' ? { type: 'dir' } : this.at(path);
    if (isDir && existing !== undefined && existing.type !== 'dir')
      throw cannot(`cannot copy to non-directory: /${displayBytes(path)}`);
    if (!isDir && existing?.type === 'dir')
      throw cannot(`cannot replace to directory /${displayBytes(path)} with file`);
    this.#lead(path, defaults);
    this.#entries.set(path, { ...entry, isParent: false });
  }

  /** As `put`, and whatever was there is gone. */
  replace(path: ByteString, entry: Omit<PlannedEntry, 'isParent'>, defaults: DirectoryDefaults): void {
    if (this.at(path)?.type === 'dir' && entry.attributes.type !== 'dir')
      for (const other of [...this.#entries.keys()])
        if (other.startsWith(`${path}/`)) this.#entries.delete(other);
    this.#lead(path, defaults);
    this.#entries.set(path, { ...entry, isParent: false });
  }

  /** Makes a directory where there is none, and what leads there. Raises EBUILD when something else is. */
  makeDirectory(path: ByteString, defaults: DirectoryDefaults): void {
    if (path === '') return;
    const existing = this.at(path);
    if (existing !== undefined && existing.type !== 'dir')
      throw cannot(`/${displayBytes(path)} is not a directory`);
    this.#lead(path, defaults);
    if (existing === undefined)
      this.#entries.set(path, { attributes: newDirectory(0o755, defaults), isParent: false });
  }

  /** The directories above, as the image has them, or new ones. */
  #lead(path: ByteString, defaults: DirectoryDefaults): void {
    const names = path.split('/').slice(0, -1);
    for (let depth = 1; depth <= names.length; depth++) {
      const parent = names.slice(0, depth).join('/');
      if (this.#entries.has(parent)) continue;
      const inode = this.#baseInode(parent);
      if (inode !== undefined && inode.type !== 'dir')
        throw cannot(`/${displayBytes(parent)} is not a directory`);
      this.#entries.set(
        parent,
        inode === undefined
          ? { attributes: newDirectory(0o755, defaults), isParent: false }
          : { attributes: inode, isParent: true },
      );
    }
  }

  #baseInode(path: ByteString): TreeInode | undefined {
    if (this.base === undefined) return undefined;
    const { toc } = this.base;
    let ino = ROOT_INO;
    for (const name of path === '' ? [] : path.split('/')) {
      const child = toc.lookup(ino, name);
      if (child === undefined) return undefined;
      ino = child;
    }
    return toc.inode(ino);
  }

  /** In the order of the layer: a directory before what is in it, names in byte order. */
  #sorted(): [ByteString, PlannedEntry][] {
    return [...this.#entries].sort(([a], [b]) =>
      compareBytes(a.replaceAll('/', '\0'), b.replaceAll('/', '\0')),
    );
  }

  /** Of all that is new: names, attributes, contents; times do not count. */
  async digest(): Promise<string> {
    const hash = createHash('sha256');
    const links = new Map<string, ByteString>();
    for (const [path, { attributes, content, linkKey, isParent }] of this.#sorted()) {
      if (isParent) continue;
      const { type, mode, uid, gid, target, rdevMajor, rdevMinor, xattrs } = attributes;
      const first = linkKey === undefined ? undefined : links.get(linkKey);
      const values = xattrs?.map(({ name, value }) => [name, value.toString('hex')]);
      hash.update(
        JSON.stringify([path, type, mode, uid, gid, target, rdevMajor, rdevMinor, values ?? [], first ?? '']),
      );
      if (first !== undefined) continue;
      if (linkKey !== undefined) links.set(linkKey, path);
      if (type !== 'file' || content === undefined) continue;
      const inner = createHash('sha256');
      for (const chunk of chunksOf(content)) inner.update(chunk);
      hash.update(inner.digest());
    }
    return `sha256:${hash.digest('hex')}`;
  }

  /** Writes the layer. Times after `epochSec` are set to it. */
  async write(sink: TarSink, epochSec: number | undefined): Promise<void> {
    const writer = new TarWriter(sink);
    const links = new Map<string, ByteString>();
    for (const [path, { attributes, content, linkKey }] of this.#sorted()) {
      const header = layerHeader(attributes, path === '' ? './' : path, epochSec);
      const first = linkKey === undefined ? undefined : links.get(linkKey);
      if (first !== undefined) {
        await writer.entry({ ...header, type: 'link', linkName: first, xattrs: undefined });
        continue;
      }
      if (linkKey !== undefined) links.set(linkKey, path);
      await writer.entry(header, content === undefined ? undefined : bodyOf(content));
    }
    await writer.finish();
  }
}

const MAX_LINKS = 40;

function cannot(what: string): LaminaError {
  return new LaminaError('EBUILD', what, { hint: 'Give another destination.' });
}

export function newDirectory(mode: number, { owner, timeSec }: DirectoryDefaults): FileAttributes {
  return {
    ...{ type: 'dir', mode, uid: owner.uid, gid: owner.gid, mtimeSec: timeSec, mtimeNsec: 0 },
    ...{ target: '', rdevMajor: 0, rdevMinor: 0, xattrs: undefined, sizeBytes: 0 },
  };
}

export function newFile(
  mode: number,
  bytes: Buffer,
  defaults: DirectoryDefaults,
): Omit<PlannedEntry, 'isParent'> {
  return {
    attributes: { ...newDirectory(mode, defaults), type: 'file', sizeBytes: bytes.length },
    content: { bytes },
  };
}

function chunksOf(content: Content): Iterable<Buffer> {
  return 'bytes' in content ? [content.bytes] : content.view.chunks(content.ino);
}

async function* bodyOf(content: Content): AsyncGenerator<Buffer> {
  yield* chunksOf(content);
}
