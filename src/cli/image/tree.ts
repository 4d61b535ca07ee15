/** `lamina images --tree`: each image with all its names, and below it what there is of it for a platform (docker/cli cli/command/image/tree.go). */
import type { ListedImage } from '../../image/list.js';
import type { ImageStore } from '../../store/image-store.js';
import type { Style } from '../output/style.js';
import { familiarReference } from '../../oci/reference.js';
import { formatSize } from '../output/sizes.js';
import { displayWidth } from '../output/width.js';
import { visible } from '../output/visible.js';

export interface TreeDetails {
  id: string;
  diskUsage: string;
  contentSize: string;
  isUsed: boolean;
}

export interface TreeImage extends TreeDetails {
  /** Sorted; none for an image without a name. */
  names: readonly string[];
  children: readonly (TreeDetails & { platform: string })[];
}

const UNTAGGED = '<untagged>';
const SPACING = '   ';
const LEAST_NAME_WIDTH = 12;
/** docker counts the bytes of `\u2514\u2500 `. */
const BRANCH_WIDTH = 7;
const COLUMNS: readonly {
  title: string;
  width: number;
  isRight: boolean;
  of: (details: TreeDetails) => string;
}[] = [
  { title: 'ID', width: 12, isRight: false, of: ({ id }) => id },
  { title: 'DISK USAGE', width: 10, isRight: true, of: ({ diskUsage }) => diskUsage },
  { title: 'CONTENT SIZE', width: 12, isRight: true, of: ({ contentSize }) => contentSize },
  { title: 'EXTRA', width: 5, isRight: false, of: ({ isUsed }) => (isUsed ? 'U' : '') },
];

/** @param terminalColumns 0 where there is no terminal: nothing is left out then, and there is no legend */
export function formatTree(given: readonly TreeImage[], terminalColumns: number, style: Style): string {
  const images = [...given].sort(byName);
  const { nameWidth, columns } = fit(images, terminalColumns);
  const details = (of: TreeDetails): string =>
    columns.map(({ width, isRight, of: value }) => SPACING + fill(value(of), width, isRight)).join('');
  const titles = columns.map(({ title, width, isRight }) => SPACING + fill(title, width, isRight)).join('');
  const legend = ' i Info \u2192   U  In Use';
  let out = terminalColumns > 0 ? `${style('dim', legend.padStart(terminalColumns))}\n` : '';
  out += `${style('bold', fill('IMAGE', nameWidth, false) + titles)}\n`;
  const isSpaced = images.some(({ children }) => children.length > 0);
  for (const image of images) {
    const names = image.names.length === 0 ? [UNTAGGED] : image.names;
    for (const [index, name] of names.entries()) {
      const isLast = index === names.length - 1;
      const isWide = displayWidth(name) > nameWidth;
      out += style('blue', fill(name, nameWidth, false));
      if (!isLast || isWide) out += '\n';
      if (isLast && isWide) out += ' '.repeat(nameWidth);
    }
    out += `${details(image)}\n`;
    for (const [index, child] of image.children.entries()) {
      const branch = index === image.children.length - 1 ? '\u2514\u2500 ' : '\u251c\u2500 ';
      out += `${fill(branch + child.platform, nameWidth, false)}${details(child)}\n`;
    }
    if (isSpaced) out += '\n';
  }
  return out;
}

/** Images without a name come last. */
function byName(a: TreeImage, b: TreeImage): number {
  const [one = '', other = ''] = [a.names[0], b.names[0]];
  if ((one === '') !== (other === '')) return one === '' ? 1 : -1;
  return one < other ? -1 : Number(one > other);
}

/** As narrow a first column as will do; where the terminal is narrower, columns are left out from the right. */
function fit(
  images: readonly TreeImage[],
  terminalColumns: number,
): { nameWidth: number; columns: typeof COLUMNS } {
  const widths = images.flatMap(({ names, children }) => [
    ...(names.length === 0 ? [UNTAGGED] : names).map(displayWidth),
    ...children.map(({ platform }) => displayWidth(platform) + BRANCH_WIDTH),
  ]);
  const widest = widths.reduce((one, other) => Math.max(one, other), 'IMAGE'.length);
  if (terminalColumns <= 0) return { nameWidth: widest, columns: COLUMNS };
  let left = terminalColumns;
  const columns: (typeof COLUMNS)[number][] = [];
  for (const column of COLUMNS) {
    const taken = column.width + SPACING.length;
    if (left - taken < LEAST_NAME_WIDTH) break;
    left -= taken;
    columns.push(column);
  }
  return { nameWidth: Math.min(left, widest), columns };
}

function fill(text: string, width: number, isRight: boolean): string {
  const spaces = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return isRight ? spaces + text : text + spaces;
}

/** An image of the store is for one platform. Its content is its blobs; on the disk there is what was derived from its layers, too. */
export async function treeOf(store: ImageStore, listed: readonly ListedImage[]): Promise<TreeImage[]> {
  const [{ imageUses }, { formatPlatform }, { layerDirectory }, { diskBytes }, { shortId }] =
    await Promise.all([
      import('../../system/usage.js'),
      import('../../oci/platform.js'),
      import('../../store/layer-facts.js'),
      import('../../store/collect.js'),
      import('../output/ids.js'),
    ]);
  const used = new Set((await imageUses(store.root)).map(({ imageId }) => imageId));
  return listed.map(({ image, names }) => {
    const { descriptor, manifest, config } = image;
    const blobs = new Map(
      [descriptor, manifest.config, ...manifest.layers].map(({ digest, sizeBytes }) => [digest, sizeBytes]),
    );
    const contentBytes = [...blobs.values()].reduce((sum, bytes) => sum + bytes, 0);
    const derivedBytes = [...new Set(config.rootfs.diffIds)]
      .map((diffId) => diskBytes(layerDirectory(store.root, diffId)))
      .reduce((sum, bytes) => sum + bytes, 0);
    const details = {
      diskUsage: formatSize(contentBytes + derivedBytes, 3),
      contentSize: formatSize(contentBytes, 3),
      isUsed: used.has(image.imageId),
    };
    return {
      ...details,
      id: shortId(image.imageId),
      names: names
        .filter(({ digest }) => digest === undefined)
        .map(familiarReference)
        .sort(),
      children: [
        { ...details, id: shortId(descriptor.digest), platform: visible(formatPlatform(config.platform)) },
      ],
    };
  });
}
