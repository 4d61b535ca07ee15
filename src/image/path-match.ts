/** Go's path.Match, by which docker matches references: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]`, a backslash before what stands for itself. */
import { LaminaError } from '../errors.js';

/** The whole name must match. Raises EUSAGE for a malformed pattern. */
export function pathMatcher(pattern: string): (name: string) => boolean {
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (char === '[') {
      const set = /^\[(\^?)((?:\\.|[^\\\]])+)\]/su.exec(pattern.slice(at));
      if (set === null) throw malformed(pattern);
      source += `[${set[1]}${set[2]!.replace(/\\.|[[\]^&|~]/gsu, (part) => `\\${part.at(-1)}`)}]`;
      at += set[0].length - 1;
    } else if (char === '\\') {
      if (++at === pattern.length) throw malformed(pattern);
      source += escaped(pattern[at]!);
    } else source += escaped(char);
  }
  try {
    const expression = new RegExp(`^${source}$`, 'su');
    return (name) => expression.test(name);
  } catch {
    throw malformed(pattern);
  }
}

function escaped(char: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char;
}

function malformed(pattern: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid pattern "${pattern}": syntax error in pattern`);
}
