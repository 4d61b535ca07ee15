/** The modes that find's -perm takes: octal, or symbolic as chmod(1) (POSIX chmod, extended description), applied to 0. */
import { LaminaError } from '../../errors.js';

const WHO: Record<string, number> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };
const BITS: Record<string, number> = { r: 0o444, w: 0o222, x: 0o111, s: 0o6000, t: 0o1000 };

/** Raises EUSAGE for what is no mode. */
export function parsePermissions(text: string): number {
  if (/^[0-7]{1,5}$/.test(text)) return parseInt(text, 8) & 0o7777;
  let mode = 0;
  for (const clause of text.split(',')) {
    const match = /^([ugoa]*)([-+=][rwxst]*)+$/.exec(clause);
    if (match === null) throw new LaminaError('EUSAGE', `invalid mode "${text}"`);
    const who = [...match[1]!].reduce((mask, letter) => mask | WHO[letter]!, 0) || WHO['a']!;
    for (const [, operator, letters] of clause.matchAll(/([-+=])([rwxst]*)/g)) {
      const bits = [...letters!].reduce((mask, letter) => mask | BITS[letter]!, 0) & (who | 0o1000);
      if (operator === '-') mode &= ~bits;
      else mode = (operator === '=' ? mode & ~who : mode) | bits;
    }
  }
  return mode;
}
