/**
 * Columns as Go's text/tabwriter aligns them with docker's settings: at least 10 wide, three spaces between. A column is a run of
 * lines that have a cell there, followed by another; the last cell of a line is in none.
 */
import { displayWidth } from './width.js';

const MIN_WIDTH = 10;
const PADDING = 3;

export function formatTable(rows: readonly (readonly string[])[]): string {
  return alignLines(rows)
    .map((line) => `${line}\n`)
    .join('');
}

/** Aligns text whose cells are separated by tabs. */
export function alignTabs(text: string): string {
  return alignLines(text.split('\n').map((line) => line.split('\t'))).join('\n');
}

/** One text a row. `minWidth` includes `padding`. */
export function alignLines(
  rows: readonly (readonly string[])[],
  minWidth = MIN_WIDTH,
  padding = PADDING,
): string[] {
  const aligned = rows.map((row) => row.at(-1) ?? '');
  const before = rows.map(() => '');
  const column = (from: number, to: number, at: number): void => {
    for (let start = from; start < to; start++) {
      if (at >= rows[start]!.length - 1) continue;
      let end = start;
      let width = minWidth;
      for (; end < to && at < rows[end]!.length - 1; end++)
        width = Math.max(width, displayWidth(rows[end]![at]!) + padding);
      for (let row = start; row < end; row++) {
        const cell = rows[row]![at]!;
        before[row] += cell + ' '.repeat(width - displayWidth(cell));
      }
      column(start, end, at + 1);
      start = end;
    }
  };
  column(0, rows.length, 0);
  return aligned.map((last, row) => before[row] + last);
}
