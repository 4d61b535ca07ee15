/**
 * An image explained without unpacking it: what each layer changes, what later layers hide, and what that costs. Layers are read by
 * their headers alone; contents only where two versions of a file are of one size.
 */
import type { ByteString } from '../../bytes.js';
import { compareBytes } from '../../bytes.js';
import { indexLayer } from '../../layer/index-layer.js';
import type { TreeNode } from '../../layer/tree.js';
import { mergeLayers } from '../../merge/merge.js';
import { joinPath } from '../../merge/view.js';
import { isDir } from '../../layer/tree.js';
import type { DirNode } from '../../layer/tree.js';
import { changedAttributes } from '../compare/attributes.js';
import type { Aspect } from '../compare/attributes.js';
import { sameContent } from '../compare/content.js';
import type { Content } from '../compare/content.js';
import type { OpenedImage } from '../open.js';
import { ChangeCollector } from './changes.js';
import type { HiddenVersion, LayerChange } from './changes.js';
import { DiveTreeBuilder } from './dive-tree.js';
import type { DiveTree } from './dive-tree.js';
import { efficiencyOf } from './efficiency.js';
import type { Efficiency } from './efficiency.js';

export interface ChangeCounts {
  added: number;
  modified: number;
  removed: number;
}

export interface LayerSummary {
  /** Bottom is 0. */
  index: number;
  diffId: string;
  /** Of the blob as it is stored, where the archive gives one. */
  digest: string | undefined;
  /** What made it, from the config's history, without the shell that ran it; undefined where history does not say. */
  command: string | undefined;
  /** Of all its files together: dive's size of a layer. */
  sizeBytes: number;
  /** Of its uncompressed tar, and as it is stored. */
  tarBytes: number;
  blobBytes: number;
  /** Names of all but directories. */
  files: ChangeCounts;
  directories: ChangeCounts;
}

/**
 * Why a version of a file is stored but does not show. `metadata-only copy`: the version above has the same content and other attributes
 * (chmod, chown, touch). `identical copy`: nothing differs at all. `replaced`: by something of another type.
 */
export type HiddenWhy = 'deleted' | 'rewritten' | 'metadata-only copy' | 'identical copy' | 'replaced';

export interface HiddenFile {
  path: ByteString;
  /** The layer that holds it, and the one that hides it. */
  layer: number;
  byLayer: number;
  /** Stored for nothing: 0 where another name of the file still shows, or was counted. */
  sizeBytes: number;
  how: HiddenVersion['how'];
  /** Where it is hidden: the path itself or a directory above it. */
  at: ByteString;
  why: HiddenWhy;
  /** metadata-only copy: what differs. */
  changed: readonly Aspect[];
}

/** All that is hidden at one place: versions of a file, or everything in a directory. */
export interface WastedPlace {
  path: ByteString;
  /** Hidden files. */
  count: number;
  sizeBytes: number;
  /** The largest share first. */
  reasons: readonly { why: HiddenWhy; count: number; sizeBytes: number; changed: readonly Aspect[] }[];
}

export interface LargeFile {
  /** The first of its names in byte order. */
  path: ByteString;
  sizeBytes: number;
  layer: number;
}

export interface Analysis {
  /** Bottom to top, as all by layer below. */
  layers: readonly LayerSummary[];
  changes: readonly (readonly LayerChange[])[];
  trees: readonly DiveTree[];
  efficiency: Efficiency;
  /** What the image shows, the largest first. */
  largestFiles: readonly LargeFile[];
  /** By path, then by layer. */
  hidden: readonly HiddenFile[];
  /** The most expensive first. */
  wasted: readonly WastedPlace[];
  /** Stored in some layer but shown by no name. */
  hiddenBytes: number;
}

/** Raises what indexing the layers and reading them raises. */
export function analyzeOpened(opened: OpenedImage): Analysis {
  const { sources } = opened;
  const { layers: blobs, config } = opened.archived;
  const diffIds = blobs.map(({ diffId }) => diffId);
  const trees: DiveTree[] = [];
  const collector = new ChangeCollector();
  const tocs = sources.map((source, index) => {
    const tree = new DiveTreeBuilder();
    const layer = { diffId: diffIds[index]!, sizeBytes: source.sizeBytes };
    const toc = indexLayer(source, layer, index, undefined, (entry) => tree.add(entry));
    trees.push(tree.finish());
    return toc;
  });
  const { root } = mergeLayers(tocs, collector);
  const { files, shared } = shownFiles(root);
  const contentOf = (node: TreeNode): Content => ({ ...node, sources, diffIds });
  const hidden = hiddenFiles(collector.hidden, shared, contentOf);
  const commands = config.history.filter(({ emptyLayer }) => !emptyLayer).map(({ createdBy }) => createdBy);
  return {
    layers: blobs.map(({ diffId, digest, blob }, index) => ({
      index,
      diffId,
      digest,
      command: commands[index]?.replace(/^\/bin\/sh -c /, ''),
      sizeBytes: trees[index]!.sizeBytes,
      tarBytes: sources[index]!.sizeBytes,
      blobBytes: blob.sizeBytes,
      files: countChanges(collector.layers[index]!.filter((change) => !isDirectoryChange(change))),
      directories: countChanges(collector.layers[index]!.filter(isDirectoryChange)),
    })),
    changes: collector.layers,
    trees,
    efficiency: efficiencyOf(trees),
    largestFiles: files.sort((a, b) => b.sizeBytes - a.sizeBytes || compareBytes(a.path, b.path)),
    hidden,
    wasted: wastedPlaces(hidden),
    hiddenBytes: hidden.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
  };
}

