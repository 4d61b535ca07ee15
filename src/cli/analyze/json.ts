/**
 * `lamina analyze --json`: dive's document (dive 0.13, cmd/dive/cli/internal/command/export/export.go), and beside it `lamina`, which has what dive
 * does not know. Two things are other than dive's: `id` is the layer's digest also where dive would say `blobs`, and directories
 * that a layer only passes through are not listed as entries without a name.
 */
import type { ByteString } from '../../bytes.js';
import type { Analysis } from '../../image/analyze/analyze.js';
import { visitChildrenFirst } from '../../image/analyze/dive-tree.js';
import type { DiveFile } from '../../image/analyze/dive-tree.js';
import type { TarEntryType } from '../../tar/scan.js';
import { jsonName, jsonText } from '../fs/output.js';
import type { Output } from '../fs/output.js';

/** The tar's type flags; a socket has none of its own. */
const TYPE_FLAGS: Record<TarEntryType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
  socket: '0',
};

/** Bits of Go's os.FileMode. */
const GO_TYPE_BITS: Partial<Record<TarEntryType, number>> = {
  dir: 2 ** 31,
  symlink: 2 ** 27,
  block: 2 ** 26,
  char: 2 ** 26 + 2 ** 21,
  fifo: 2 ** 25,
};
const GO_MODE_BITS: readonly (readonly [unix: number, go: number])[] = [
  [0o4000, 2 ** 23],
  [0o2000, 2 ** 22],
  [0o1000, 2 ** 20],
];

export async function printJson(analysis: Analysis, out: Output): Promise<void> {
  await out.print('{"layer":[');
  for (const [index, { diffId, digest, sizeBytes, command }] of analysis.layers.entries()) {
    const id = (digest ?? diffId).replace(/^\w+:/, '');
    const head = { index, id, digestId: diffId, sizeBytes, command: command ?? '(missing)' };
    await out.print(`${index === 0 ? '' : ','}\n${jsonText(head).slice(0, -1)},"fileList":[`);
    const files: DiveFile[] = [];
    visitChildrenFirst(analysis.trees[index]!.root, 'byte order', ({ file }) => {
      if (file !== undefined) files.push(file);
    });
    for (const [at, file] of files.entries())
      await out.print(`${at === 0 ? '' : ','}\n${jsonText(fileInfo(file))}`);
    await out.print(']}');
  }
  const { score, inefficientFiles, wastedBytes, sizeBytes } = analysis.efficiency;
  const image = {
    sizeBytes,
    inefficientBytes: wastedBytes,
    efficiencyScore: score,
    fileReference: inefficientFiles.map((file) => ({
      count: file.count,
      sizeBytes: file.sizeBytes,
      ...jsonName('file', file.path),
    })),
  };
  await out.print(`\n],\n"image":${jsonText(image)},\n"lamina":${jsonText(ownFields(analysis))}\n}\n`);
}

function fileInfo({ path, type, linkName, sizeBytes, mode, uid, gid }: DiveFile): object {
  let goMode = (mode & 0o777) + (GO_TYPE_BITS[type] ?? 0);
  for (const [unix, bit] of GO_MODE_BITS) if ((mode & unix) !== 0) goMode += bit;
  return {
    ...jsonName('path', path),
    typeFlag: TYPE_FLAGS[type].charCodeAt(0),
    ...jsonName('linkName', linkName),
    size: sizeBytes,
    fileMode: goMode,
    uid,
    gid,
    isDir: type === 'dir',
  };
}

function ownFields({ layers, efficiency, largestFiles, hidden, wasted, hiddenBytes }: Analysis): object {
  const named = <T extends { path: ByteString }>({ path, ...rest }: T): object => ({
    ...jsonName('path', path),
    ...rest,
  });
  return {
    userSizeBytes: efficiency.userSizeBytes,
    // JSON has neither NaN nor Infinity: null for an image of one layer.
    wastedUserPercent: efficiency.wastedUserPercent,
    hiddenBytes,
    layers,
    largestFiles: largestFiles.slice(0, LARGEST).map(named),
    wasted: wasted.map(named),
    hidden: hidden.map(({ at, ...file }) => ({ ...named(file), ...jsonName('at', at) })),
  };
}

const LARGEST = 100;
