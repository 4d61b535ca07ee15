/** docker's lists: `--format` as a table, as JSON or as a template, with a heading (docker/cli cli/command/formatter). */
import { LaminaError } from '../../errors.js';
import { GO_JSON, goJson } from '../go-template/json.js';
import { HEADING_FUNCTIONS, parseTemplate, TemplateError, typed } from '../go-template/template.js';
import type { Template } from '../go-template/template.js';
import { alignTabs } from './table.js';
import { visible } from './visible.js';

/** Fields of one line. A function is a method: `{{.Label "key"}}`; one without parameters also a field. */
export type Row = Readonly<Record<string, unknown>>;

export interface ListKind {
  /** Template of the default table; cells are separated by tabs. */
  table: string;
  /** Heading of each field. */
  headings: Readonly<Record<string, string>>;
  /** What the type of a line is called where a template asks for a field that is not there. */
  type: string;
}

const FORMAT_HELP = 'https://docs.docker.com/go/formatting/';

/** `wanted` is what `--format` was given. Raises ETEMPLATE and EFIELD. */
export function formatList(rows: Iterable<Row>, kind: ListKind, wanted?: string): string {
  const isDefault = wanted === undefined || wanted === '' || wanted === 'table';
  const isTable = isDefault || wanted.startsWith('table');
  const text = isDefault ? kind.table : wanted === 'json' ? '{{json .}}' : templateText(wanted);
  const template = parseFormat(text);
  let lines = '';
  for (const row of rows) {
    try {
      lines += `${template.execute(asStruct(isTable ? shown(row) : row, kind))}\n`;
    } catch (error) {
      throw fieldError(error, Object.keys(row));
    }
  }
  return isTable ? alignTabs(`${heading(template, kind)}\n${lines}`) : lines;
}

/** Raises ETEMPLATE. */
export function parseFormat(text: string): Template {
  try {
    return parseTemplate(text);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new LaminaError('ETEMPLATE', `template parsing error: ${error.message}`, { cause: error });
  }
}

/** A template that did not fit its data, as docker words it. */
export function fieldError(error: unknown, fields?: readonly string[]): unknown {
  if (!(error instanceof TemplateError)) return error;
  return new LaminaError('EFIELD', `template parsing error: ${error.message}`, {
    cause: error,
    hint: fields === undefined ? `How to write one: ${FORMAT_HELP}` : `The fields are: ${fields.join(' ')}.`,
  });
}

/** `table TEMPLATE` without its first word; `\t` and `\n` are typed as two characters each. */
function templateText(wanted: string): string {
  return wanted
    .replace(/^table/, '')
    .replace(/^ +| +$/g, '')
    .replaceAll('\\t', '\t')
    .replaceAll('\\n', '\n');
}

function heading(template: Template, { headings, type }: ListKind): string {
  const fields = typed(type, { ...headings, Label: labelHeading });
  return template.execute(fields, { functions: HEADING_FUNCTIONS, isPartial: true });
}

/** `com.example.some-label` is headed `some label`. */
function labelHeading(key: string): string {
  return key.split('.').at(-1)!.replaceAll(/[-_]/g, ' ');
}

/** Nearly always the row itself. */
function shown(row: Row): Row {
  let changed: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(row)) {
    const text = typeof value === 'string' ? visible(value) : value;
    if (text !== value) (changed ??= { ...row })[name] = text;
  }
  return changed ?? row;
}

/** As JSON a line has its fields in alphabetical order, escaped as json.Marshal does. */
function asStruct(row: Row, { type }: ListKind): object {
  const struct = Object.defineProperty({ ...row }, GO_JSON, { value: () => goJson({ ...row }) });
  return typed(type, struct);
}
