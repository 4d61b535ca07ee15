/**
 * .dockerignore. Source: moby/patternmatcher (patternmatcher.go, ignorefile/ignorefile.go): Go's filepath.Match with `**`, the last
 * pattern that matches a path or one of its parents counts, `!` takes it back. (@balena/dockerignore does not know the rule of the
 * parents, and nobody has changed it since 2020.)
 */
import { posix } from 'node:path';
import { LaminaError } from '../errors.js';
import { pathExpression } from '../image/path-match.js';

const HINT = 'Patterns are those of https://docs.docker.com/build/concepts/context/#dockerignore-files.';

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
  return pathExpression(pattern, { anyDepth: true, hint: HINT });
}

function malformed(pattern: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid pattern "${pattern}": syntax error in pattern`, {
    hint: HINT,
  });
}
