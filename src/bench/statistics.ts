/** Medians, and how figures are printed. */

/** The middle value, or the mean of the middle two. Raises RangeError when there is none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('expected values for a median but received none');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export type Unit = 'us' | 's';

/** `value` in `unit` with three significant digits, in the unit that reads best: `20.6 us`, `1.20 ms`, `3.41 s`. */
export function figure(value: number, unit: Unit): string {
  const micros = unit === 's' ? value * 1e6 : value;
  if (micros >= 1e6) return `${significant(micros / 1e6)} s`;
  if (micros >= 1e3) return `${significant(micros / 1e3)} ms`;
  return `${significant(micros)} us`;
}

/** `0.42x`, `12.3x`, `105x`. */
export function ratioText(ratio: number): string {
  return `${ratio >= 10 ? significant(ratio) : ratio.toFixed(2)}x`;
}

function significant(value: number): string {
  if (value === 0) return '0';
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(0, digits), 6));
}

/** About `wanted` of the list, spread evenly over all of it; all when there are fewer. */
export function spread<T>(list: readonly T[], wanted: number): T[] {
  if (list.length <= wanted) return [...list];
  return Array.from({ length: wanted }, (_, index) => list[Math.floor((index * list.length) / wanted)]!);
}
