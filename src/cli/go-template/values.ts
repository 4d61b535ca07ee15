/**
 * What the data of a template is in Go's terms, which decides how it is printed, ranged over and complained about:
 *
 *   string, boolean          string, bool
 *   number                   int where it is whole, else float64; `Float` is a float64 in any case
 *   bigint                   int64
 *   array                    a slice
 *   Map, plain object        a map; with `typed` a struct whose fields are the properties in their order
 *   function                 of a struct a method, elsewhere a func value
 *   null, undefined          nothing; `Nil` is a nil slice, map or pointer
 */

/** A float64, also where its value is whole. */
export class Float {
  constructor(readonly value: number) {}

  toJSON(): number {
    return this.value;
  }
}

/** A nil of a type: `[]string`, `map[string]string`, `*container.Health`. In JSON null. */
export class Nil {
  constructor(readonly type: string) {}

  toJSON(): null {
    return null;
  }
}

/** An element of an interface type, until a pipeline or a function takes the value out of it. */
export class Interface {
  constructor(readonly value: unknown) {}
}

export type Kind =
  | 'invalid'
  | 'interface'
  | 'bool'
  | 'int'
  | 'float'
  | 'string'
  | 'slice'
  | 'map'
  | 'struct'
  | 'pointer'
  | 'func';

const TYPES = new WeakMap<object, string>();
const ANY = 'interface {}';

/**
 * Says the Go type of an object or array: `[]string` or `map[string]string` by their spelling, any other name a struct.
 * Without it, elements that are all strings make a string type, and others the type of any.
 */
export function typed<T extends object>(type: string, value: T): T {
  TYPES.set(value, type);
  return value;
}

export function kindOf(value: unknown): Kind {
  switch (typeof value) {
    case 'undefined':
      return 'invalid';
    case 'boolean':
      return 'bool';
    case 'number':
      return Number.isSafeInteger(value) ? 'int' : 'float';
    case 'bigint':
      return 'int';
    case 'string':
      return 'string';
    case 'function':
      return 'func';
    default:
      return value === null ? 'invalid' : kindOfObject(value as object);
  }
}

function kindOfObject(value: object): Kind {
  if (Array.isArray(value)) return 'slice';
  if (value instanceof Map) return 'map';
  if (value instanceof Float) return 'float';
  if (value instanceof Interface) return 'interface';
  if (value instanceof Nil) return kindOfType(value.type);
  const type = TYPES.get(value);
  return type === undefined || type.startsWith('map[') ? 'map' : 'struct';
}

function kindOfType(type: string): Kind {
  if (type.startsWith('[]')) return 'slice';
  return type.startsWith('map[') ? 'map' : 'pointer';
}

export function typeOf(value: unknown): string {
  switch (kindOf(value)) {
    case 'bool':
      return 'bool';
    case 'int':
      return typeof value === 'bigint' ? 'int64' : 'int';
    case 'float':
      return 'float64';
    case 'string':
      return 'string';
    case 'func':
      return 'func()';
    case 'interface':
      return ANY;
    case 'invalid':
      return '<nil>';
    default:
      return typeOfObject(value as object);
  }
}

function typeOfObject(value: object): string {
  if (value instanceof Nil) return value.type;
  const type = TYPES.get(value);
  if (type !== undefined) return type;
  const elements = Array.isArray(value) ? value : entriesOf(value).map(([, element]) => element);
  const isText = elements.length > 0 && elements.every((element) => typeof element === 'string');
  const element = isText ? 'string' : ANY;
  if (Array.isArray(value)) return `[]${element}`;
  const keys = value instanceof Map ? [...value.keys()] : [];
  return `map[${keys.length > 0 && keys.every((key) => typeof key === 'number') ? 'int' : 'string'}]${element}`;
}

/** The type of the elements of a slice or map. */
export function elementType(value: unknown): string {
  return typeOf(value).replace(/^(?:\[\]|map\[[^\]]*\])/, '');
}

/** An element of `container` as Go's reflection gives it. */
export function element(container: unknown, value: unknown): unknown {
  const type = elementType(container);
  if (type === ANY) return new Interface(value);
  return value === null ? zero(type) : value;
}

/** The zero value of a type. */
export function zero(type: string): unknown {
  if (type === 'string') return '';
  if (type === 'bool') return false;
  if (/^u?int\d*$/.test(type)) return 0;
  if (type.startsWith('float')) return new Float(0);
  return type === ANY ? new Interface(undefined) : new Nil(type);
}

/** Keys and values of a map, in Go's order of printing: numbers by value, strings by their bytes. */
export function entriesOf(map: unknown): [unknown, unknown][] {
  if (map === null || map === undefined || map instanceof Nil) return [];
  const entries: [unknown, unknown][] = map instanceof Map ? [...map] : Object.entries(map);
  return entries.sort(([left], [right]) => compareKeys(left, right));
}

/** Order of the UTF-8 bytes, which for surrogates is not that of the strings. */
export function compareStrings(left: string, right: string): number {
  return /[\ud800-\udfff]/.test(left + right)
    ? Buffer.compare(Buffer.from(left), Buffer.from(right))
    : left < right
      ? -1
      : Number(left > right);
}

function compareKeys(left: unknown, right: unknown): number {
  return typeof left === 'number' && typeof right === 'number'
    ? left - right
    : compareStrings(String(left), String(right));
}

export function mapHas(map: unknown, key: unknown): boolean {
  if (map instanceof Map) return map.has(key);
  return !(map instanceof Nil) && Object.hasOwn(map as object, String(key));
}

export function mapGet(map: unknown, key: unknown): unknown {
  return map instanceof Map ? map.get(key) : (map as Record<string, unknown>)[String(key)];
}

/** The exported fields of a struct: properties with a capital first letter that are no methods. */
export function fieldsOf(struct: object): [string, unknown][] {
  return Object.entries(struct).filter(([name, value]) => isExported(name) && typeof value !== 'function');
}

// Not in the function: the bundler would have it compiled at each call.
const UPPER = /^\p{Lu}/u;

export function isExported(name: string): boolean {
  return UPPER.test(name);
}

/** The value inside an interface. */
export function concrete(value: unknown): unknown {
  return value instanceof Interface ? value.value : value;
}

/** Whether `if` takes it for true: not the zero value of its type. */
export function isTrue(given: unknown): boolean {
  const value = concrete(given);
  switch (kindOf(value)) {
    case 'invalid':
    case 'pointer':
      return false;
    case 'int':
      return Number(value) !== 0;
    case 'float':
      return numberOf(value) !== 0;
    case 'bool':
      return value as boolean;
    case 'string':
    case 'slice':
    case 'map':
      return lengthOf(value) > 0;
    default:
      return true;
  }
}

/** Of a string in bytes. */
export function lengthOf(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (value instanceof Nil) return 0;
  if (Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : Object.keys(value as object).length;
}

/** A float's or an int's value. */
export function numberOf(value: unknown): number {
  return value instanceof Float ? value.value : Number(value);
}
