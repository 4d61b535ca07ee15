/** Sizes for people, as docker prints them (go-units, HumanSizeWithPrecision): decimal units, no space, `72.9MB`. */
import { formatFloat } from '../go-template/floats.js';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];

/**
 * At most `digits` significant digits; docker takes 3 in lists of images and 4 elsewhere. Where docker rounds up to `1e+03kB`, this is `1MB`.
 */
export function formatSize(sizeBytes: number, digits = 4): string {
  let size = sizeBytes;
  let unit = 0;
  const step = (): void => {
    size /= 1000;
    unit++;
  };
  while (size >= 1000 && unit < UNITS.length - 1) step();
  if (Number(formatFloat(size, 'g', digits)) >= 1000 && unit > 0 && unit < UNITS.length - 1) step();
  return `${Number(formatFloat(size, 'g', digits))}${UNITS[unit]}`;
}
