/** What differs between the files that two images show, found by walking both trees at once. */
import type { ByteString } from '../../bytes.js';
import type { TreeEntry, TreeInode } from '../../layer/tree.js';
import { fsError, joinPath } from '../../merge/view.js';
import type { ImageView } from '../../merge/view.js';
import { ASPECTS, changedAttributes } from './attributes.js';
import type { Aspect } from './attributes.js';
import { sameContent } from './content.js';
import type { Content } from './content.js';

/** One of two images. */
export interface Side {
  view: ImageView;
  /** Digests of the uncompressed layers, bottom to top. */
  diffIds: readonly string[];
}

export interface FileDifference {
  path: ByteString;
  kind: 'added' | 'removed' | 'modified';
  /** undefined when it is added. */
  before: TreeInode | undefined;
  /** undefined when it is removed. */
  after: TreeInode | undefined;
  /** modified: in what, in the order of ASPECTS. */
  changed: readonly Aspect[];
}

export interface DiffOptions {
  /** Where to begin; the root when absent. A symbolic link at its end is not followed. */
  path?: ByteString;
  /** What does not count. */
  ignore?: ReadonlySet<Aspect>;
}

/**
 * A directory before what is in it, names in byte order. Something that became a directory, or was one, is one modification and all
 * that is in the directory are additions or removals. Raises ENOENT when neither image has the path, and EIO.
 */
export function diffViews(a: Side, b: Side, options: DiffOptions = {}): FileDifference[] {
  const path = options.path ?? '/';
  const [before, after] = [inodeAt(a, path), inodeAt(b, path)];
  if (before === undefined && after === undefined) throw fsError('ENOENT', 'lstat', path);
  const comparison = new Comparison(a, b, options.ignore ?? new Set());
  comparison.compare(absolutePath(path), before, after);
  return comparison.found;
}

/** As it was asked for, for it may lead to other places in the two images. */
function absolutePath(path: ByteString): ByteString {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  return `/${names.join('/')}`;
}

function inodeAt({ view }: Side, path: ByteString): TreeInode | undefined {
  try {
    return view.lstat(path);
  } catch {
    return undefined;
  }
}

class Comparison {
  readonly found: FileDifference[] = [];

  constructor(
    private readonly a: Side,
    private readonly b: Side,
    private readonly ignore: ReadonlySet<Aspect>,
  ) {}

  compare(path: ByteString, before: TreeInode | undefined, after: TreeInode | undefined): void {
    if (before === undefined) this.found.push({ path, kind: 'added', before, after, changed: [] });
    else if (after === undefined) this.found.push({ path, kind: 'removed', before, after, changed: [] });
    else {
      const changed = this.#changed(before, after);
      if (changed.length > 0) this.found.push({ path, kind: 'modified', before, after, changed });
    }
    this.#compareChildren(path, this.#entries(this.a, before), this.#entries(this.b, after));
  }

  #entries({ view }: Side, inode: TreeInode | undefined): readonly TreeEntry[] {
    return inode?.type === 'dir' ? view.toc.entries(inode.ino) : [];
  }

  /** Both lists are in byte order. */
  #compareChildren(path: ByteString, ours: readonly TreeEntry[], theirs: readonly TreeEntry[]): void {
    let [left, right] = [0, 0];
    while (left < ours.length || right < theirs.length) {
      const [a, b] = [ours[left], theirs[right]];
      const takesA = a !== undefined && (b === undefined || a.name <= b.name);
      const takesB = b !== undefined && (a === undefined || b.name <= a.name);
      this.compare(
        joinPath(path, (takesA ? a : b)!.name),
        takesA ? this.a.view.toc.inode(a.ino) : undefined,
        takesB ? this.b.view.toc.inode(b.ino) : undefined,
      );
      if (takesA) left++;
      if (takesB) right++;
    }
  }

  #changed(before: TreeInode, after: TreeInode): Aspect[] {
    const changed = new Set(changedAttributes(before, after));
    const isFile = before.type === 'file' && after.type === 'file';
    if (isFile && !this.ignore.has('content') && !this.#hasSameContent(before, after)) changed.add('content');
    // A directory's links follow from the directories in it.
    if (before.type !== 'dir' && after.type !== 'dir' && before.nlink !== after.nlink) changed.add('nlink');
    return ASPECTS.filter((aspect) => changed.has(aspect) && !this.ignore.has(aspect));
  }

  #hasSameContent(before: TreeInode, after: TreeInode): boolean {
    if (before.sizeBytes !== after.sizeBytes) return false;
    return sameContent(contentOf(this.a, before), contentOf(this.b, after));
  }
}

function contentOf({ view, diffIds }: Side, { ino, sizeBytes }: TreeInode): Content {
  return { sizeBytes, extents: view.toc.extents(ino), sources: view.sources, diffIds };
}
