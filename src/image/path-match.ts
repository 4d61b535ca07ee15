/** Go's path.Match, by which docker matches references: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]`, a backslash before what stands for itself. */
import { LaminaError } from '../errors.js';

/** The whole name must match. Raises EUSAGE for a malformed pattern. */
export function pathMatcher(pattern: string): (name: string) => boolean {
  const expression = pathExpression(pattern);
  return (name) => expression.test(name);
}

/**
 * @param options.anyDepth `**` stands for any number of directories, as in .dockerignore
 * Raises EUSAGE for a malformed pattern, with `options.hint`.
 */
export function pathExpression(pattern: string, options: { anyDepth?: boolean; hint?: string } = {}): RegExp {
  const malformed = (): LaminaError =>
    new LaminaError('EUSAGE', `invalid pattern "${pattern}": syntax error in pattern`, {
      ...(options.hint === undefined ? {} : { hint: options.hint }),
    });
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const char = String.fromCodePoint(pattern.codePointAt(at)!);
    if (char === '*' && pattern[at + 1] === '*' && options.anyDepth === true) {
      at++;
      if (pattern[at + 1] === '/') at++;
      source += at + 1 >= pattern.length ? '.*' : '(.*/)?';
    } else if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (char === '[') {
      const set = /^\[(\^?)((?:\\.|[^\\\]])+)\]/su.exec(pattern.slice(at));
      if (set === null) throw malformed();
      source += `[${set[1]}${set[2]!.replace(/\\.|[[\]^]/gsu, escapedInSet)}]`;
      at += set[0].length - 1;
    } else if (char === '\\') {
      if (++at === pattern.length) throw malformed();
      const next = String.fromCodePoint(pattern.codePointAt(at)!);
      source += escaped(next);
      at += next.length - 1;
    } else {
      source += escaped(char);
      at += char.length - 1;
    }
  }
  try {
    return new RegExp(`^${source}$`, 'su');
  } catch {
    throw malformed();
  }
}

function escaped(char: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char;
}

/** A character of a set that stands for itself, with or without a backslash before it. */
function escapedInSet(part: string): string {
  const char = part.replace(/^\\/, '');
  return /^[\\[\]^-]$/.test(char) ? `\\${char}` : char;
}
