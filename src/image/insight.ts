/** The library's `analyze` and `diffImages`: what the commands of these names show, with text for names. */
import type { ByteString } from '../bytes.js';
import { bytesToBuffer, utf8ToBytes } from '../bytes.js';
import type { TreeInode } from '../layer/tree.js';
import { ImageView } from '../merge/view.js';
import type { ChangeCounts, HiddenWhy, LayerSummary } from './analyze/analyze.js';
import { analyzeOpened } from './analyze/analyze.js';
import type { ChangeKind } from './analyze/changes.js';
import type { Aspect } from './compare/attributes.js';
import { diffViews } from './compare/diff.js';
import type { Side } from './compare/diff.js';
import { comparePackages, readPackages } from './compare/packages/compare.js';
import type { PackageComparison } from './compare/packages/compare.js';
import { ImageStats } from './image-stats.js';
import type { Image } from './image.js';

export type { Aspect, ChangeCounts, ChangeKind, HiddenWhy, LayerSummary, PackageComparison };

/** A path in an image. */
export interface Named {
  path: string;
  /** The path's bytes, for one that is not UTF-8. */
  pathBytes: Buffer;
}

export interface ImageAnalysis {
  /** Bottom to top. */
  layers: readonly (LayerSummary & { changes: readonly (Named & { kind: ChangeKind })[] })[];
  /** Of all files of all layers. */
  sizeBytes: number;
  /** dive's score, 0..1. */
  efficiency: number;
  /** dive's measure: all versions of every path that is in more than one layer. */
  wastedBytes: number;
  /** wastedBytes by the size of all layers but the first; NaN or Infinity for an image of one layer. */
  wastedUserPercent: number;
  /** dive's list, the largest first; `count` is in how many layers the path is. */
  inefficientFiles: readonly (Named & { count: number; sizeBytes: number })[];
  /** Stored in some layer but shown by no name: what a squashed image would not have. */
  hiddenBytes: number;
  /** Every hidden version of a file, with the layer that has it and the one that hides it; by path. */
  hidden: readonly (Named & {
    layer: number;
    byLayer: number;
    /** 0 where another name of the file still shows, or was counted. */
    sizeBytes: number;
    why: HiddenWhy;
    /** What differs in a metadata-only copy. */
    changed: readonly Aspect[];
  })[];
  /** What the image shows, the largest first. */
  largestFiles: readonly (Named & { sizeBytes: number; layer: number })[];
}

/**
 * What each layer of an image changes and hides, and what is stored for nothing. Reads the layers' headers, and contents only where two
 * versions of a file are of one size. Raises EBADTAR, EBADLAYER, EIO and what else damaged layers raise.
 *
 * @example
 * const { efficiency, hidden } = await analyze(image);
 * for (const { path, why, sizeBytes } of hidden) console.log(path, why, sizeBytes);
 */
export async function analyze(image: Image): Promise<ImageAnalysis> {
  const { layers, changes, efficiency, hidden, hiddenBytes, largestFiles } = analyzeOpened(image.opened);
  return {
    layers: layers.map((layer, index) => ({
      ...layer,
      changes: changes[index]!.map(({ path, kind }) => named({ path, kind })),
    })),
    sizeBytes: efficiency.sizeBytes,
    efficiency: efficiency.score,
    wastedBytes: efficiency.wastedBytes,
    wastedUserPercent: efficiency.wastedUserPercent,
    inefficientFiles: efficiency.inefficientFiles.map(named),
    hiddenBytes,
    hidden: hidden.map(({ path, layer, byLayer, sizeBytes, why, changed }) =>
      named({ path, layer, byLayer, sizeBytes, why, changed }),
    ),
    largestFiles: largestFiles.map(named),
  };
}

export interface ImageDifferences {
  /** A directory before what is in it, names in byte order. */
  files: readonly (Named & {
    kind: ChangeKind;
    /** modified: in what. */
    changed: readonly Aspect[];
    /** undefined when it is added, or removed. */
    before: ImageStats | undefined;
    after: ImageStats | undefined;
  })[];
  /** For every package database that either image has; empty with `packages: false`. */
  packages: readonly PackageComparison[];
}

export interface DiffImagesOptions {
  /** Where to begin; the root when absent. */
  path?: string;
  /** What does not count. */
  ignore?: readonly Aspect[];
  /** Whether packages are compared; true when absent. */
  packages?: boolean;
}

/**
 * What differs from image `a` to image `b`. Contents in one place of one layer are the same as far as its digest is true
 * (`Image.verify`); others are read where their sizes are equal. Raises ENOENT when neither has the path, ELIMIT, EIO.
 */
export async function diffImages(
  a: Image,
  b: Image,
  options: DiffImagesOptions = {},
): Promise<ImageDifferences> {
  const [before, after] = await Promise.all([sideOf(a), sideOf(b)]);
  const files = diffViews(before, after, {
    ignore: new Set(options.ignore),
    ...(options.path === undefined ? {} : { path: utf8ToBytes(options.path) }),
  });
  const packages =
    options.packages === false
      ? []
      : comparePackages(await readPackages(before.view), await readPackages(after.view));
  return {
    files: files.map((file) =>
      named({ ...file, before: stats(before, file.before), after: stats(after, file.after) }),
    ),
    packages,
  };
}

async function sideOf({ opened, diffIds }: Image): Promise<Side> {
  return { view: new ImageView(await opened.toc(), opened.sources), diffIds };
}

function stats({ view }: Side, inode: TreeInode | undefined): ImageStats | undefined {
  return inode === undefined ? undefined : new ImageStats(inode, view.toc.extents(inode.ino));
}

function named<T extends { path: ByteString }>(value: T): Omit<T, 'path'> & Named {
  const pathBytes = bytesToBuffer(value.path);
  return { ...value, path: pathBytes.toString('utf8'), pathBytes };
}
