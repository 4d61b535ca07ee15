/** Shell patterns, fnmatch(3), on names that are bytes: `*`, `?`, `[...]`, and a backslash before what stands for itself. `*` matches slashes too. */
import type { ByteString } from '../../bytes.js';
import { bytesToBuffer } from '../../bytes.js';

/** POSIX 9.3.5, bracket expressions, in the C locale. */
const CLASSES: Record<string, string> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: 'A-Za-z0-9',
  upper: 'A-Z',
  lower: 'a-z',
  space: '\\s',
  blank: ' \\t',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: 'A-Fa-f0-9',
  cntrl: '\\x00-\\x1f\\x7f',
  print: '\\x20-\\x7e',
  graph: '\\x21-\\x7e',
};

/**
 * Whether a name matches. `?` and `[...]` stand for a character where pattern and name are both UTF-8, and for a byte
 * otherwise.
 */
export function globMatcher(pattern: ByteString, ignoreCase = false): (name: ByteString) => boolean {
  const flags = ignoreCase ? 'si' : 's';
  const byBytes = new RegExp(`^${source(pattern)}$`, flags);
  const text = utf8Text(pattern);
  const byText = text === undefined ? undefined : new RegExp(`^${source(text)}$`, `${flags}u`);
  return (name) => {
    const nameText = byText === undefined ? undefined : utf8Text(name);
    return nameText === undefined ? byBytes.test(name) : byText!.test(nameText);
  };
}

/** undefined when the bytes are not UTF-8. */
function utf8Text(bytes: ByteString): string | undefined {
  const buffer = bytesToBuffer(bytes);
  const text = buffer.toString('utf8');
  return buffer.equals(Buffer.from(text)) ? text : undefined;
}

function source(pattern: string): string {
  let result = '';
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === '*') result += '.*';
    else if (char === '?') result += '.';
    else if (char === '[') {
      const bracket = bracketSource(pattern, at);
      result += bracket?.source ?? '\\[';
      at = bracket?.end ?? at;
    } else if (char === '\\' && at + 1 < pattern.length) result += literal(pattern[++at]!);
    else result += literal(char);
  }
  return result;
}

/** The bracket expression that begins at `start`; undefined when none ends: the bracket then stands for itself. */
function bracketSource(pattern: string, start: number): { source: string; end: number } | undefined {
  let at = start + 1;
  const isNegated = pattern[at] === '!' || pattern[at] === '^';
  if (isNegated) at++;
  let members = '';
  for (let isFirst = true; at < pattern.length; at++, isFirst = false) {
    const char = pattern[at]!;
    if (char === ']' && !isFirst) {
      return { source: `[${isNegated ? '^' : ''}${members}]`, end: at };
    }
    const name = /^\[:(\w+):\]/.exec(pattern.slice(at))?.[1];
    if (name !== undefined && name in CLASSES) {
      members += CLASSES[name];
      at += name.length + 3;
    } else if (char === '-' && !isFirst && pattern[at + 1] !== ']') members += '-';
    else if (char === '\\' && at + 1 < pattern.length) members += literal(pattern[++at]!);
    else members += literal(char);
  }
  return undefined;
}

/** Escaped so that it is right in a regular expression and in its brackets, with the `u` flag and without. */
function literal(char: string): string {
  return /[\\^$.*+?()[\]{}|/-]/.test(char) ? `\\x${char.charCodeAt(0).toString(16)}` : char;
}
