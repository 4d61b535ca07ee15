/**
 * Why a path of an image is what it is: what each layer says about it, and what hides what. The rules are those of merging
 * (image-spec layer.md, Applying Changesets and Whiteouts), read from the layers' own TOCs.
 */
import type { ByteString } from '../bytes.js';
import type { NodeType } from '../layer/tree.js';
import type { TocInode, TocReader } from '../merge/toc-reader.js';
import { ROOT_INO } from '../merge/toc-reader.js';
import { joinPath } from '../merge/view.js';

/** How a layer hides what lower layers have: by a whiteout, an opaque directory, or something else of the same name. */
export interface Hiding {
  layer: number;
  how: 'whiteout' | 'opaque' | 'replaced';
  /** Where: the path itself or a directory above it. */
  path: ByteString;
}

/**
 * `visible`: its attributes (and content) are what the image shows. `merged`: a directory whose entries show through and whose
 * attributes a higher layer gives. `hidden`: nothing of it shows. `absent`: the layer only hides.
 */
export type Presence = 'visible' | 'merged' | 'hidden' | 'absent';

export interface LayerOpinion {
  /** Bottom is 0. */
  layer: number;
  state: Presence;
  /** What the layer has at the path, from its own TOC; a hard link to a lower layer has type `link`. */
  inode: TocInode | undefined;
  /** What hides it, when it is hidden. */
  hiddenBy: Hiding | undefined;
  /** What it does to the layers below. */
  hides: Hiding | undefined;
}

/**
 * The layers that say anything about `path`, bottom to top.
 * @param layerTocs the TOC of every layer, bottom to top
 * @param path absolute, without symbolic links, `.` and `..` before its last part
 * @param shown type of what the merged image has there; undefined when it has nothing
 */
export function provenance(
  layerTocs: readonly TocReader[],
  path: ByteString,
  shown: NodeType | undefined,
): LayerOpinion[] {
  const opinions: LayerOpinion[] = [];
  let hider: Hiding | undefined;
  let winner: TocInode | undefined;
  for (let layer = layerTocs.length - 1; layer >= 0; layer--) {
    const { inode, hides } = opinion(layerTocs[layer]!, layer, path);
    // A directory that a layer only passes through, and adds nothing to, does not replace a file.
    if (inode?.implicit === true && shown !== 'dir' && hider === undefined) continue;
    if (inode === undefined && hides === undefined) continue;
    opinions.push({
      layer,
      inode,
      state: stateOf(inode, hider, winner),
      hiddenBy: inode === undefined ? undefined : hider,
      hides,
    });
    if (hider !== undefined) continue;
    if (inode !== undefined && !inode.implicit) winner ??= inode;
    hider = hides;
  }
  return replacedBelowDirectories(opinions.reverse(), path);
}

function stateOf(
  inode: TocInode | undefined,
  hider: Hiding | undefined,
  winner: TocInode | undefined,
): Presence {
  if (inode === undefined) return 'absent';
  if (hider !== undefined) return 'hidden';
  return winner === undefined && !inode.implicit ? 'visible' : 'merged';
}

/** Directories merge with directories only: one that stands over anything else hides that and all below it. */
function replacedBelowDirectories(opinions: LayerOpinion[], path: ByteString): LayerOpinion[] {
  let above: LayerOpinion | undefined;
  let hider: Hiding | undefined;
  for (const opinion of opinions.toReversed()) {
    const isDirectory = opinion.inode?.type === 'dir';
    if (hider === undefined && above !== undefined && opinion.inode !== undefined && !isDirectory) {
      hider = { layer: above.layer, how: 'replaced', path };
      above.hides ??= hider;
    }
    if (hider !== undefined && opinion.inode !== undefined && hider.layer > (opinion.hiddenBy?.layer ?? -1)) {
      opinion.state = 'hidden';
      opinion.hiddenBy = hider;
    }
    if (isDirectory && opinion.state !== 'hidden') above = opinion;
  }
  // A file that stands over nothing hides nothing.
  for (const opinion of opinions) {
    const { hides, layer } = opinion;
    if (hides?.how === 'replaced' && !opinions.some(({ hiddenBy }) => hiddenBy?.layer === layer))
      opinion.hides = undefined;
  }
  return opinions;
}

/** What one layer has at the path, and how it hides what is below. */
function opinion(
  toc: TocReader,
  layer: number,
  path: ByteString,
): { inode: TocInode | undefined; hides: Hiding | undefined } {
  const names = path.split('/').filter((name) => name !== '');
  let hides: Hiding | undefined;
  let at: ByteString = '/';
  let inode = toc.inode(ROOT_INO);
  for (const [index, name] of [...names, undefined].entries()) {
    if (inode.opaque) hides ??= { layer, how: 'opaque', path: at };
    if (name === undefined) break;
    const child = toc.lookup(inode.ino, name);
    if (child === undefined) return { inode: undefined, hides };
    at = joinPath(at, name);
    inode = toc.inode(child);
    const isLast = index === names.length - 1;
    if (inode.type === 'whiteout')
      return { inode: undefined, hides: hides ?? { layer, how: 'whiteout', path: at } };
    if (inode.type === 'dir') continue;
    return { inode: isLast ? inode : undefined, hides: hides ?? { layer, how: 'replaced', path: at } };
  }
  return { inode, hides };
}
