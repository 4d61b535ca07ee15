/** JSON as Go's encoding/json writes it: sorted keys of maps, fields of structs in their order, its own escapes. */
import { entriesOf, fieldsOf, Float, Interface, kindOf, Nil } from './values.js';

export interface JsonOptions {
  /** `<`, `>` and `&` as \u003c, \u003e and \u0026: json.Marshal does, docker's template function `json` does not. */
  escapeHtml?: boolean;
  /** Text that one level is indented by. */
  indent?: string;
}

/** A method by which an object says its own JSON, as Go's MarshalJSON does. */
export const GO_JSON = Symbol('GO_JSON');

const ESCAPED: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** Undefined properties and functions are left out; a map's keys are sorted, those of a struct (see `typed`) not. */
export function goJson(value: unknown, options: JsonOptions = {}): string {
  const { escapeHtml = true, indent = '' } = options;
  return write(value, escapeHtml, indent, '');
}

function write(value: unknown, escapeHtml: boolean, indent: string, before: string): string {
  if (value === null || value === undefined || value instanceof Nil) return 'null';
  if (value instanceof Interface) return write(value.value, escapeHtml, indent, before);
  if (value instanceof Float) return write(value.value, escapeHtml, indent, before);
  switch (typeof value) {
    case 'string':
      return goJsonString(value, escapeHtml);
    case 'number':
      return Number.isFinite(value) ? String(value) : 'null';
    case 'boolean':
    case 'bigint':
      return String(value);
    case 'function':
      return 'null';
    default:
      return writeObject(value as object, escapeHtml, indent, before);
  }
}

function writeObject(value: object, escapeHtml: boolean, indent: string, before: string): string {
  const inside = before + indent;
  const own = (value as { [GO_JSON]?: () => string })[GO_JSON];
  if (own !== undefined) return own.call(value);
  const { toJSON } = value as { toJSON?: () => unknown };
  if (typeof toJSON === 'function') return write(toJSON.call(value), escapeHtml, indent, before);
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((item) => write(item, escapeHtml, indent, inside))
    : (kindOf(value) === 'struct' ? fieldsOf(value) : entriesOf(value))
        .filter(([, item]) => item !== undefined && typeof item !== 'function')
        .map(
          ([key, item]) =>
            `${goJsonString(String(key), escapeHtml)}:${indent === '' ? '' : ' '}${write(item, escapeHtml, indent, inside)}`,
        );
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  if (parts.length === 0) return open + close;
  if (indent === '') return open + parts.join(',') + close;
  return `${open}\n${parts.map((part) => inside + part).join(',\n')}\n${before}${close}`;
}

const SPECIAL = /[\0-\x1f"\\\u2028\u2029]|\p{Cs}/gu;
const SPECIAL_IN_HTML = /[\0-\x1f"\\<>&\u2028\u2029]|\p{Cs}/gu;
const SURROGATE = /\p{Cs}/u;

export function goJsonString(text: string, escapeHtml: boolean): string {
  const inside = text.replaceAll(escapeHtml ? SPECIAL_IN_HTML : SPECIAL, (character) => {
    if (SURROGATE.test(character)) return '\\ufffd';
    return ESCAPED[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `"${inside}"`;
}
