/** What came to Go's templates after the version that made the fixture, docker's own functions, and where we differ. */
import { describe, expect, test } from 'vitest';
import { goJson } from '../../../../src/cli/go-template/json.js';
import {
  Float,
  HEADING_FUNCTIONS,
  parseTemplate,
  TemplateError,
  typed,
} from '../../../../src/cli/go-template/template.js';

function run(template: string, data?: unknown): string {
  try {
    return parseTemplate(template).execute(data);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return `error: ${error.message}`;
  }
}

// The output of `docker context inspect --format TEMPLATE` (docker 28.2.2, Go 1.24).
describe('later than Go 1.19', () => {
  test.each([
    ['{{range 3}}{{.}}{{end}}', '012'],
    ['{{range $i := 3}}{{$i}}{{end}}', '012'],
    ['{{with 0}}a{{else with 5}}{{.}}{{end}}', '5'],
    [
      '{{range $i, $x := 3}}{{end}}',
      'error: template: :1:18: executing "" at <3>: can\'t use 3 to iterate over more than one variable',
    ],
    ['{{$x = 1}}', 'error: template: :1:7: executing "" at <1>: undefined variable: $x'],
    ['{{1.Foo}}', 'error: template: :1: bad number syntax: "1.F"'],
    ['{{.Foo.', 'error: template: :1: unexpected "." in operand'],
    ['{{}', 'error: template: :1: unexpected "}" in command'],
    ['{{table .}}', 'error: template: :1: function "table" not defined'],
  ])('%s', (template, expected) => {
    expect(run(template)).toBe(expected);
  });

  // text/template, Actions: "range ... integer n: the values 0 to n-1"; "else" where there is none.
  test.each([
    ['{{range 0}}x{{else}}none{{end}}', 'none'],
    ['{{range -1}}x{{else}}none{{end}}', 'none'],
    ['{{range 1000000000000}}x{{break}}{{end}}', 'x'],
    ['{{$i := 7}}{{range $i = 2}}{{$i}}{{end}}{{$i}}', '011'],
  ])('%s', (template, expected) => {
    expect(run(template)).toBe(expected);
  });
});

// docker/cli templates/templates_test.go
describe("docker's functions", () => {
  const id = 'tupx5xzf6hvsrhnruz5cr8gwp';
  test.each([
    ['{{truncate . 5}}', 'tupx5'],
    ['{{truncate . 25}}', id],
    ['{{truncate . 30}}', id],
    ['{{pad . 3 3}}', `   ${id}   `],
  ])('%s', (template, expected) => {
    expect(run(template, id)).toBe(expected);
    expect(run(template, '')).toBe('');
    expect(run(template, null)).toMatch(/^error: .*invalid value; expected string$/);
  });

  test.each([
    '{{json .}}',
    '{{split . ","}}',
    '{{join . ","}}',
    '{{title .}}',
    '{{lower .}}',
    '{{upper .}}',
    '{{truncate . 2}}',
  ])('a heading goes through %s as it is', (template) => {
    const functions = HEADING_FUNCTIONS;
    expect(parseTemplate(template).execute('hello world', { functions })).toBe('hello world');
  });
});

describe('JSON', () => {
  // encoding/json: Marshal escapes for HTML; docker's function `json` does not (it encodes with SetEscapeHTML(false)).
  test('escapes', () => {
    const text = '<a&b>\u2028"\\/\b\f\n\r\t\u0001\u007fé\ud800';
    expect(goJson(text)).toBe('"\\u003ca\\u0026b\\u003e\\u2028\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u007fé\\ufffd"');
    expect(run('{{json .}}', '<none>')).toBe('"<none>"');
    expect(JSON.parse(goJson(text.slice(0, -1)))).toBe(text.slice(0, -1));
  });

  test('sorts the keys of maps and keeps the fields of structs', () => {
    const value = { b: 1, a: typed('t', { Z: [], A: {}, skipped: undefined, Method: () => 1 }), '10': null };
    expect(goJson(value)).toBe('{"10":null,"a":{"Z":[],"A":{}},"b":1}');
    expect(goJson(value, { indent: '    ' })).toBe(
      JSON.stringify({ '10': null, a: { Z: [], A: {} }, b: 1 }, null, 4),
    );
  });

  test('numbers', () => {
    // encoding/json: exponents below 1e-6 and from 1e21, without the exponent's zero.
    expect(goJson([1, 0.5, 1e21, 1e20, 1e-7, new Float(2), 12345678901234567890n])).toBe(
      '[1,0.5,1e+21,100000000000000000000,1e-7,2,12345678901234567890]',
    );
  });
});

describe('differently from Go', () => {
  test('templates nest less deeply', () => {
    expect(run('{{define "t"}}{{template "t"}}{{end}}{{template "t"}}')).toBe(
      'error: template: :1:25: executing "t" at <{{template "t"}}>: exceeded maximum template depth (1000)',
    );
  });

  test('complex numbers are refused', () => {
    expect(run('{{1+2i}}')).toBe('error: template: :1: complex numbers are not supported: "1+2i"');
  });

  test('bytes that are no UTF-8 are replaced', () => {
    expect(run('{{"\\xff"}}')).toBe('\ufffd');
    expect(run('{{truncate "é" 1}}')).toBe('\ufffd');
  });
});

describe('data is not code', () => {
  test.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
    '%s is no key and no field',
    (name) => {
      expect(run(`{{.${name}}}`, {})).toBe('<no value>');
      expect(run(`{{index . "${name}"}}`, { a: 'x' })).toBe('');
      expect(run(`{{.${name}}}`, typed('main.t', { A: 1 }))).toMatch(/can't evaluate field/);
    },
  );

  test('nested deeper than the stack is an error of the template', () => {
    const deep = (open: string, inside: string, close: string): string =>
      open.repeat(50_000) + inside + close.repeat(50_000);
    expect(() => parseTemplate(`{{${deep('(', '.', ')')}}}`)).toThrow(TemplateError);
    expect(() => parseTemplate(deep('{{if 1}}', 'x', '{{end}}')).execute({})).toThrow(/nested too deeply/);
  });
});
