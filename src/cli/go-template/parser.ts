/** Tokens -> tree, with the errors of Go's text/template/parse/parse.go (Go 1.24: `else with`, `break`, `continue`). */
import { describeToken, tokenize } from './lexer.js';
import type { Token, TokenType } from './lexer.js';
import { nodeText } from './nodes.js';
import type { Command, Node, Operand, Pipe } from './nodes.js';
import { parseCharacter, parseNumber } from './numbers.js';
import { quote, unquote } from './quote.js';

/** An error in a template's text or in its execution, worded as Go words it. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

export interface ParsedTemplate {
  text: string;
  /** The templates by name; the text itself is the one without a name. */
  trees: Map<string, Node[]>;
}

const OPERANDS: ReadonlySet<TokenType> = new Set([
  'bool',
  'charConstant',
  'complex',
  'field',
  'identifier',
  'number',
  'rawString',
  'string',
  'variable',
  'leftParen',
]);

export function parse(text: string, isFunction: (name: string) => boolean): ParsedTemplate {
  const parser = new Parser(text, isFunction);
  parser.parse();
  return { text, trees: parser.trees };
}

class Parser {
  readonly trees = new Map<string, Node[]>();
  readonly #tokens: Token[];
  readonly #isFunction: (name: string) => boolean;
  #next = 0;
  #variables = ['$'];
  #ranges = 0;
  /** Line of the action that is being read, 0 outside. */
  #actionLine = 0;

  constructor(text: string, isFunction: (name: string) => boolean) {
    this.#tokens = tokenize(text);
    this.#isFunction = isFunction;
  }

  parse(): void {
    const root: Node[] = [];
    while (this.#peek().type !== 'eof') {
      if (this.#peek().type === 'leftDelim' && this.#peekNonSpace(1).text === 'define') {
        this.#takeNonSpace();
        this.#takeNonSpace();
        this.#definition();
        continue;
      }
      const node = this.#textOrAction();
      if (node.type === 'end' || node.type === 'else') this.#fail(`unexpected ${nodeText(node)}`);
      root.push(node);
    }
    this.#add('', root);
  }

  // Tokens

