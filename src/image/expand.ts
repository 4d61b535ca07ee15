/**
 * Variables in Dockerfile words. Source: moby/buildkit frontend/dockerfile/shell/lex.go and the Dockerfile reference, "Environment replacement":
 * quotes go away, `$NAME`, `${NAME}` and the modifiers of ${NAME}: `-` `+` `?`, the same after a colon (empty counts as unset), `#` `##`
 * `%` `%%` (take a pattern away from the front or the end) and `/` `//` (replace one match or all).
 */

/** What a name stands for; undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

export interface ExpandOptions {
  /** What takes the next character as it is: a backslash, or what the parser directive `escape` says. */
  escape?: string;
}

/** A word that cannot be expanded; the message says why. */
export class ExpansionError extends Error {}

/** From `NAME=value` pairs; the first of a name counts. */
export function environment(pairs: readonly string[]): Lookup {
  return (name) => pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The word with its quotes gone and its variables replaced. Raises ExpansionError. */
export function expand(word: string, lookup: Lookup, options: ExpandOptions = {}): string {
  return new Expander(word, lookup, options.escape ?? '\\').all().join(' ');
}

/** As `expand`, where blanks outside of quotes end a word, those that variables bring in as well. Raises ExpansionError. */
export function expandWords(text: string, lookup: Lookup, options: ExpandOptions = {}): string[] {
  return new Expander(text, lookup, options.escape ?? '\\').words();
}

/** Words as they are written, with their quotes: blanks in quotes, and behind the escape, do not end one. */
export function splitWords(text: string, escape = '\\'): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === escape && quote !== "'" && at + 1 < text.length) word += char + text[++at]!;
    else if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word);
      word = '';
    } else {
      if (char === quote) quote = '';
      else if (quote === '' && (char === '"' || char === "'")) quote = char;
      word += char;
    }
  }
  if (word !== '') words.push(word);
  return words;
}

/** A piece of the result; blanks split words only where nothing quotes them. */
interface Piece {
  text: string;
  isQuoted: boolean;
}

class Expander {
  #at = 0;
  readonly #pieces: Piece[] = [];

  constructor(
    private readonly text: string,
    private readonly lookup: Lookup,
    private readonly escape: string,
  ) {}

