/** Go's fmt.Sprintf (https://pkg.go.dev/fmt), for the kinds of values that templates have. */
import { formatFloat } from './floats.js';
import { printed } from './print.js';
import { isPrintable, quote } from './quote.js';
import { concrete, entriesOf, fieldsOf, kindOf, Nil, numberOf, typeOf } from './values.js';

interface Flags {
  plus: boolean;
  minus: boolean;
  sharp: boolean;
  space: boolean;
  zero: boolean;
  /** `%+v`: names of fields. */
  named: boolean;
  width: number | undefined;
  precision: number | undefined;
}

interface Directive {
  flags: Flags;
  verb: string;
  /** Number of the argument where `[n]` gives it, and whether that is in range. */
  arg: number;
  isBadIndex: boolean;
  /** What is to be written before the value: complaints about `*`. */
  complaint: string;
  end: number;
  /** Whether `[n]` was used: then extra arguments are no error. */
  isReordered: boolean;
}

export function sprintf(format: string, args: readonly unknown[]): string {
  let out = '';
  let arg = 0;
  let isReordered = false;
  let at = 0;
  for (;;) {
    const percent = format.indexOf('%', at);
    out += format.slice(at, percent < 0 ? undefined : percent);
    if (percent < 0) break;
    const directive = readDirective(format, percent + 1, args, arg);
    const { verb, isBadIndex, complaint, flags } = directive;
    at = directive.end;
    arg = directive.arg;
    isReordered ||= directive.isReordered;
    out += complaint;
    if (verb === '') {
      out += '%!(NOVERB)';
      break;
    }
    if (verb === '%') out += '%';
    else if (isBadIndex) out += `%!${verb}(BADINDEX)`;
    else if (arg >= args.length) out += `%!${verb}(MISSING)`;
    else out += formatValue(args[arg++], verb, flags);
  }
  if (!isReordered && arg < args.length) out += extra(args.slice(arg));
  return out;
}

function extra(args: readonly unknown[]): string {
  const shown = args.map((given) => {
    const value = concrete(given);
    return kindOf(value) === 'invalid' ? '<nil>' : `${typeOf(value)}=${printed(value)}`;
  });
  return `%!(EXTRA ${shown.join(', ')})`;
}

function readDirective(format: string, start: number, args: readonly unknown[], next: number): Directive {
  let at = start;
  const result: Directive = {
    flags: {
      plus: false,
      minus: false,
      sharp: false,
      space: false,
      zero: false,
      named: false,
      width: undefined,
      precision: undefined,
    },
    verb: '',
    arg: next,
    isBadIndex: false,
    complaint: '',
    end: start,
    isReordered: false,
  };
  const { flags } = result;
  const NAMES: Record<string, 'plus' | 'minus' | 'sharp' | 'space' | 'zero'> = {
    '+': 'plus',
    '-': 'minus',
    '#': 'sharp',
    ' ': 'space',
    '0': 'zero',
  };
  for (; NAMES[format[at]!] !== undefined; at++) flags[NAMES[format[at]!]!] = true;
  /** `[n]` before a width, a precision or the verb. */
  const index = (): void => {
    if (format[at] !== '[') return;
    result.isReordered = true;
    const close = format.indexOf(']', at);
    const inner = close < 0 ? '' : format.slice(at + 1, close);
    const isValid = /^\d+$/.test(inner) && Number(inner) >= 1 && Number(inner) <= args.length;
    if (isValid) result.arg = Number(inner) - 1;
    else result.isBadIndex = true;
    at = close < 0 ? at + 1 : close + 1;
  };
  const number = (what: 'WIDTH' | 'PREC'): number | undefined => {
    index();
    if (format[at] === '*') {
      at++;
      const given = concrete(args[result.arg]);
      result.arg++;
      if (typeof given === 'number' && Number.isInteger(given) && Math.abs(given) <= 1e6) return given;
      result.complaint += `%!(BAD${what})`;
      return undefined;
    }
    const digits = /^\d+/.exec(format.slice(at))?.[0];
    if (digits === undefined) return undefined;
    at += digits.length;
    return Number(digits);
  };
  flags.width = number('WIDTH');
  if (flags.width !== undefined && flags.width < 0) {
    flags.minus = true;
    flags.width = -flags.width;
  }
  if (format[at] === '.') {
    at++;
    flags.precision = number('PREC') ?? 0;
    if (flags.precision < 0) flags.precision = undefined;
  }
  index();
  if (flags.minus) flags.zero = false;
  result.verb = at < format.length ? String.fromCodePoint(format.codePointAt(at)!) : '';
  result.end = at + result.verb.length;
  return result;
}

function formatValue(given: unknown, verb: string, flags: Flags): string {
  const value = concrete(given);
  if (verb === 'T') return pad(typeOf(value), flags);
  // fmt: with %+v the flag is of the value as a whole, not of the numbers in it.
  const isNamed = verb === 'v' && flags.plus;
  return format(value, verb, isNamed ? { ...flags, plus: false, named: true } : flags, 0);
}

function format(given: unknown, verb: string, flags: Flags, depth: number): string {
  const value = concrete(given);
  const kind = kindOf(value);
  if (verb === 'v' && flags.sharp && kind !== 'int' && kind !== 'float')
    return pad(printed(value, 'syntax', depth), flags);
  switch (kind) {
    case 'invalid':
      return verb === 'v' || depth > 0 ? pad('<nil>', flags) : badVerb(value, verb);
    case 'bool':
      return verb === 't' || verb === 'v' ? pad(String(value), flags) : badVerb(value, verb);
    case 'int':
      return formatInteger(BigInt(value as number | bigint), value, verb, flags);
    case 'float':
      return formatNumber(value, verb, flags);
    case 'string':
      return formatString(value as string, verb, flags);
    case 'slice':
    case 'map':
    case 'struct':
      return formatComposite(value as object, verb, flags, depth);
    case 'pointer':
      return verb === 'v' ? pad('<nil>', flags) : `%!${verb}(${typeOf(value)}=<nil>)`;
    default:
      return badVerb(value, verb);
  }
}

