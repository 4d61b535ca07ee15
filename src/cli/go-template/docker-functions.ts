/** The functions that docker adds to text/template (docker/cli templates/templates.go). */
import type { Functions } from './functions.js';
import { goJson } from './json.js';
import { sprint } from './print.js';
import { compareStrings, entriesOf, kindOf, typed, typeOf } from './values.js';

const string = ['string'] as const;

export const DOCKER_FUNCTIONS: Functions = {
  json: { parameters: ['any'], call: (value: unknown) => goJson(value, { escapeHtml: false }) },
  split: { parameters: ['string', 'string'], call: split },
  join: { parameters: ['any', 'string'], call: join },
  title: { parameters: string, call: title },
  lower: { parameters: string, call: (text: string) => text.toLowerCase() },
  upper: { parameters: string, call: (text: string) => text.toUpperCase() },
  pad: {
    parameters: ['string', 'int', 'int'],
    call: (text: string, before: number, after: number) => pad(text, before, after),
  },
  truncate: { parameters: ['string', 'int'], call: truncate },
};

const pass = (text: string): string => text;

/** What takes the place of those in a table's heading: the heading stays what it is, but `pad` keeps the columns aligned. */
export const HEADING_FUNCTIONS: Functions = {
  json: { parameters: string, call: pass },
  split: { parameters: ['string', 'string'], call: pass },
  join: { parameters: ['string', 'string'], call: pass },
  title: { parameters: string, call: pass },
  lower: { parameters: string, call: pass },
  upper: { parameters: string, call: pass },
  truncate: { parameters: ['string', 'int'], call: pass },
};

function split(text: string, separator: string): string[] {
  return typed('[]string', separator === '' ? [...text] : text.split(separator));
}

function join(elements: unknown, separator: string): string {
  switch (kindOf(elements)) {
    case 'invalid':
      return '';
    case 'slice':
      return [...(elements as unknown[])].map((item) => sprint([item])).join(separator);
    case 'map':
      return entriesOf(elements)
        .map(([, item]) => sprint([item]))
        .sort(compareStrings)
        .join(separator);
    default:
      throw new Error(`expected slice, got ${typeOf(elements)}`);
  }
}

/** strings.Title: a letter that follows something other than a letter, digit, underscore or apostrophe-free space. */
function title(text: string): string {
  let previous = ' ';
  return [...text]
    .map((character) => {
      const starts = isSeparator(previous);
      previous = character;
      return starts ? character.toUpperCase() : character;
    })
    .join('');
}

/** strings.isSeparator */
function isSeparator(character: string): boolean {
  if (character.codePointAt(0)! <= 0x7f) return !/[0-9A-Za-z_]/.test(character);
  return !/[\p{L}\p{Nd}]/u.test(character) && /\s/u.test(character);
}

function pad(text: string, before: number, after: number): string {
  if (before < 0 || after < 0) throw new Error('strings: negative Repeat count');
  return text === '' ? '' : ' '.repeat(before) + text + ' '.repeat(after);
}

/** Counts bytes. */
function truncate(text: string, length: number): string {
  if (Buffer.byteLength(text) < length) return text;
  if (length < 0) throw new Error(`runtime error: slice bounds out of range [:${length}]`);
  return Buffer.from(text).subarray(0, length).toString();
}
