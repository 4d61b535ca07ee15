/**
 * .dockerignore. Source: moby/patternmatcher (patternmatcher.go, ignorefile/ignorefile.go): Go's filepath.Match with `**`, the last
 * pattern that matches a path or one of its parents counts, `!` takes it back. (@balena/dockerignore does not know the rule of the
 * parents, and nobody has changed it since 2020.)
 */
import { posix } from 'node:path';
import { LaminaError } from '../errors.js';

/** Whether a path, relative to the context, is left out. */
export type IgnoreMatcher = (path: string) => boolean;

interface Pattern {
  expression: RegExp;
  isException: boolean;
  /** Parts of the pattern. */
  depth: number;
}

/** The lines of the file that say something, as the matcher wants them. */
export function parseIgnoreFile(text: string): string[] {
  return text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => {
      const isException = line.startsWith('!');
      const cleaned = posix.normalize(isException ? line.slice(1).trim() : line);
      const relative = cleaned.length > 1 ? cleaned.replace(/^\//, '') : cleaned;
      return `${isException ? '!' : ''}${relative.replace(/(?<=.)\/$/, '')}`;
    });
}

/** Raises EUSAGE for a malformed pattern. */
export function ignoreMatcher(lines: readonly string[]): IgnoreMatcher {
  const patterns = lines.flatMap((line): Pattern[] => {
    const isException = line.startsWith('!');
    const text = isException ? line.slice(1) : line;
    if (text === '') throw malformed(line);
    return [{ expression: patternExpression(text), isException, depth: text.split('/').length }];
  });
  if (patterns.length === 0) return () => false;
  return (path) => {
    const parts = path.split('/');
    let isIgnored = false;
    for (const { expression, isException } of patterns) {
      // Only what could change the answer is looked at.
      if (isException !== isIgnored) continue;
      if (parts.some((_, index) => expression.test(parts.slice(0, parts.length - index).join('/'))))
        isIgnored = !isException;
    }
    return isIgnored;
  };
}

/** As Go's filepath.Match, and `**` for any number of directories. Raises EUSAGE. */
export function patternExpression(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === '*' && pattern[at + 1] === '*') {
      at++;
      if (pattern[at + 1] === '/') at++;
      source += at + 1 >= pattern.length ? '.*' : '(.*/)?';
    } else if (char === '*') source += '[^/]*';
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
    return new RegExp(`^${source}$`, 's');
  } catch {
    throw malformed(pattern);
  }
}

function escaped(char: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char;
}

function malformed(pattern: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid pattern "${pattern}": syntax error in pattern`, {
    hint: 'Patterns are those of https://docs.docker.com/build/concepts/context/#dockerignore-files.',
  });
}
