/** A tree without the names that an ignore file leaves out; a directory that leads to one that is taken back stays. */
import type { ByteString } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import type { Extent, TreeEntry, TreeInode, TreeReader } from '../layer/tree.js';
import { ROOT_INO } from '../layer/tree.js';
import { encodeToc } from '../merge/encode.js';
import { mergeLayers } from '../merge/merge.js';
import { TocReader } from '../merge/toc-reader.js';
import { ImageView } from '../merge/view.js';
import type { IgnoreMatcher } from './ignore.js';

export function filteredView({ toc, sources }: ImageView, isIgnored: IgnoreMatcher): ImageView {
  return new ImageView(new FilteredTree(toc, isIgnored), sources);
}

/** Nothing but a root. */
export async function emptyView(): Promise<ImageView> {
  return new ImageView(new TocReader(await encodeToc(mergeLayers([])), 'nothing'), []);
}

class FilteredTree implements TreeReader {
  readonly kind = 'merged';
  readonly #children = new Map<number, TreeEntry[]>();

  constructor(
    private readonly tree: TreeReader,
    isIgnored: IgnoreMatcher,
  ) {
    const visit = (ino: number, path: ByteString): boolean => {
      const kept: TreeEntry[] = [];
      for (const entry of tree.entries(ino)) {
        const at = path === '' ? entry.name : `${path}/${entry.name}`;
        const holds = entry.type === 'dir' && visit(entry.ino, at);
        if (holds || !isIgnored(bytesToBuffer(at).toString('utf8'))) kept.push(entry);
      }
      this.#children.set(ino, kept);
      return kept.length > 0;
    };
    visit(ROOT_INO, '');
  }

  get layers(): TreeReader['layers'] {
    return this.tree.layers;
  }

  get inodeCount(): number {
    return this.tree.inodeCount;
  }

  get sourceCount(): number {
    return this.tree.sourceCount ?? this.tree.layers.length;
  }

  inode(ino: number): TreeInode {
    return this.tree.inode(ino);
  }

  lookup(parentIno: number, name: ByteString): number | undefined {
    return this.#children.get(parentIno)?.find((entry) => entry.name === name)?.ino;
  }

  entries(ino: number): TreeEntry[] {
    return [...(this.#children.get(ino) ?? [])];
  }

  extents(ino: number): readonly Extent[] {
    return this.tree.extents(ino);
  }
}
