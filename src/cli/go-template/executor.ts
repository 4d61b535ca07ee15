/** Runs a parsed template over data (text/template/exec.go, with the errors of Go 1.24). */
import type { Functions, Parameter, TemplateFunction } from './functions.js';
import { nodeText } from './nodes.js';
import type { Branch, Command, Node, Operand, Pipe } from './nodes.js';
import { TemplateError } from './parser.js';
import type { ParsedTemplate } from './parser.js';
import { printed } from './print.js';
import { quote } from './quote.js';
import {
  concrete,
  element,
  entriesOf,
  Float,
  Interface,
  isExported,
  isTrue,
  kindOf,
  mapGet,
  mapHas,
  Nil,
  typeOf,
} from './values.js';

/** What a map's missing key is: nothing, or an error. */
export type MissingKey = 'default' | 'error';

/** "There is no such argument", which is not the same as nothing. */
const ABSENT = Symbol('absent');

/** A stack of JavaScript calls is not as deep as Go's (100000). */
const MAX_DEPTH = 1000;

type Method = (...args: never[]) => unknown;

interface Variable {
  name: string;
  value: unknown;
}

export function execute(
  template: ParsedTemplate,
  functions: Functions,
  data: unknown,
  { missingKey, isPartial }: { missingKey: MissingKey; isPartial: boolean },
): string {
  const run: Run = { template, functions, missingKey, out: [] };
  try {
    new Executor(run, '', data, 0).body(data);
  } catch (error) {
    if (!isPartial || !(error instanceof TemplateError)) throw error;
  }
  return run.out.join('');
}

interface Run {
  template: ParsedTemplate;
  functions: Functions;
  missingKey: MissingKey;
  out: string[];
}

/** One template's execution; `{{template}}` makes another that writes to the same output. */
class Executor {
  readonly #run: Run;
  readonly #name: string;
  readonly #depth: number;
  readonly #variables: Variable[];
  #at: Node | Operand | Command | undefined;

  constructor(run: Run, name: string, data: unknown, depth: number) {
    this.#run = run;
    this.#name = name;
    this.#depth = depth;
    this.#variables = [{ name: '$', value: data }];
  }

  body(dot: unknown): void {
    this.#list(dot, this.#run.template.trees.get(this.#name)!);
  }

