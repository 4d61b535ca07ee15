/** Number literals of templates: Go's untyped constants (text/template/parse, newNumber; strconv.ParseInt and ParseFloat with base 0). */
import { unquoteCharacter } from './quote.js';

export interface NumberLiteral {
  text: string;
  /** Set where the literal has an integer value that fits int64. */
  int?: bigint;
  /** Set where it has an unsigned integer value that fits uint64. */
  uint?: bigint;
  float?: number;
}

const DECIMAL = String.raw`\d(?:_?\d)*`;
const INTEGER =
  /^([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]((?:_?[0-7])+)|(0(?:_?[0-7])+)|([1-9](?:_?\d)*|0))$/;
const FLOAT = new RegExp(`^[+-]?(?:${DECIMAL}\\.?(?:${DECIMAL})?|\\.${DECIMAL})(?:[eE][+-]?${DECIMAL})?$`);
const HEX_FLOAT = /^([+-]?)0[xX]_?([0-9a-fA-F_]*)\.?([0-9a-fA-F_]*)[pP]([+-]?\d+)$/;

/** Returns the message of an error where `text` is no number. */
export function parseNumber(text: string): NumberLiteral | string {
  const integer = parseInteger(text);
  if (integer !== undefined) {
    const fits = {
      int: integer >= -(2n ** 63n) && integer < 2n ** 63n,
      uint: integer >= 0n && integer < 2n ** 64n,
    };
    if (fits.int || (fits.uint && !/^[+-]/.test(text)))
      return {
        text,
        ...(fits.int ? { int: integer } : {}),
        ...(fits.uint ? { uint: integer } : {}),
        float: Number(integer),
      };
  }
  const float = parseFloatLiteral(text);
  if (float === undefined || !Number.isFinite(float)) return `illegal number syntax: ${JSON.stringify(text)}`;
  if (!/[.eEpP]/.test(text)) return `integer overflow: ${JSON.stringify(text)}`;
  const whole = Number.isInteger(float) && Math.abs(float) < 2 ** 63;
  return {
    text,
    float,
    ...(whole ? { int: BigInt(float), ...(float >= 0 ? { uint: BigInt(float) } : {}) } : {}),
  };
}

/** `'x'`; the message of an error where it is malformed. */
export function parseCharacter(text: string): NumberLiteral | string {
  const found = unquoteCharacter(text.slice(1), "'");
  if (found === undefined) return 'invalid syntax';
  if (found.rest !== "'") return `malformed character constant: ${text}`;
  return { text, int: BigInt(found.code), uint: BigInt(found.code), float: found.code };
}

function parseInteger(text: string): bigint | undefined {
  const match = INTEGER.exec(text);
  if (match === null) return undefined;
  const [, sign, hex, binary, octal, oldOctal, decimal] = match;
  const [prefix, digits] =
    hex !== undefined
      ? ['0x', hex]
      : binary !== undefined
        ? ['0b', binary]
        : octal !== undefined || oldOctal !== undefined
          ? ['0o', (octal ?? oldOctal)!]
          : ['', decimal!];
  const value = BigInt(prefix + digits.replaceAll('_', ''));
  return sign === '-' ? -value : value;
}

function parseFloatLiteral(text: string): number | undefined {
  if (FLOAT.test(text)) return Number(text.replaceAll('_', ''));
  const match = HEX_FLOAT.exec(text);
  if (match === null) return undefined;
  const [, sign, whole, fraction, exponent] = match;
  const digits = `${whole}${fraction}`.replaceAll('_', '');
  if (digits === '') return undefined;
  const scale = Number(exponent) - 4 * fraction!.replaceAll('_', '').length;
  return (sign === '-' ? -1 : 1) * Number(BigInt(`0x${digits}`)) * 2 ** scale;
}
