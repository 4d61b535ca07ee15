/** `--chmod`: an octal mode, or a symbolic one as chmod(1) takes it (BuildKit: Dockerfile reference, COPY --chmod). */
import { LaminaError } from '../errors.js';

export type ModeChange = (mode: number, isDir: boolean) => number;

const WHO: Record<string, number> = { u: 0o700, g: 0o070, o: 0o007, a: 0o777 };
const BITS: Record<string, number> = { r: 0o444, w: 0o222, x: 0o111 };

/** Raises EBUILD. */
export function parseChmod(text: string): ModeChange {
  if (/^[0-7]{1,5}$/.test(text)) {
    const mode = parseInt(text, 8);
    if (mode <= 0o7777) return () => mode;
  }
  const clauses = text.split(',').map((clause) => /^([ugoa]*)([-+=])([rwxXst]*|[ugo])$/.exec(clause));
  if (clauses.some((clause) => clause === null))
    throw new LaminaError('EBUILD', `invalid chmod parameter: '${text}' is neither octal nor symbolic`, {
      hint: 'Give it as --chmod=755 or --chmod=u=rwX,go=rX.',
    });
  return (mode, isDir) => clauses.reduce((result, clause) => change(result, clause!, isDir), mode);
}

function change(mode: number, [, who = '', operator, what = '']: RegExpExecArray, isDir: boolean): number {
  const mask = who === '' ? 0o777 : [...who].reduce((all, letter) => all | WHO[letter]!, 0);
  let bits = 0;
  let special = 0;
  if (/^[ugo]$/.test(what)) {
    const copied = (mode >> { u: 6, g: 3, o: 0 }[what as 'u' | 'g' | 'o']) & 7;
    bits = copied | (copied << 3) | (copied << 6);
  } else
    for (const letter of what) {
      if (letter === 'X') bits |= isDir || (mode & 0o111) !== 0 ? 0o111 : 0;
      else if (letter === 't') special |= 0o1000;
      else if (letter === 's') special |= (mask & 0o700 ? 0o4000 : 0) | (mask & 0o070 ? 0o2000 : 0);
      else bits |= BITS[letter]!;
    }
  bits &= mask;
  if (operator === '+') return mode | bits | special;
  if (operator === '-') return mode & ~(bits | special);
  // Of a directory the setuid and setgid bits stay, unless they are named.
  const cleared = mask | (isDir ? 0 : ((mask & 0o400) << 3) | ((mask & 0o040) << 5)) | ((mask & 0o004) << 7);
  return (mode & ~cleared) | bits | special;
}