  #fail(message: string): never {
    const at = this.#at!;
    const before = this.#run.template.text.slice(0, at.position);
    const line = before.lastIndexOf('\n') + 1;
    const place = `:${before.split('\n').length}:${Buffer.byteLength(before.slice(line))}`;
    throw new TemplateError(
      `template: ${place}: executing ${quote(this.#name)} at <${nodeText(at)}>: ${message}`,
    );
  }

  // Nodes

  /** Stops at a `break` or `continue` and returns which. */
  #list(dot: unknown, nodes: readonly Node[]): 'break' | 'continue' | undefined {
    for (const node of nodes) {
      const left = this.#node(dot, node);
      if (left !== undefined) return left;
    }
    return undefined;
  }

  #node(dot: unknown, node: Node): 'break' | 'continue' | undefined {
    this.#at = node;
    switch (node.type) {
      case 'text':
        this.#run.out.push(node.text);
        return undefined;
      case 'action': {
        const value = this.#pipe(dot, node.pipe);
        if (node.pipe.variables.length === 0) this.#print(node, value);
        return undefined;
      }
      case 'if':
      case 'with':
        return this.#branch(dot, node);
      case 'range':
        return this.#range(dot, node);
      case 'template':
        this.#template(dot, node.name, node.pipe);
        return undefined;
      case 'break':
      case 'continue':
        return node.type;
      default:
        return undefined;
    }
  }

  #print(node: Node, value: unknown): void {
    this.#at = node;
    if (kindOf(value) === 'invalid') this.#run.out.push('<no value>');
    else if (kindOf(value) === 'func') this.#fail(`can't print ${nodeText(node)} of type ${typeOf(value)}`);
    // A pointer is followed before it is printed, so that a struct has no `&`.
    else this.#run.out.push(printed(value).replace(/^&(?=\{)/, kindOf(value) === 'struct' ? '' : '&'));
  }

  #branch(dot: unknown, node: Branch): 'break' | 'continue' | undefined {
    const declared = this.#variables.length;
    const value = this.#pipe(dot, node.pipe);
    let left: 'break' | 'continue' | undefined;
    if (isTrue(value)) left = this.#list(node.type === 'with' ? value : dot, node.body);
    else if (node.otherwise !== undefined) left = this.#list(dot, node.otherwise);
    this.#variables.length = declared;
    return left;
  }

  #range(dot: unknown, node: Branch): 'break' | 'continue' | undefined {
    const outside = this.#variables.length;
    const value = concrete(this.#pipe(dot, node.pipe));
    const { variables, isAssign } = node.pipe;
    const inside = this.#variables.length;
    let isEmpty = true;
    for (const [key, item] of this.#items(node, value)) {
      isEmpty = false;
      for (const [index, given] of (variables.length > 1 ? [key, item] : [item]).entries()) {
        if (isAssign) this.#assign(variables[index]!, given);
        else if (variables.length > 0) this.#variables[inside - variables.length + index]!.value = given;
      }
      const left = this.#list(item, node.body);
      this.#variables.length = inside;
      if (left === 'break') break;
    }
    const left = isEmpty && node.otherwise !== undefined ? this.#list(dot, node.otherwise) : undefined;
    this.#variables.length = outside;
    return left;
  }

  /** Keys and elements, one after the other: a range over a large number may be left early. */
  *#items(node: Branch, value: unknown): Generator<readonly [unknown, unknown]> {
    switch (kindOf(value)) {
      case 'invalid':
      case 'pointer':
        return;
      case 'slice':
        if (value instanceof Nil) return;
        for (const [index, item] of (value as unknown[]).entries()) yield [index, element(value, item)];
        return;
      case 'map':
        for (const [key, item] of entriesOf(value)) yield [key, element(value, item)];
        return;
      case 'int':
        if (node.pipe.variables.length > 1)
          this.#fail(`can't use ${printed(value)} to iterate over more than one variable`);
        for (let index = 0; index < Number(value); index++) yield [undefined, index];
        return;
      default:
        this.#fail(`range can't iterate over ${printed(value).replace(/^&/, '')}`);
    }
  }

  #template(dot: unknown, name: string, pipe: Pipe | undefined): void {
    if (!this.#run.template.trees.has(name)) this.#fail(`template ${quote(name)} not defined`);
    if (this.#depth === MAX_DEPTH) this.#fail(`exceeded maximum template depth (${MAX_DEPTH})`);
    const data = pipe === undefined ? undefined : this.#pipe(dot, pipe);
    new Executor(this.#run, name, data, this.#depth + 1).body(data);
  }

  // Pipelines

  #pipe(dot: unknown, pipe: Pipe): unknown {
    this.#at = pipe;
    let value: unknown = ABSENT;
    for (const command of pipe.commands) value = concrete(this.#command(dot, command, value));
    for (const name of pipe.variables) {
      if (pipe.isAssign) this.#assign(name, value);
      else this.#variables.push({ name, value });
    }
    return value;
  }

  #variable(name: string): Variable {
    return (
      this.#variables.findLast((variable) => variable.name === name) ??
      this.#fail(`undefined variable: ${name}`)
    );
  }

  #assign(name: string, value: unknown): void {
    this.#variable(name).value = value;
  }

  #command(dot: unknown, command: Command, final: unknown): unknown {
    const [first, ...args] = command.args as [Operand, ...Operand[]];
    switch (first.type) {
      case 'field':
      case 'chain':
      case 'variable':
      case 'identifier':
        return this.#callable(dot, first, args, final, command);
    }
    if (first.type !== 'pipe') this.#at = first;
    if (args.length > 0 || final !== ABSENT)
      this.#fail(`can't give argument to non-function ${nodeText(first)}`);
    if (first.type === 'nil') this.#fail('nil is not a command');
    return this.#constant(dot, first);
  }

  /** What may take arguments: a function, or fields of which the last may be a method. */
  #callable(
    dot: unknown,
    operand: Operand & { type: 'field' | 'chain' | 'variable' | 'identifier' },
    args: readonly Operand[],
    final: unknown,
    command: Command | Operand,
  ): unknown {
    this.#at = operand;
    switch (operand.type) {
      case 'identifier': {
        const called = this.#run.functions[operand.name]!;
        return this.#call(dot, operand.name, called, args, final, command);
      }
      case 'field':
        return this.#fields(dot, dot, operand, operand.names, args, final);
      case 'chain': {
        if (operand.of.type === 'nil') this.#fail(`indirection through explicit nil in ${nodeText(operand)}`);
        const receiver = this.#argument(dot, operand.of, 'any');
        return this.#fields(dot, receiver, operand, operand.names, args, final);
      }
      case 'variable': {
        const [name, ...fields] = operand.names as [string, ...string[]];
        const { value } = this.#variable(name);
        if (fields.length > 0) return this.#fields(dot, value, operand, fields, args, final);
        if (args.length > 0 || final !== ABSENT)
          this.#fail(`can't give argument to non-function ${nodeText(operand)}`);
        return value;
      }
    }
  }

  #constant(dot: unknown, operand: Operand): unknown {
    switch (operand.type) {
      case 'bool':
        return operand.value;
      case 'dot':
        return dot;
      case 'string':
        return operand.text;
      case 'number':
        return this.#number(operand);
      case 'pipe':
        return this.#pipe(dot, operand);
      default:
        return this.#fail(`can't evaluate command ${quote(nodeText(operand))}`);
    }
  }

  /** A constant without a wanted type is a float64 if it looks like one, otherwise an int. */
  #number(operand: Operand & { type: 'number' }): unknown {
    this.#at = operand;
    const { text, int, float } = operand.literal;
    const isFloat = !text.startsWith("'") && (/^0[xX]/.test(text) ? /[pP]/ : /[.eEpP]/).test(text);
    if (isFloat) return new Float(float!);
    if (int === undefined) this.#fail(`${text} overflows int`);
    return Number.isSafeInteger(Number(int)) ? Number(int) : int;
  }

  // Fields

  #fields(
    dot: unknown,
    receiver: unknown,
    node: Operand,
    names: readonly string[],
    args: readonly Operand[],
    final: unknown,
  ): unknown {
    let value = receiver;
    for (const name of names.slice(0, -1)) value = this.#field(dot, value, node, name, [], ABSENT);
    return this.#field(dot, value, node, names.at(-1)!, args, final);
  }

  #field(
    dot: unknown,
    receiver: unknown,
    node: Operand,
    name: string,
    args: readonly Operand[],
    final: unknown,
  ): unknown {
    if (receiver === undefined || receiver === null) {
      if (this.#run.missingKey === 'error') this.#fail(`nil data; no entry for key ${quote(name)}`);
      return undefined;
    }
    const type = typeOf(receiver);
    const value = concrete(receiver);
    const kind = kindOf(value);
    const hasArguments = args.length > 0 || final !== ABSENT;
    if (kind === 'invalid' || kind === 'pointer') this.#fail(`nil pointer evaluating ${type}.${name}`);
    if (kind === 'struct' && isExported(name) && name in (value as object)) {
      const found: unknown = (value as Record<string, unknown>)[name];
      if (typeof found === 'function')
        return this.#method(dot, value as object, name, found as Method, node, args, final);
      if (hasArguments) this.#fail(`${name} has arguments but cannot be invoked as function`);
      return found === null || found === undefined ? new Nil('*struct {}') : found;
    }
    if (kind === 'map' && !typeOf(value).startsWith('map[int]')) {
      if (hasArguments) this.#fail(`${name} is not a method but has arguments`);
      if (mapHas(value, name)) return element(value, mapGet(value, name));
      if (this.#run.missingKey === 'error') this.#fail(`map has no entry for key ${quote(name)}`);
      return undefined;
    }
    return this.#fail(`can't evaluate field ${name} in type ${type}`);
  }

  #method(
    dot: unknown,
    struct: object,
    name: string,
    method: Method,
    node: Operand,
    args: readonly Operand[],
    final: unknown,
  ): unknown {
    const called: TemplateFunction = {
      // docker's methods take strings: `.Label "key"`.
      parameters: Array.from({ length: method.length }, () => 'string' as const),
      call: method.bind(struct),
    };
    return this.#call(dot, name, called, args, final, node);
  }

  // Calls

  #call(
    dot: unknown,
    name: string,
    called: TemplateFunction,
    args: readonly Operand[],
    final: unknown,
    node: Command | Operand,
  ): unknown {
    const { parameters, rest } = called;
    const count = args.length + (final === ABSENT ? 0 : 1);
    if (rest === undefined && count !== parameters.length)
      this.#fail(`wrong number of args for ${name}: want ${parameters.length} got ${count}`);
    if (count < parameters.length)
      this.#fail(`wrong number of args for ${name}: want at least ${parameters.length} got ${args.length}`);
    if (name === 'and' || name === 'or') return this.#decide(dot, name, args, final);
    const values = args.map((arg, index) => this.#argument(dot, arg, parameters[index] ?? rest!));
    if (final !== ABSENT) values.push(this.#checked(final, parameters[args.length] ?? rest!));
    try {
      return called.call(...(values as never[]));
    } catch (error) {
      this.#at = node;
      return this.#fail(`error calling ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** `and` and `or` evaluate no more than they need. */
  #decide(dot: unknown, name: 'and' | 'or', args: readonly Operand[], final: unknown): unknown {
    let value: unknown;
    for (const arg of args) {
      value = this.#argument(dot, arg, 'value');
      if (isTrue(value) === (name === 'or')) return value;
    }
    return final === ABSENT ? value : final;
  }

  #argument(dot: unknown, operand: Operand, type: Parameter): unknown {
    this.#at = operand;
    switch (operand.type) {
      case 'nil':
        return type === 'string' || type === 'int' ? this.#fail(`cannot assign nil to ${type}`) : undefined;
      case 'field':
      case 'chain':
      case 'variable':
      case 'identifier':
        return this.#checked(this.#callable(dot, operand, [], ABSENT, operand), type);
      case 'dot':
      case 'pipe':
        return this.#checked(this.#constant(dot, operand), type);
    }
    if (type === 'string' && operand.type !== 'string')
      this.#fail(`expected string; found ${nodeText(operand)}`);
    if (type === 'int') {
      if (operand.type !== 'number' || operand.literal.int === undefined)
        this.#fail(`expected integer; found ${nodeText(operand)}`);
      return Number(operand.literal.int);
    }
    return this.#constant(dot, operand);
  }

  /** A value as a function's parameter wants it. */
  #checked(given: unknown, type: Parameter): unknown {
    if (type === 'value') return given;
    if (type === 'any') return given instanceof Interface ? given.value : given;
    const value = concrete(given);
    const kind = kindOf(value);
    if (kind === 'invalid' && !(given instanceof Interface)) this.#fail(`invalid value; expected ${type}`);
    if (kind !== type)
      this.#fail(`wrong type for value; expected ${type}; got ${typeOf(kind === 'invalid' ? given : value)}`);
    return type === 'int' ? Number(value) : value;
  }
}
