/** What goes wrong in a Dockerfile, with the lines where it does, as BuildKit shows them. */
import { LaminaError } from '../errors.js';
import type { ErrorCode, ErrorFacts } from '../errors.js';

export interface DockerfileText {
  file: string;
  text: string;
}

/** EDOCKERFILE. */
export function dockerfileError(
  where: DockerfileText,
  line: number,
  what: string,
  hint?: string,
): LaminaError {
  return new LaminaError('EDOCKERFILE', `dockerfile parse error on line ${line}: ${what}`, {
    path: where.file,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** An error of one step, and what of the Dockerfile it concerns. */
export class StepError extends LaminaError {
  constructor(
    code: ErrorCode,
    message: string,
    facts: ErrorFacts,
    /** Of the Dockerfile, from 1. */
    readonly line: number,
    readonly endLine: number,
    /** The last that a command printed; empty where none ran. */
    readonly output: readonly string[] = [],
    /** `[2/3] RUN false`. */
    readonly step: string = '',
  ) {
    super(code, message, facts);
  }
}

const CONTEXT_LINES = 2;
const RULE = '-'.repeat(20);

/** The lines around, the ones that count marked. */
export function quoteLines({ file, text }: DockerfileText, line: number, endLine: number): string {
  const lines = text.split('\n');
  const first = Math.max(1, line - CONTEXT_LINES);
  const last = Math.min(lines.length, endLine + CONTEXT_LINES);
  const shown: string[] = [];
  for (let number = first; number <= last; number++) {
    const mark = number >= line && number <= endLine ? '>>>' : '   ';
    shown.push(`${String(number).padStart(4)} | ${mark} ${lines[number - 1]!}`);
  }
  return [`${file}:${line}`, RULE, ...shown, RULE].join('\n');
}
