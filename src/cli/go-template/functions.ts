/** Functions of templates: how they are declared, and those that text/template has by itself (funcs.go). */
import { equal, less, lessOrEqual } from './compare.js';
import { escapeHtml, escapeQuery, escapeScript } from './escape.js';
import { sprint, sprintln } from './print.js';
import { sprintf } from './printf.js';
import {
  concrete,
  element,
  elementType,
  Interface,
  isTrue,
  kindOf,
  lengthOf,
  mapGet,
  mapHas,
  Nil,
  typeOf,
  typed,
  zero,
} from './values.js';

/** A parameter's type; `value` takes anything, also nothing. */
export type Parameter = 'string' | 'int' | 'any' | 'value';

export interface TemplateFunction {
  parameters: readonly Parameter[];
  /** Type of any further arguments. */
  rest?: Parameter;
  /** An error that it throws is reported as `error calling NAME: MESSAGE`. */
  call: (...args: never[]) => unknown;
}

export type Functions = Readonly<Record<string, TemplateFunction>>;

function comparison(compare: (left: unknown, right: unknown) => boolean): TemplateFunction {
  return { parameters: ['value', 'value'], call: compare };
}

function escaping(escape: (text: string) => string): TemplateFunction {
  return { parameters: [], rest: 'any', call: (...args: unknown[]) => escape(argumentText(args)) };
}

export const BUILTINS: Functions = {
  // Both are evaluated by the executor, which stops at the first that decides.
  and: { parameters: ['value'], rest: 'value', call: () => undefined },
  or: { parameters: ['value'], rest: 'value', call: () => undefined },
  not: { parameters: ['value'], call: (value: unknown) => !isTrue(value) },
  call: { parameters: ['value'], rest: 'value', call: callFunction },
  index: { parameters: ['value'], rest: 'value', call: index },
  slice: { parameters: ['value'], rest: 'value', call: slice },
  len: { parameters: ['value'], call: length },
  print: { parameters: [], rest: 'any', call: (...args: unknown[]) => sprint(args) },
  println: { parameters: [], rest: 'any', call: (...args: unknown[]) => sprintln(args) },
  printf: {
    parameters: ['string'],
    rest: 'any',
    call: (format: string, ...args: unknown[]) => sprintf(format, args),
  },
  html: escaping(escapeHtml),
  js: escaping(escapeScript),
  urlquery: escaping(escapeQuery),
  eq: {
    parameters: ['value'],
    rest: 'value',
    call: (first: unknown, ...others: unknown[]) => equal(first, others),
  },
  ne: comparison((left, right) => !equal(left, [right])),
  lt: comparison(less),
  le: comparison(lessOrEqual),
  gt: comparison((left, right) => !lessOrEqual(left, right)),
  ge: comparison((left, right) => !less(left, right)),
};

function argumentText(args: readonly unknown[]): string {
  return sprint(args.map((arg) => (kindOf(concrete(arg)) === 'invalid' ? '<no value>' : arg)));
}

function callFunction(given: unknown, ...args: unknown[]): unknown {
  const called = concrete(given);
  if (kindOf(called) === 'invalid') throw new Error('call of nil');
  if (typeof called !== 'function') throw new Error(`non-function of type ${typeOf(called)}`);
  if (called.length !== args.length)
    throw new Error(`wrong number of args: got ${args.length} want ${called.length}`);
  return called(...args.map(concrete));
}

function index(given: unknown, ...indexes: unknown[]): unknown {
  let item = given;
  if (kindOf(concrete(item)) === 'invalid') throw new Error('index of untyped nil');
  for (const given of indexes) {
    const key = concrete(given);
    item = concrete(item);
    const kind = kindOf(item);
    if (kind === 'invalid' || kind === 'pointer') throw new Error('index of nil pointer');
    if (kind === 'string' || kind === 'slice') {
      const at = indexArgument(key, lengthOf(item));
      if (at >= lengthOf(item)) throw new Error('reflect: slice index out of range'.replace('slice', kind));
      item = kind === 'string' ? Buffer.from(item as string)[at] : element(item, (item as unknown[])[at]);
    } else if (kind === 'map') item = indexMap(item as object, key);
    else throw new Error(`can't index item of type ${typeOf(item)}`);
  }
  return item;
}

function indexMap(map: object, key: unknown): unknown {
  const keyType = /^map\[([^\]]*)\]/.exec(typeOf(map))?.[1] ?? 'string';
  const kind = kindOf(key);
  if (kind === 'invalid') throw new Error(`value is nil; should be of type ${keyType}`);
  if (kind !== (keyType === 'string' ? 'string' : 'int'))
    throw new Error(`value has type ${typeOf(key)}; should be ${keyType}`);
  return mapHas(map, key) ? element(map, mapGet(map, key)) : zero(elementType(map));
}

/** An index, which may be the length, too. */
function indexArgument(given: unknown, length: number): number {
  const kind = kindOf(given);
  if (kind === 'invalid') throw new Error('cannot index slice/array with nil');
  if (kind !== 'int') throw new Error(`cannot index slice/array with type ${typeOf(given)}`);
  const at = Number(given);
  if (at < 0 || at > length) throw new Error(`index out of range: ${at}`);
  return at;
}

function slice(given: unknown, ...indexes: unknown[]): unknown {
  const item = concrete(given);
  const kind = kindOf(item);
  if (kind === 'invalid') throw new Error('slice of untyped nil');
  if (indexes.length > 3) throw new Error(`too many slice indexes: ${indexes.length}`);
  if (kind === 'string' && indexes.length === 3) throw new Error('cannot 3-index slice a string');
  if (kind !== 'string' && kind !== 'slice') throw new Error(`can't slice item of type ${typeOf(item)}`);
  const length = lengthOf(item);
  const [from = 0, to = length, capacity = length] = indexes.map((at) => indexArgument(concrete(at), length));
  if (from > to) throw new Error(`invalid slice index: ${from} > ${to}`);
  if (to > capacity) throw new Error(`invalid slice index: ${to} > ${capacity}`);
  if (kind === 'string')
    return Buffer.from(item as string)
      .subarray(from, to)
      .toString();
  return item instanceof Nil ? item : typed(typeOf(item), (item as unknown[]).slice(from, to));
}

function length(given: unknown): number {
  const item = concrete(given);
  const kind = kindOf(item);
  if (kind === 'invalid' && !(given instanceof Interface))
    throw new Error('reflect: call of reflect.Value.Type on zero Value');
  if (kind === 'invalid' || kind === 'pointer') throw new Error('len of nil pointer');
  if (kind === 'string' || kind === 'slice' || kind === 'map') return lengthOf(item);
  throw new Error(`len of type ${typeOf(item)}`);
}