/** A change from or to anything else is one of a file. */
function isDirectoryChange({ before, after }: LayerChange): boolean {
  return (before === undefined || isDir(before)) && (after === undefined || isDir(after));
}

function countChanges(changes: readonly LayerChange[]): ChangeCounts {
  const counts = { added: 0, modified: 0, removed: 0 };
  for (const { kind } of changes) counts[kind]++;
  return counts;
}

/** Regular files, each under the first of its names; and the nodes with several names that show. */
function shownFiles(root: DirNode): { files: LargeFile[]; shared: Set<TreeNode> } {
  const files: LargeFile[] = [];
  const shared = new Map<TreeNode, LargeFile | undefined>();
  const visit = (dir: DirNode, path: ByteString): void => {
    for (const [name, node] of dir.children) {
      if (isDir(node)) visit(node, joinPath(path, name));
      else if (node.type === 'file') {
        const file = { path: joinPath(path, name), sizeBytes: node.sizeBytes, layer: node.layer };
        const known = shared.get(node);
        if (known === undefined) files.push(file);
        else if (compareBytes(file.path, known.path) < 0) known.path = file.path;
        if (node.shared) shared.set(node, known ?? file);
      }
    }
  };
  visit(root, '/');
  return { files, shared: new Set(shared.keys()) };
}

function hiddenFiles(
  versions: readonly HiddenVersion[],
  shown: ReadonlySet<TreeNode>,
  contentOf: (node: TreeNode) => Content,
): HiddenFile[] {
  const counted = new Set(shown);
  const sorted = [...versions].sort((a, b) => compareBytes(a.path, b.path) || a.byLayer - b.byLayer);
  return sorted.map(({ path, node, byLayer, how, at, after }) => {
    const isCounted = counted.has(node);
    if (node.shared) counted.add(node);
    const sizeBytes = node.type === 'file' && !isCounted ? node.sizeBytes : 0;
    return { path, layer: node.layer, byLayer, sizeBytes, how, at, ...reason(node, after, contentOf) };
  });
}

function reason(
  node: TreeNode,
  after: TreeNode | undefined,
  contentOf: (node: TreeNode) => Content,
): { why: HiddenWhy; changed: Aspect[] } {
  if (after === undefined) return { why: 'deleted', changed: [] };
  if (after.type !== node.type) return { why: 'replaced', changed: [] };
  const changed = changedAttributes(node, after);
  const isSame =
    node.type === 'file'
      ? sameContent(contentOf(node), contentOf(after))
      : !changed.includes('target') && !changed.includes('device');
  if (!isSame) return { why: 'rewritten', changed: [] };
  return { why: changed.length === 0 ? 'identical copy' : 'metadata-only copy', changed };
}

function wastedPlaces(hidden: readonly HiddenFile[]): WastedPlace[] {
  const places = new Map<ByteString, HiddenFile[]>();
  for (const file of hidden) {
    if (file.sizeBytes === 0) continue;
    const place = places.get(file.at);
    if (place === undefined) places.set(file.at, [file]);
    else place.push(file);
  }
  return [...places]
    .map(([path, files]) => ({ path, ...total(files), reasons: reasonsOf(files) }))
    .sort((a, b) => b.sizeBytes - a.sizeBytes || compareBytes(a.path, b.path));
}

function reasonsOf(files: readonly HiddenFile[]): WastedPlace['reasons'] {
  return [...new Set(files.map(({ why }) => why))]
    .map((why) => {
      const those = files.filter((file) => file.why === why);
      return { why, ...total(those), changed: [...new Set(those.flatMap(({ changed }) => changed))] };
    })
    .sort((a, b) => b.sizeBytes - a.sizeBytes || (a.why < b.why ? -1 : 1));
}

function total(files: readonly HiddenFile[]): { count: number; sizeBytes: number } {
  return { count: files.length, sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}
