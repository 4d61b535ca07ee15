/** Go's strconv: Quote, Unquote and UnquoteChar (https://pkg.go.dev/strconv). */

const ESCAPES: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
};
const NAMED = new Map(Object.entries(ESCAPES).map(([name, character]) => [character, name]));

/** unicode.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space. */
export function isPrintable(character: string): boolean {
  return /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character);
}

/** A Go literal of `text`, between `mark`s; `asciiOnly` escapes every other character, too. */
export function quote(text: string, mark: '"' | "'" = '"', asciiOnly = false): string {
  let quoted = '';
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (character === mark) quoted += `\\${mark}`;
    else if (NAMED.has(character)) quoted += `\\${NAMED.get(character)!}`;
    else if (isPrintable(character) && (code < 0x7f || !asciiOnly)) quoted += character;
    else if (code < 0x20 || code === 0x7f) quoted += `\\x${hex(code, 2)}`;
    else quoted += code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
  }
  return `${mark}${quoted}${mark}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}

/** What a Go string literal means; undefined where its syntax is invalid. Bytes that are no UTF-8 become U+FFFD. */
export function unquote(literal: string): string | undefined {
  const mark = literal[0]!;
  const inner = literal.slice(1, -1);
  if (mark === '`') return inner.replaceAll('\r', '');
  if (!inner.includes('\\')) return inner;
  const parts: Buffer[] = [];
  let rest = inner;
  while (rest !== '') {
    const found = unquoteCharacter(rest, mark);
    if (found === undefined) return undefined;
    parts.push(found.isByte ? Buffer.from([found.code]) : Buffer.from(String.fromCodePoint(found.code)));
    rest = found.rest;
  }
  return Buffer.concat(parts).toString();
}

/** The first character of a literal's inside, and what follows it; undefined where the syntax is invalid. */
export function unquoteCharacter(
  text: string,
  mark: string,
): { code: number; isByte: boolean; rest: string } | undefined {
  const code = text.codePointAt(0);
  if (code === undefined || text[0] === mark) return undefined;
  if (text[0] !== '\\') return { code, isByte: false, rest: text.slice(code > 0xffff ? 2 : 1) };
  const name = text[1] ?? '';
  if (Object.hasOwn(ESCAPES, name))
    return { code: ESCAPES[name]!.charCodeAt(0), isByte: false, rest: text.slice(2) };
  if ((name === '"' || name === "'") && name === mark)
    return { code: name.charCodeAt(0), isByte: false, rest: text.slice(2) };
  const numeric =
    /^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))/.exec(text) ?? undefined;
  if (numeric === undefined) return undefined;
  const [whole, byte, short, long, octal] = numeric;
  const value = octal === undefined ? parseInt((byte ?? short ?? long)!, 16) : parseInt(octal, 8);
  const isByte = byte !== undefined || octal !== undefined;
  const isValid = isByte ? value < 256 : value <= 0x10ffff && !(value >= 0xd800 && value < 0xe000);
  return isValid ? { code: value, isByte, rest: text.slice(whole.length) } : undefined;
}