  #peek(): Token {
    return this.#tokens[Math.min(this.#next, this.#tokens.length - 1)]!;
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }

  #peekNonSpace(skip = 0): Token {
    let at = this.#next + skip;
    while (this.#tokens[at]?.type === 'space') at++;
    return this.#tokens[Math.min(at, this.#tokens.length - 1)]!;
  }

  #takeNonSpace(): Token {
    while (this.#peek().type === 'space') this.#next++;
    return this.#take();
  }

  #is(token: Token, keyword: string): boolean {
    return token.type === 'keyword' && token.text === keyword;
  }

  #fail(message: string): never {
    const at = this.#tokens[Math.min(Math.max(this.#next - 1, 0), this.#tokens.length - 1)]!;
    throw new TemplateError(`template: :${at.line}: ${message}`);
  }

  #unexpected(token: Token, context: string): never {
    if (token.type !== 'error') this.#fail(`unexpected ${describeToken(token)} in ${context}`);
    let started = '';
    if (this.#actionLine !== 0 && this.#actionLine !== token.line) {
      started = ` in action started at :${this.#actionLine}`;
      if (token.text.endsWith(' action')) started = started.slice(' in action'.length);
    }
    this.#fail(`${token.text}${started}`);
  }

  #expect(type: TokenType, context: string): Token {
    const token = this.#takeNonSpace();
    return token.type === type ? token : this.#unexpected(token, context);
  }

  // Parts of a text

  #add(name: string, body: Node[]): void {
    const present = this.trees.get(name);
    if (present === undefined || present.every(isEmpty)) this.trees.set(name, body);
    else if (!body.every(isEmpty)) this.#fail(`template: multiple definition of template ${quote(name)}`);
  }

  #definition(): void {
    const context = 'define clause';
    const name = this.#templateName(this.#takeNonSpace(), context);
    this.#expect('rightDelim', context);
    this.#separate(name, context);
  }

  /** The body of a template of its own, which knows no variables of the one around it. */
  #separate(name: string, context: string): void {
    const variables = this.#variables;
    this.#variables = ['$'];
    const { body, last } = this.#list();
    if (last.type !== 'end') this.#fail(`unexpected ${nodeText(last)} in ${context}`);
    this.#add(name, body);
    this.#variables = variables;
  }

  #list(): { body: Node[]; last: Node } {
    const body: Node[] = [];
    while (this.#peekNonSpace().type !== 'eof') {
      const node = this.#textOrAction();
      if (node.type === 'end' || node.type === 'else') return { body, last: node };
      body.push(node);
    }
    this.#takeNonSpace();
    this.#fail('unexpected EOF');
  }

  #textOrAction(): Node {
    const token = this.#takeNonSpace();
    if (token.type === 'text') return { type: 'text', position: token.position, text: token.text };
    if (token.type !== 'leftDelim') this.#unexpected(token, 'input');
    this.#actionLine = token.line;
    const node = this.#action();
    this.#actionLine = 0;
    return node;
  }

  #action(): Node {
    const token = this.#peekNonSpace();
    const { position, text } = token;
    if (token.type === 'keyword' && text !== '.' && text !== 'nil') {
      this.#takeNonSpace();
      if (text === 'block') return this.#block();
      if (text === 'break' || text === 'continue') return this.#leaveRange(text, position);
      if (text === 'else') return this.#else();
      if (text === 'end') return { type: 'end', position: this.#expect('rightDelim', 'end').position };
      if (text === 'if' || text === 'range' || text === 'with') return this.#branch(text);
      if (text === 'template') return this.#template();
      this.#unexpected(token, 'command');
    }
    return { type: 'action', position, pipe: this.#pipeline('command', 'rightDelim') };
  }

  #leaveRange(type: 'break' | 'continue', position: number): Node {
    this.#expect('rightDelim', `{{${type}}}`);
    if (this.#ranges === 0) this.#fail(`{{${type}}} outside {{range}}`);
    return { type, position };
  }

  /** Before `if` and `with` the delimiter is not there: the branch follows in the same action. */
  #else(): Node {
    const next = this.#peekNonSpace();
    if (this.#is(next, 'if') || this.#is(next, 'with')) return { type: 'else', position: next.position };
    return { type: 'else', position: this.#expect('rightDelim', 'else').position };
  }

  #branch(type: 'if' | 'range' | 'with'): Node {
    const declared = this.#variables.length;
    const pipe = this.#pipeline(type, 'rightDelim');
    if (type === 'range') this.#ranges++;
    const { body, last } = this.#list();
    if (type === 'range') this.#ranges--;
    let otherwise: Node[] | undefined;
    if (last.type === 'else') {
      const next = this.#peekNonSpace();
      if (type !== 'range' && this.#is(next, type)) {
        this.#takeNonSpace();
        otherwise = [this.#branch(type)];
      } else {
        const rest = this.#list();
        if (rest.last.type !== 'end') this.#fail(`expected end; found ${nodeText(rest.last)}`);
        otherwise = rest.body;
      }
    }
    this.#variables.length = declared;
    return { type, position: pipe.position, pipe, body, otherwise };
  }

  #block(): Node {
    const context = 'block clause';
    const token = this.#takeNonSpace();
    const name = this.#templateName(token, context);
    const pipe = this.#pipeline(context, 'rightDelim');
    this.#separate(name, context);
    return { type: 'template', position: token.position, name, pipe };
  }

  #template(): Node {
    const context = 'template clause';
    const token = this.#takeNonSpace();
    const name = this.#templateName(token, context);
    const hasPipe = this.#peekNonSpace().type !== 'rightDelim';
    const pipe = hasPipe ? this.#pipeline(context, 'rightDelim') : undefined;
    if (!hasPipe) this.#takeNonSpace();
    return { type: 'template', position: token.position, name, pipe };
  }

  #templateName(token: Token, context: string): string {
    if (token.type !== 'string' && token.type !== 'rawString') this.#unexpected(token, context);
    return unquote(token.text) ?? this.#fail('invalid syntax');
  }

  // Pipelines

  #pipeline(context: string, end: 'rightDelim' | 'rightParen'): Pipe {
    const { position } = this.#peekNonSpace();
    const pipe: Pipe = { type: 'pipe', position, isAssign: false, variables: [], commands: [] };
    this.#declarations(pipe, context);
    for (;;) {
      const token = this.#takeNonSpace();
      if (token.type === end) break;
      if (!OPERANDS.has(token.type) && !this.#is(token, '.') && !this.#is(token, 'nil'))
        this.#unexpected(token, context);
      this.#next--;
      pipe.commands.push(this.#command());
    }
    if (pipe.commands.length === 0) this.#fail(`missing value for ${context}`);
    for (const [index, { args }] of pipe.commands.entries()) {
      const isConstant = ['bool', 'dot', 'nil', 'number', 'string'].includes(args[0]!.type);
      if (index > 0 && isConstant) this.#fail(`non executable command in pipeline stage ${index + 1}`);
    }
    return pipe;
  }

  /** `$x :=`, `$x =`, and in a range `$i, $x :=`. */
  #declarations(pipe: Pipe, context: string): void {
    while (this.#peekNonSpace().type === 'variable') {
      const before = this.#next;
      const variable = this.#takeNonSpace();
      const next = this.#takeNonSpace();
      const isComma = next.type === 'char' && next.text === ',';
      if (next.type !== 'assign' && next.type !== 'declare' && !isComma) {
        this.#next = before;
        return;
      }
      pipe.isAssign = next.type === 'assign';
      pipe.variables.push(variable.text);
      this.#variables.push(variable.text);
      if (!isComma) return;
      if (context !== 'range' || pipe.variables.length >= 2)
        this.#fail(`too many declarations in ${context}`);
      if (!['variable', 'rightDelim', 'rightParen'].includes(this.#peekNonSpace().type))
        this.#fail('range can only initialize variables');
    }
  }

  #command(): Command {
    const { position } = this.#peekNonSpace();
    const args: Operand[] = [];
    for (;;) {
      this.#skipSpaces();
      const operand = this.#operand();
      if (operand !== undefined) args.push(operand);
      const token = this.#take();
      if (token.type === 'space') continue;
      if (token.type === 'rightDelim' || token.type === 'rightParen') this.#next--;
      else if (token.type !== 'pipe') this.#unexpected(token, 'operand');
      break;
    }
    if (args.length === 0) this.#fail('empty command');
    return { type: 'command', position, args };
  }

  #skipSpaces(): void {
    while (this.#peek().type === 'space') this.#next++;
  }

  /** A term, and the fields that follow it; undefined where the next token is none. */
  #operand(): Operand | undefined {
    const term = this.#term();
    if (term === undefined || this.#peek().type !== 'field') return term;
    const { position } = this.#peek();
    const names: string[] = [];
    while (this.#peek().type === 'field') names.push(this.#take().text.slice(1));
    if (term.type === 'field' || term.type === 'variable')
      return { type: term.type, position, names: [...term.names, ...names] };
    if (['bool', 'string', 'number', 'nil', 'dot'].includes(term.type))
      this.#fail(`unexpected . after term ${quote(nodeText(term))}`);
    return { type: 'chain', position, of: term, names };
  }

  #term(): Operand | undefined {
    const token = this.#takeNonSpace();
    const { type, text, position } = token;
    if (type === 'identifier') {
      if (!this.#isFunction(text)) this.#fail(`function ${quote(text)} not defined`);
      return { type, position, name: text };
    }
    if (this.#is(token, '.')) return { type: 'dot', position };
    if (this.#is(token, 'nil')) return { type: 'nil', position };
    if (type === 'variable') {
      if (!this.#variables.includes(text)) this.#fail(`undefined variable ${quote(text)}`);
      return { type, position, names: [text] };
    }
    if (type === 'field') return { type, position, names: [text.slice(1)] };
    if (type === 'bool') return { type, position, value: text === 'true' };
    if (type === 'charConstant' || type === 'number') {
      const literal = type === 'number' ? parseNumber(text) : parseCharacter(text);
      return typeof literal === 'string' ? this.#fail(literal) : { type: 'number', position, literal };
    }
    if (type === 'complex') this.#fail(`complex numbers are not supported: ${quote(text)}`);
    if (type === 'leftParen') return this.#pipeline('parenthesized pipeline', 'rightParen');
    if (type === 'string' || type === 'rawString') {
      const value = unquote(text) ?? this.#fail('invalid syntax');
      return { type: 'string', position, quoted: text, text: value };
    }
    this.#next--;
    return undefined;
  }
}

function isEmpty(node: Node): boolean {
  return node.type === 'text' && node.text.trim() === '';
}
