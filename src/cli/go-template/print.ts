/** Go's fmt (https://pkg.go.dev/fmt): Sprint, Sprintln and the default formatting of values. */
import { formatFloat } from './floats.js';
import { concrete, entriesOf, fieldsOf, kindOf, Nil, numberOf, typeOf } from './values.js';
import { quote } from './quote.js';

/** `%v`, `%+v` (names of fields) or `%#v` (Go syntax). */
export type Style = 'plain' | 'named' | 'syntax';

/** Between two operands of which none is a string is a space. */
export function sprint(args: readonly unknown[]): string {
  return args
    .map((arg, index) => {
      const isSpaced = index > 0 && kindOf(arg) !== 'string' && kindOf(args[index - 1]) !== 'string';
      return `${isSpaced ? ' ' : ''}${printed(arg)}`;
    })
    .join('');
}

export function sprintln(args: readonly unknown[]): string {
  return `${args.map((arg) => printed(arg)).join(' ')}\n`;
}

export function printed(given: unknown, style: Style = 'plain', depth = 0): string {
  const value = concrete(given);
  switch (kindOf(value)) {
    case 'invalid':
      return depth > 0 && style === 'syntax' ? 'interface {}(nil)' : '<nil>';
    case 'string':
      return style === 'syntax' ? quote(value as string) : (value as string);
    case 'float':
      return formatFloat(numberOf(value), 'g', -1);
    case 'slice':
      return printedSlice(value as unknown[] | Nil, style, depth);
    case 'map':
      return printedMap(value as object, style, depth);
    case 'struct':
      return printedStruct(value as object, style, depth);
    case 'pointer':
      return style === 'syntax' ? `(${typeOf(value)})(nil)` : '<nil>';
    case 'func':
      return '0x0';
    default:
      return String(value);
  }
}

function printedSlice(slice: unknown[] | Nil, style: Style, depth: number): string {
  const isNil = slice instanceof Nil;
  if (isNil && style === 'syntax') return `${slice.type}(nil)`;
  const elements = isNil ? [] : slice.map((element) => printed(element, style, depth + 1));
  return style === 'syntax' ? `${typeOf(slice)}{${elements.join(', ')}}` : `[${elements.join(' ')}]`;
}

function printedMap(map: object, style: Style, depth: number): string {
  if (map instanceof Nil && style === 'syntax') return `${map.type}(nil)`;
  const entries = entriesOf(map).map(
    ([key, value]) => `${printed(key, style, depth + 1)}:${printed(value, style, depth + 1)}`,
  );
  return style === 'syntax' ? `${typeOf(map)}{${entries.join(', ')}}` : `map[${entries.join(' ')}]`;
}

function printedStruct(struct: object, style: Style, depth: number): string {
  const fields = fieldsOf(struct).map(([name, value]) => {
    const text = printed(value, style, depth + 1);
    return style === 'plain' ? text : `${name}:${text}`;
  });
  const type = typeOf(struct);
  const pointer = type.startsWith('*') ? '&' : '';
  return style === 'syntax'
    ? `${pointer}${type.replace(/^\*/, '')}{${fields.join(', ')}}`
    : `${pointer}{${fields.join(' ')}}`;
}
