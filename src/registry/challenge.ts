/** WWW-Authenticate (RFC 9110, 11.6.1): which proofs a server takes. */

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  scheme: string;
  /** Names in lower case. */
  parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const PARAMETER = /\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))/y;

/** Those that can be read, in order; a header that goes wrong half-way gives what came before. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let position = 0;
  const skip = (pattern: RegExp): void => {
    pattern.lastIndex = position;
    if (pattern.test(header)) position = pattern.lastIndex;
  };
  while (position < header.length) {
    skip(/[\s,]+/y);
    TOKEN.lastIndex = position;
    const scheme = TOKEN.exec(header)?.[0];
    if (scheme === undefined) break;
    position = TOKEN.lastIndex;
    const parameters = new Map<string, string>();
    for (;;) {
      PARAMETER.lastIndex = position;
      const match = PARAMETER.exec(header);
      if (match === null) break;
      position = PARAMETER.lastIndex;
      parameters.set(match[1]!.toLowerCase(), match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '');
      const before = position;
      skip(/[\s,]+/y);
      // After a comma comes another parameter, or another scheme: only a parameter has `=` right behind it.
      PARAMETER.lastIndex = position;
      if (!PARAMETER.test(header)) {
        position = before;
        break;
      }
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
}
