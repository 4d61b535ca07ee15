/**
 * A template's text as tokens, the first step of Go's text/template (https://pkg.go.dev/text/template; the words of the errors are those of
 * text/template/parse/lex.go). Positions are indexes into the string; bytes are counted when an error is worded.
 */
import { isPrintable, quote } from './quote.js';

export type TokenType =
  | 'error'
  | 'bool'
  | 'char'
  | 'charConstant'
  | 'complex'
  | 'assign'
  | 'declare'
  | 'eof'
  | 'field'
  | 'identifier'
  | 'leftDelim'
  | 'leftParen'
  | 'number'
  | 'pipe'
  | 'rawString'
  | 'rightDelim'
  | 'rightParen'
  | 'space'
  | 'string'
  | 'text'
  | 'variable'
  | 'keyword';

export interface Token {
  type: TokenType;
  /** The text; of an error its message. */
  text: string;
  position: number;
  line: number;
}

const KEYWORDS = new Set([
  '.',
  'block',
  'break',
  'continue',
  'define',
  'else',
  'end',
  'if',
  'range',
  'nil',
  'template',
  'with',
]);
const SPACES = ' \t\r\n';
const LETTER_OR_DIGIT = /[\p{L}\p{Nd}_]/u;

/** As a parse error names it. */
export function describeToken({ type, text }: Token): string {
  if (type === 'eof') return 'EOF';
  if (type === 'error') return text;
  if (type === 'keyword') return `<${text}>`;
  const runes = [...text];
  return Buffer.byteLength(text) > 10 ? `${quote(runes.slice(0, 10).join(''))}...` : quote(text);
}

/** All tokens of `text`; the last is `eof` or `error`. */
export function tokenize(text: string): Token[] {
  const lexer = new Lexer(text);
  lexer.run();
  return lexer.tokens;
}

/** Ends the run; its message becomes the error token. */
class LexicalError extends Error {}

class Lexer {
  readonly tokens: Token[] = [];
  readonly #text: string;
  #start = 0;
  #at = 0;
  #startLine = 1;
  #parens = 0;

  constructor(text: string) {
    this.#text = text;
  }

  run(): void {
    try {
      while (this.#lexText()) while (this.#lexInsideAction());
      this.#emit('eof');
    } catch (error) {
      if (!(error instanceof LexicalError)) throw error;
      this.tokens.push({
        type: 'error',
        text: error.message,
        position: this.#start,
        line: this.#startLine,
      });
    }
  }

  #fail(message: string): never {
    throw new LexicalError(message);
  }

  #emit(type: TokenType): void {
    const text = this.#text.slice(this.#start, this.#at);
    this.tokens.push({ type, text, position: this.#start, line: this.#startLine });
    this.#ignore();
  }

  #ignore(): void {
    for (let index = this.#start; index < this.#at; index++) {
      if (this.#text[index] === '\n') this.#startLine++;
    }
    this.#start = this.#at;
  }

  #peek(): string {
    return String.fromCodePoint(...[this.#text.codePointAt(this.#at)].filter((code) => code !== undefined));
  }

  #accept(valid: string): boolean {
    const next = this.#text[this.#at];
    if (next === undefined || !valid.includes(next)) return false;
    this.#at++;
    return true;
  }

  #acceptRun(valid: string): void {
    while (this.#accept(valid));
  }

  /** Text up to the next action and its left delimiter; false at the end of the text. */
  #lexText(): boolean {
    const found = this.#text.indexOf('{{', this.#at);
    const end = found < 0 ? this.#text.length : found;
    const isTrimmed = found >= 0 && this.#isTrimMarker(end + 2, 'left');
    this.#at = end;
    if (isTrimmed) while (this.#at > this.#start && SPACES.includes(this.#text[this.#at - 1]!)) this.#at--;
    if (this.#at > this.#start) this.#emit('text');
    this.#at = end;
    this.#ignore();
    if (found < 0) return false;
    const afterMarker = end + 2 + (isTrimmed ? 2 : 0);
    if (this.#text.startsWith('/*', afterMarker)) {
      this.#at = afterMarker;
      this.#ignore();
      this.#skipComment();
      return this.#lexText();
    }
    this.#at = end + 2;
    this.#emit('leftDelim');
    this.#at = afterMarker;
    this.#ignore();
    this.#parens = 0;
    return true;
  }

  #skipComment(): void {
    const end = this.#text.indexOf('*/', this.#at + 2);
    if (end < 0) this.#fail('unclosed comment');
    this.#at = end + 2;
    const delimiter = this.#rightDelim();
    if (delimiter === undefined) this.#fail('comment ends before closing delimiter');
    this.#leave(delimiter);
    this.#ignore();
  }

  /** `{{- ` and ` -}}` need their space, so that `{{-3}}` is a number. */
  #isTrimMarker(at: number, side: 'left' | 'right'): boolean {
    const [marker, space] = side === 'left' ? [at, at + 1] : [at + 1, at];
    return this.#text[marker] === '-' && SPACES.includes(this.#text[space] ?? 'x');
  }

  #rightDelim(): { trims: boolean } | undefined {
    if (this.#isTrimMarker(this.#at, 'right') && this.#text.startsWith('}}', this.#at + 2))
      return { trims: true };
    return this.#text.startsWith('}}', this.#at) ? { trims: false } : undefined;
  }

