/** Medians, spreads and how figures are printed. */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Largest deviation from the median, as a fraction of it. */
export function spread(values) {
  const middle = median(values);
  return middle === 0 ? 0 : Math.max(...values.map((value) => Math.abs(value - middle))) / middle;
}

/** `value` in `unit` for a person: three significant digits. Units: s, us, ms, KiB, GB/s. */
export function figure(value, unit) {
  if (unit === 's' && value < 0.1) return `${significant(value * 1000)} ms`;
  if (unit === 'KiB' && value >= 10240) return `${significant(value / 1024)} MiB`;
  return `${significant(value)} ${unit}`;
}

function significant(value) {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}