/** Elements are formatted each with the verb. */
function formatComposite(value: object, verb: string, flags: Flags, depth: number): string {
  const each = (element: unknown): string => format(element, verb, flags, depth + 1);
  if (Array.isArray(value)) return `[${value.map(each).join(' ')}]`;
  if (value instanceof Nil) return kindOf(value) === 'slice' ? '[]' : 'map[]';
  if (kindOf(value) === 'map')
    return `map[${entriesOf(value)
      .map(([key, element]) => `${each(key)}:${each(element)}`)
      .join(' ')}]`;
  const fields = fieldsOf(value).map(([name, field]) => `${flags.named ? `${name}:` : ''}${each(field)}`);
  return `${typeOf(value).startsWith('*') ? '&' : ''}{${fields.join(' ')}}`;
}

function badVerb(value: unknown, verb: string): string {
  return kindOf(value) === 'invalid' ? `%!${verb}(<nil>)` : `%!${verb}(${typeOf(value)}=${printed(value)})`;
}

const BASES: Record<string, { base: number; prefix: string }> = {
  v: { base: 10, prefix: '' },
  d: { base: 10, prefix: '' },
  b: { base: 2, prefix: '0b' },
  o: { base: 8, prefix: '0' },
  O: { base: 8, prefix: '0o' },
  x: { base: 16, prefix: '0x' },
  X: { base: 16, prefix: '0X' },
};

function formatInteger(value: bigint, given: unknown, verb: string, flags: Flags): string {
  const based = BASES[verb];
  if (based !== undefined) return formatBased(value, verb, flags, based);
  const code = value >= 0n && value <= 0x10ffffn ? Number(value) : 0xfffd;
  const character = code >= 0xd800 && code < 0xe000 ? '\ufffd' : String.fromCodePoint(code);
  if (verb === 'c') return pad(character, flags);
  if (verb === 'q') return pad(quote(character, "'", flags.plus), flags);
  if (verb !== 'U') return badVerb(given, verb);
  const hex = value
    .toString(16)
    .toUpperCase()
    .padStart(Math.max(flags.precision ?? 4, 4), '0');
  const shown = flags.sharp && isPrintable(character) ? ` '${character}'` : '';
  return pad(`U+${hex}${shown}`, { ...flags, zero: false });
}

function formatBased(
  value: bigint,
  verb: string,
  flags: Flags,
  { base, prefix }: { base: number; prefix: string },
): string {
  const isNegative = value < 0n;
  if (flags.precision === 0 && value === 0n) return pad('', { ...flags, zero: false });
  let digits = (isNegative ? -value : value).toString(base);
  if (verb === 'X') digits = digits.toUpperCase();
  const sign = isNegative ? '-' : flags.plus ? '+' : flags.space ? ' ' : '';
  // fmt.fmtInteger: a width with the flag 0 is a precision, less one for a sign.
  const wanted = flags.precision ?? (flags.zero ? (flags.width ?? 0) - (sign === '' ? 0 : 1) : 0);
  digits = digits.padStart(wanted, '0');
  const isPrefixed = verb === 'O' || (flags.sharp && verb !== 'v' && verb !== 'd');
  const before = isPrefixed && !(verb === 'o' && digits.startsWith('0')) ? prefix : '';
  return pad(sign + before + digits, { ...flags, zero: false });
}

function formatNumber(value: unknown, verb: string, flags: Flags): string {
  const number = numberOf(value);
  if (!/^[veEfFgG]$/.test(verb)) return badVerb(value, verb);
  const kind = verb === 'v' ? 'g' : verb.replace('F', 'f');
  const precision = flags.precision ?? (/[eEf]/.test(kind) ? 6 : -1);
  let text = formatFloat(number, kind, precision, flags.sharp && verb !== 'v');
  if (!/^[+-]/.test(text)) text = `${flags.plus ? '+' : flags.space ? ' ' : ''}${text}`;
  else if (text.startsWith('+') && !flags.plus) text = flags.space ? text.replace('+', ' ') : text;
  if (!flags.zero || !Number.isFinite(number)) return pad(text, { ...flags, zero: false });
  const sign = /^[+\- ]/.exec(text)?.[0] ?? '';
  return sign + text.slice(sign.length).padStart((flags.width ?? 0) - sign.length, '0');
}

function formatString(value: string, verb: string, flags: Flags): string {
  const cut = flags.precision === undefined ? value : [...value].slice(0, flags.precision).join('');
  if (verb === 's' || verb === 'v') return pad(cut, flags);
  if (verb === 'q') {
    const isRaw = flags.sharp && !cut.includes('`') && /^[\P{Cc}\t]*$/u.test(cut);
    return pad(isRaw ? `\`${cut}\`` : quote(cut, '"', flags.plus), flags);
  }
  if (verb !== 'x' && verb !== 'X') return badVerb(value, verb);
  const bytes = Buffer.from(value).subarray(0, flags.precision);
  const prefix = flags.sharp && bytes.length > 0 ? `0${verb}` : '';
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0'));
  const text = prefix + hex.join(flags.space ? ` ${prefix}` : '');
  return pad(verb === 'X' ? text.toUpperCase() : text, flags);
}

/** To a width counted in characters. */
function pad(text: string, { width = 0, minus, zero }: Flags): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (minus) return text + ' '.repeat(missing);
  return (zero ? '0' : ' ').repeat(missing) + text;
}
