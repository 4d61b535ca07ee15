/** `lamina analyze` for people: the layers, what is large, and what is stored for nothing and why. */
import type { ByteString } from '../../bytes.js';
import { displayBytes, utf8ToBytes } from '../../bytes.js';
import type { Analysis, HiddenWhy, WastedPlace } from '../../image/analyze/analyze.js';
import type { OpenedImage } from '../../image/open.js';
import { formatSize } from '../output/sizes.js';
import type { Output } from '../fs/output.js';

const COMMAND_COLUMNS = 60;

export async function printReport(
  analysis: Analysis,
  opened: OpenedImage,
  top: number,
  out: Output,
): Promise<void> {
  await out.print(summary(analysis, opened));
  await out.print(heading('Layers', analysis.layers.length, Infinity));
  await out.print(layerTable(analysis));
  const { largestFiles, wasted, hidden } = analysis;
  await out.print(heading('Largest files', largestFiles.length, top));
  await out.print(
    table(
      ['SIZE', 'LAYER', 'PATH'],
      largestFiles
        .slice(0, top)
        .map(({ sizeBytes, layer, path }) => [bytes(sizeBytes), String(layer), out.name(path)]),
      'rrl',
    ),
  );
  if (wasted.length > 0) {
    await out.print(heading('Stored but hidden', wasted.length, top));
    const rows = wasted
      .slice(0, top)
      .map((place) => [bytes(place.sizeBytes), String(place.count), why(place), out.name(place.path)]);
    await out.print(table(['SIZE', 'FILES', 'WHY', 'PATH'], rows, 'rrll'));
  }
  const byReason = copies(analysis);
  if (byReason.length > 0) {
    await out.print(heading('Why', byReason.length, Infinity));
    await out.print(table(['SIZE', 'FILES', 'WHY'], byReason, 'rrl'));
  }
  if (hidden.some((file) => file.why === 'metadata-only copy' && file.sizeBytes > 0))
    await out.print(
      '\nA metadata-only copy has the content of the version below it: set modes and owners in the instruction that makes the file.\n',
    );
}

function summary({ layers, efficiency, hidden, hiddenBytes }: Analysis, opened: OpenedImage): ByteString {
  const { archived, name } = opened;
  const { score, wastedBytes, sizeBytes, userSizeBytes, wastedUserPercent } = efficiency;
  const share = userSizeBytes > 0 ? `, ${percent(wastedUserPercent)} of what layers above the first add` : '';
  const files = hidden.filter((file) => file.sizeBytes > 0).length;
  const rows: [string, string][] = [
    ['Image', `${name} (${archived.imageId})`],
    ['Size', `${bytes(sizeBytes)} in ${layers.length} layer${layers.length === 1 ? '' : 's'}`],
    ['Efficiency', percent(score)],
    ['Wasted', `${bytes(wastedBytes)}${share}`],
    ['Hidden', `${bytes(hiddenBytes)} in ${files} file${files === 1 ? '' : 's'}`],
  ];
  return rows.map(([label, value]) => `${`${label}:`.padEnd(13)}${shown(value)}\n`).join('');
}

function layerTable({ layers }: Analysis): ByteString {
  const rows = layers.map(({ index, diffId, sizeBytes, files, command }) => [
    String(index),
    diffId.replace(/^\w+:/, '').slice(0, 12),
    bytes(sizeBytes),
    String(files.added),
    String(files.modified),
    String(files.removed),
    shown((command ?? '<missing>').replace(/\s+/g, ' ').slice(0, COMMAND_COLUMNS)),
  ]);
  return table(['LAYER', 'DIFF ID', 'SIZE', 'ADDED', 'MODIFIED', 'REMOVED', 'COMMAND'], rows, 'rlrrrrl');
}

/** `rewritten x2, deleted`; of attributes those that differ. */
function why({ reasons }: WastedPlace): string {
  return reasons
    .map(({ why: name, count, changed }) => {
      const what = changed.length === 0 ? name : `${name} (${changed.join(', ')})`;
      return count === 1 || name === 'deleted' ? what : `${what} x${count}`;
    })
    .join(', ');
}

function copies({ hidden }: Analysis): string[][] {
  const found = new Map<HiddenWhy, { count: number; sizeBytes: number }>();
  for (const { why: name, sizeBytes } of hidden) {
    if (sizeBytes === 0) continue;
    const sum = found.get(name) ?? { count: 0, sizeBytes: 0 };
    found.set(name, { count: sum.count + 1, sizeBytes: sum.sizeBytes + sizeBytes });
  }
  return [...found]
    .sort(([, a], [, b]) => b.sizeBytes - a.sizeBytes)
    .map(([name, { count, sizeBytes }]) => [bytes(sizeBytes), String(count), name]);
}

function heading(title: string, count: number, top: number): string {
  return `\n${title}${count > top ? ` (${top} of ${count})` : ''}\n`;
}

/** Columns as wide as they must be; `r` in `align` puts a column to the right. */
function table(
  headings: readonly string[],
  rows: readonly (readonly ByteString[])[],
  align: string,
): ByteString {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const cell = (text: ByteString, column: number): ByteString => {
    if (align[column] === 'r') return text.padStart(widths[column]!);
    return column === headings.length - 1 ? text : text.padEnd(widths[column]!);
  };
  return all.map((row) => `  ${row.map(cell).join('  ')}\n`).join('');
}

function bytes(sizeBytes: number): string {
  return formatSize(sizeBytes, 3);
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(2)} %`;
}

function shown(text: string): ByteString {
  return utf8ToBytes(displayBytes(utf8ToBytes(text)));
}