  /** One word: everything together. */
  all(): string[] {
    this.#run('');
    return [this.#pieces.map(({ text }) => text).join('')];
  }

  words(): string[] {
    this.#run('');
    const words: string[] = [];
    let word: string | undefined;
    for (const { text, isQuoted } of this.#pieces) {
      if (isQuoted) {
        word = (word ?? '') + text;
        continue;
      }
      const [first = '', ...rest] = text.split(/\s+/);
      if (first !== '') word = (word ?? '') + first;
      for (const next of rest) {
        if (word !== undefined) words.push(word);
        word = next === '' ? undefined : next;
      }
    }
    if (word !== undefined) words.push(word);
    return words;
  }

  /** Up to an unquoted `stop`, which is taken; to the end where there is none. */
  #run(stop: string): void {
    while (this.#at < this.text.length) {
      const char = this.text[this.#at]!;
      if (char === stop) {
        this.#at++;
        return;
      }
      if (char === "'") this.#single();
      else if (char === '"') this.#double();
      else if (char === '$') this.#add(this.#dollar(), false);
      else if (char === this.escape) {
        this.#at++;
        // At the very end there is nothing left for it to protect.
        if (this.#at < this.text.length) this.#add(this.text[this.#at++]!, true);
      } else {
        this.#at++;
        this.#add(char, false);
      }
    }
    if (stop !== '') throw new ExpansionError(`syntax error: missing '${stop}' in "${this.text}"`);
  }

  #add(text: string, isQuoted: boolean): void {
    const last = this.#pieces.at(-1);
    if (last?.isQuoted === isQuoted) last.text += text;
    else this.#pieces.push({ text, isQuoted });
  }

  #single(): void {
    const end = this.text.indexOf("'", this.#at + 1);
    if (end < 0)
      throw new ExpansionError('unexpected end of statement while looking for matching single-quote');
    this.#add(this.text.slice(this.#at + 1, end), true);
    this.#at = end + 1;
  }

  #double(): void {
    this.#add('', true);
    for (this.#at++; this.#at < this.text.length;) {
      const char = this.text[this.#at]!;
      if (char === '"') {
        this.#at++;
        return;
      }
      if (char === '$') this.#add(this.#dollar(), true);
      else if (char === this.escape) {
        const next = this.text[this.#at + 1];
        if (next === undefined) break;
        this.#add(next === '"' || next === '$' || next === this.escape ? next : char + next, true);
        this.#at += 2;
      } else {
        this.#at++;
        this.#add(char, true);
      }
    }
    throw new ExpansionError('unexpected end of statement while looking for matching double-quote');
  }

  /** At a dollar sign; a lone one is itself. */
  #dollar(): string {
    const braced = /^\$\{/.test(this.text.slice(this.#at, this.#at + 2));
    this.#at += braced ? 2 : 1;
    const name = this.#name();
    if (!braced) return name === '' ? '$' : (this.lookup(name) ?? '');
    if (name === '') throw new ExpansionError(`unsupported modifier or bad substitution in "${this.text}"`);
    const value = this.lookup(name);
    if (this.text[this.#at] === '}') {
      this.#at++;
      return value ?? '';
    }
    const operator = /^(:[-+?]|[-+?]|##?|%%?|\/\/?)/.exec(this.text.slice(this.#at))?.[0];
    if (operator === undefined) {
      if (this.#at >= this.text.length) throw new ExpansionError("syntax error: missing '}'");
      throw new ExpansionError(`unsupported modifier (${this.text[this.#at]!}) in substitution`);
    }
    this.#at += operator.length;
    if (operator.startsWith('/')) {
      const pattern = this.#until('/');
      const replacement = this.#until('}');
      const matcher = new RegExp(shellPattern(pattern, true), operator === '//' ? 'gsu' : 'su');
      return (value ?? '').replace(matcher, () => replacement);
    }
    const word = this.#until('}');
    return modified(operator, name, value, word);
  }

  /** A name, a number, or one of the shell's special parameters. */
  #name(): string {
    const name = /^(?:[A-Za-z_]\w*|\d+|[@*#?$!-])/.exec(this.text.slice(this.#at))?.[0] ?? '';
    this.#at += name.length;
    return name;
  }

  /** What stands before `stop`, expanded. */
  #until(stop: string): string {
    const inner = new Expander(this.text, this.lookup, this.escape);
    inner.#at = this.#at;
    inner.#run(stop);
    this.#at = inner.#at;
    return inner.#pieces.map(({ text }) => text).join('');
  }
}

function modified(operator: string, name: string, value: string | undefined, word: string): string {
  const isSet = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined;
  switch (operator.at(-1)) {
    case '-':
      return isSet ? value! : word;
    case '+':
      return isSet ? word : '';
    case '?':
      if (isSet) return value!;
      throw new ExpansionError(`${name}: ${word === '' ? 'is not allowed to be unset' : word}`);
    case '#':
      return (value ?? '').replace(new RegExp(`^${shellPattern(word, operator === '##')}`, 'su'), '');
    default: {
      const expression = new RegExp(`^${shellPattern(word, true)}$`, 'su');
      const text = value ?? '';
      // From the end the shortest match starts last, the longest first.
      const starts = Array.from({ length: text.length + 1 }, (_, index) => index);
      if (operator === '%') starts.reverse();
      const start = starts.find((index) => expression.test(text.slice(index)));
      return start === undefined ? text : text.slice(0, start);
    }
  }
}

/** A shell pattern of `*`, `?` and escapes as the source of a regular expression. */
function shellPattern(pattern: string, isGreedy: boolean): string {
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === '*') source += isGreedy ? '.*' : '.*?';
    else if (char === '?') source += '.';
    else {
      const literal = char === '\\' && at + 1 < pattern.length ? pattern[++at]! : char;
      source += /[\\^$.*+?()[\]{}|/]/.test(literal) ? `\\${literal}` : literal;
    }
  }
  return source;
}
