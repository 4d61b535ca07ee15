/** A container opened for reading: its image, its upper directory as it is now, and both as the tree that a mount shows. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import type { OpenedImage } from '../image/open.js';
import { indexedFiles } from '../layer/kernel-index.js';
import { OverlaidTree } from '../layer/overlaid.js';
import type { TreeReader } from '../layer/tree.js';
import { readUpper } from '../layer/upper.js';
import type { OverlayPrefix, UpperNode } from '../layer/upper.js';
import { ImageView } from '../merge/view.js';
import { openBase } from './base.js';
import type { BaseOptions } from './base.js';
import type { ContainerRecord } from '../store/container-record.js';
import { scanDirectory } from './scan.js';
import type { ContainerStore } from './store.js';
import { UpperFiles } from './upper-files.js';

/** It holds descriptors: `close` it. What changes in the container afterwards is not seen, or raises EBUSY when it is read. */
export interface OpenedContainer {
  record: ContainerRecord;
  base: OpenedImage;
  lower: TreeReader;
  upper: UpperNode;
  tree: OverlaidTree;
  /** Of the whole. */
  view: ImageView;
  close: () => void;
}

export function overlayPrefix({ userXattrs }: ContainerRecord): OverlayPrefix {
  return userXattrs ? 'user.overlay.' : 'trusted.overlay.';
}

/** What kernel overlayfs keeps beside the upper; nothing where it never was at work. */
async function readIndex(upperDirectory: string, prefix: OverlayPrefix): Promise<Map<number, UpperNode>> {
  // Where store.ts puts it.
  const name = '../work/index';
  const directory = path.join(upperDirectory, name);
  if (!existsSync(directory)) return new Map();
  const [root, ...files] = await scanDirectory(directory, { depth: 1 });
  return indexedFiles(readUpper([{ ...root!, name }, ...files], prefix));
}

/** Raises EBASE, EUPPER, EIO and what opening the image raises. */
export async function openContainer(
  store: ContainerStore,
  record: ContainerRecord,
  options: BaseOptions = {},
): Promise<OpenedContainer> {
  const base = await openBase(record, options);
  try {
    const opened = await openUpper(base, store.upperOf(record), overlayPrefix(record));
    const close = (): void => {
      opened.close();
      base.close();
    };
    return { record, base, ...opened, close };
  } catch (error) {
    base.close();
    throw error;
  }
}

/** An upper directory over an opened image. Raises EUPPER, EIO. */
export async function openUpper(
  base: OpenedImage,
  directory: string,
  prefix: OverlayPrefix,
): Promise<Omit<OpenedContainer, 'record' | 'base'>> {
  try {
    const lower = await base.toc();
    const upper = readUpper(await scanDirectory(directory), prefix);
    const tree = new OverlaidTree(lower, upper, await readIndex(directory, prefix));
    const files = new UpperFiles(directory);
    const sources = [...base.sources, ...tree.files.map((node) => files.source(node))];
    return { lower, upper, tree, view: new ImageView(tree, sources), close: () => files.close() };
  } catch (error) {
    throw fromSystemError(error, 'cannot read', directory);
  }
}
