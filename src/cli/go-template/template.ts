/**
 * Go's text/template as docker's `--format` uses it: its language, its functions, its printing of values and its errors. Data and their
 * Go types: values.ts. What is not as in Go: complex numbers; strings are Unicode, so that cut or escaped bytes that are no UTF-8
 * become U+FFFD; a pointer inside a value prints as what it points to, not as an address; templates nest 1000 deep.
 */
import { DOCKER_FUNCTIONS } from './docker-functions.js';
import { execute } from './executor.js';
import type { MissingKey } from './executor.js';
import { BUILTINS } from './functions.js';
import type { Functions } from './functions.js';
import { parse, TemplateError } from './parser.js';

export { HEADING_FUNCTIONS } from './docker-functions.js';
export { TemplateError } from './parser.js';
export { Float, Nil, typed } from './values.js';

export interface ExecuteOptions {
  missingKey?: MissingKey;
  /** Replace functions of the same names. */
  functions?: Functions;
  /** Returns what there was before an error instead of throwing it. */
  isPartial?: boolean;
}

export interface Template {
  /** Returns the output; throws a TemplateError. */
  execute(data: unknown, options?: ExecuteOptions): string;
}

const FUNCTIONS: Functions = { ...BUILTINS, ...DOCKER_FUNCTIONS };

/** Throws a TemplateError. */
export function parseTemplate(text: string): Template {
  const parsed = nested(() => parse(text, (name) => Object.hasOwn(FUNCTIONS, name)));
  return {
    execute: (data, { missingKey = 'default', functions = {}, isPartial = false } = {}) =>
      nested(() => execute(parsed, { ...FUNCTIONS, ...functions }, data, { missingKey, isPartial })),
  };
}

/** Parser and executor go as deep as the template does; Go's stack has no such end. */
function nested<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) throw new TemplateError('template: it is nested too deeply');
    throw error;
  }
}