  /** Passes a right delimiter, and the space that it trims. */
  #leave({ trims }: { trims: boolean }, emit = false): void {
    if (trims) this.#at += 2;
    if (emit) this.#ignore();
    this.#at += 2;
    if (emit) this.#emit('rightDelim');
    if (trims) this.#acceptRun(SPACES);
    if (emit) this.#ignore();
  }

  /** One token of an action; false after its right delimiter. */
  #lexInsideAction(): boolean {
    const delimiter = this.#rightDelim();
    if (delimiter !== undefined) {
      if (this.#parens > 0) this.#fail('unclosed left paren');
      this.#leave(delimiter, true);
      return false;
    }
    const next = this.#peek();
    if (next === '') this.#fail('unclosed action');
    if (SPACES.includes(next)) {
      this.#lexSpace();
      return true;
    }
    const following = this.#text[this.#at + 1];
    this.#at += next.length;
    if (next === '=') this.#emit('assign');
    else if (next === ':') {
      if (!this.#accept('=')) this.#fail('expected :=');
      this.#emit('declare');
    } else if (next === '|') this.#emit('pipe');
    else if (next === '"') this.#lexQuoted('"', 'string', 'unterminated quoted string');
    else if (next === "'") this.#lexQuoted("'", 'charConstant', 'unterminated character constant');
    else if (next === '`') this.#lexRawString();
    else if (next === '$') this.#lexName('variable');
    else if (next === '.' && following !== undefined && !/[0-9]/.test(following)) this.#lexName('field');
    else if (/[.+\-0-9]/.test(next)) this.#lexNumber();
    else if (LETTER_OR_DIGIT.test(next)) this.#lexIdentifier();
    else if (next === '(') {
      this.#emit('leftParen');
      this.#parens++;
    } else if (next === ')') {
      this.#emit('rightParen');
      if (--this.#parens < 0) this.#fail(`unexpected right paren ${unicodeName(next)}`);
    } else if (/[ -~]/.test(next)) this.#emit('char');
    else this.#fail(`unrecognized character in action: ${unicodeName(next)}`);
    return true;
  }

  /** A run of spaces, without the one that belongs to a trim marker. */
  #lexSpace(): void {
    this.#acceptRun(SPACES);
    if (this.#isTrimMarker(this.#at - 1, 'right') && this.#text.startsWith('}}', this.#at + 1)) this.#at--;
    if (this.#at > this.#start) this.#emit('space');
  }

  #lexQuoted(end: string, type: TokenType, unterminated: string): void {
    for (;;) {
      let next = this.#text[this.#at++];
      if (next === end) break;
      if (next === '\\') next = this.#text[this.#at++];
      if (next === undefined || next === '\n') this.#fail(unterminated);
    }
    this.#emit(type);
  }

  #lexRawString(): void {
    const end = this.#text.indexOf('`', this.#at);
    if (end < 0) this.#fail('unterminated raw quoted string');
    this.#at = end + 1;
    this.#emit('rawString');
  }

  /** `.Name` or `$name`; alone they are the cursor and the data. */
  #lexName(type: 'field' | 'variable'): void {
    if (this.#isAtTerminator()) {
      this.#emit(type === 'field' ? 'keyword' : type);
      return;
    }
    this.#acceptWord();
    this.#emit(type);
  }

  #lexIdentifier(): void {
    this.#acceptWord();
    const word = this.#text.slice(this.#start, this.#at);
    if (KEYWORDS.has(word)) this.#emit('keyword');
    else this.#emit(word === 'true' || word === 'false' ? 'bool' : 'identifier');
  }

  #acceptWord(): void {
    let next = this.#peek();
    while (next !== '' && LETTER_OR_DIGIT.test(next)) {
      this.#at += next.length;
      next = this.#peek();
    }
    if (!this.#isAtTerminator()) this.#fail(`bad character ${unicodeName(next)}`);
  }

  #isAtTerminator(): boolean {
    const next = this.#peek();
    return next === '' || `${SPACES}.,|:)(`.includes(next) || this.#text.startsWith('}}', this.#at);
  }

  #lexNumber(): void {
    this.#at = this.#start;
    if (!this.#scanNumber()) this.#failNumber();
    if ('+-'.includes(this.#text[this.#at] ?? 'x')) {
      if (!this.#scanNumber() || this.#text[this.#at - 1] !== 'i') this.#failNumber();
      this.#emit('complex');
    } else this.#emit('number');
  }

  #failNumber(): never {
    this.#fail(`bad number syntax: ${quote(this.#text.slice(this.#start, this.#at))}`);
  }

  #scanNumber(): boolean {
    this.#accept('+-');
    let digits = '0123456789_';
    if (this.#accept('0')) {
      if (this.#accept('xX')) digits = '0123456789abcdefABCDEF_';
      else if (this.#accept('oO')) digits = '01234567_';
      else if (this.#accept('bB')) digits = '01_';
    }
    this.#acceptRun(digits);
    if (this.#accept('.')) this.#acceptRun(digits);
    const exponent = digits.length === 11 ? 'eE' : digits.length === 23 ? 'pP' : '';
    if (this.#accept(exponent)) {
      this.#accept('+-');
      this.#acceptRun('0123456789_');
    }
    this.#accept('i');
    const next = this.#peek();
    if (next === '' || !LETTER_OR_DIGIT.test(next)) return true;
    this.#at += next.length;
    return false;
  }
}

/** `U+0029 ')'` */
function unicodeName(character: string): string {
  const code = character.codePointAt(0);
  if (code === undefined) return 'U+FFFFFFFFFFFFFFFF';
  const shown = isPrintable(character) ? ` '${character}'` : '';
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}${shown}`;
}
