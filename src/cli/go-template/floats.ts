/** Go's strconv.FormatFloat for the verbs e, f and g (https://pkg.go.dev/strconv#FormatFloat). */

/** The digits d of 0.d1d2d3... x 10^point. */
interface Decimal {
  digits: string;
  point: number;
}

/**
 * `precision` counts digits after the point (e, f) or significant digits (g); -1 means as many as the value needs. `keepZeros` is
 * the flag `#` of %g.
 */
export function formatFloat(value: number, verb: string, precision: number, keepZeros = false): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const text = formatPositive(Math.abs(value), verb.toLowerCase(), precision, keepZeros);
  return sign + (verb === 'E' || verb === 'G' ? text.toUpperCase() : text);
}

function formatPositive(value: number, verb: string, precision: number, keepZeros: boolean): string {
  const isShortest = precision < 0;
  const exact = isShortest ? shortest(value) : decimalOf(value);
  if (verb === 'f') {
    const rounded = isShortest ? exact : round(exact, exact.point + precision);
    return positional(rounded, isShortest ? Math.max(rounded.digits.length - rounded.point, 0) : precision);
  }
  if (verb === 'e') {
    const rounded = isShortest ? exact : round(exact, precision + 1);
    return exponential(rounded, isShortest ? rounded.digits.length : precision + 1);
  }
  const significant = precision === 0 ? 1 : precision;
  const rounded = isShortest ? exact : round(exact, significant);
  const { digits, point } = rounded;
  // strconv, %g: the exponent form from as many integer digits as are significant; 6 when shortest, and not fewer than there are digits.
  let limit = isShortest ? 6 : significant;
  if (!isShortest && limit > digits.length && digits.length >= point) limit = digits.length;
  const power = value === 0 ? 0 : point - 1;
  const shown = keepZeros ? Math.max(significant, digits.length, isShortest ? 6 : 0) : digits.length;
  if (power < -4 || power >= limit) return exponential(rounded, shown);
  return positional(rounded, Math.max(shown - point, 0));
}

function shortest(value: number): Decimal {
  if (value === 0) return { digits: '', point: 0 };
  const [mantissa = '', exponent] = value.toExponential().split('e');
  return { digits: mantissa.replace('.', ''), point: Number(exponent) + 1 };
}

/** Every digit of a double: m x 2^e is m x 5^-e x 10^e where e is negative. */
function decimalOf(value: number): Decimal {
  if (value === 0) return { digits: '', point: 0 };
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const raw = bits.getBigUint64(0);
  const biased = Number((raw >> 52n) & 0x7ffn);
  const fraction = raw & 0xfffffffffffffn;
  const mantissa = biased === 0 ? fraction : fraction | (1n << 52n);
  const exponent = Math.max(biased, 1) - 1075;
  const text = String(exponent >= 0 ? mantissa << BigInt(exponent) : mantissa * 5n ** BigInt(-exponent));
  return { digits: text.replace(/0+$/, ''), point: text.length + Math.min(exponent, 0) };
}

/** To `count` digits, halves to the even digit. */
function round({ digits, point }: Decimal, count: number): Decimal {
  if (count < 0) return { digits: '', point: 0 };
  if (count >= digits.length) return { digits, point };
  const kept = digits.slice(0, count);
  const rest = digits.slice(count);
  const isHalf = rest === '5';
  const isUp = isHalf ? Number(kept.at(-1) ?? '0') % 2 === 1 : rest[0]! >= '5';
  if (!isUp) return trimmed({ digits: kept, point });
  const raised = String(BigInt(kept === '' ? '0' : kept) + 1n).padStart(count, '0');
  return trimmed({ digits: raised, point: raised.length > count ? point + 1 : point });
}

function trimmed({ digits, point }: Decimal): Decimal {
  const text = digits.replace(/0+$/, '');
  return { digits: text, point: text === '' ? 0 : point };
}

function positional({ digits, point }: Decimal, decimals: number): string {
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, '0') : '0';
  if (decimals === 0) return whole;
  const fraction = '0'.repeat(Math.max(-point, 0)) + digits.slice(Math.max(point, 0));
  return `${whole}.${fraction.slice(0, decimals).padEnd(decimals, '0')}`;
}

/** Go writes at least two digits of an exponent. */
function exponential({ digits, point }: Decimal, significant: number): string {
  const shown = digits.padEnd(Math.max(significant, 1), '0');
  const power = digits === '' ? 0 : point - 1;
  const fraction = shown.length > 1 ? `.${shown.slice(1)}` : '';
  return `${shown[0]}${fraction}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}
