/**
 * The words of a Dockerfile instruction as `commit --change` and `build` take it. Source: moby/buildkit frontend/dockerfile
 * (parser/line_parsers.go): NAME=VALUE pairs with quotes, and JSON arrays.
 */
import { expand, ExpansionError, expandWords, splitWords } from './expand.js';
import type { Lookup } from './expand.js';

export interface Instruction {
  /** Upper case. */
  name: string;
  rest: string;
}

/** All instructions of several `--change` values, comments and continued lines as in a Dockerfile. Raises EUSAGE. */
export function parseInstructions(changes: readonly string[]): Instruction[] {
  const instructions: Instruction[] = [];
  let line = '';
  for (const text of changes.join('\n').split('\n')) {
    if (/^\s*#/.test(text) || (line === '' && text.trim() === '')) continue;
    const continued = /^(.*)\\[ \t]*$/.exec(text);
    line += continued?.[1] ?? text;
    if (continued !== null) continue;
    instructions.push(split(line));
    line = '';
  }
  if (line !== '') instructions.push(split(line));
  return instructions;
}

function split(line: string): Instruction {
  const [, name, rest] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) as unknown as [string, string, string];
  return { name: name.toUpperCase(), rest };
}

/** An instruction that makes no sense; whoever read it knows where it stands. */
export class InstructionError extends Error {
  constructor(
    readonly instruction: Instruction,
    message: string,
  ) {
    super(message);
  }
}

/** What words are expanded with. */
export interface Words {
  lookup: Lookup;
  /** What takes the next character as it is. */
  escape: string;
}

export function badInstruction(instruction: Instruction, what: string): InstructionError {
  return new InstructionError(instruction, what);
}

/** `["a", "b"]`; undefined when it is no array of strings, which is then a command for the shell. */
export function jsonWords(rest: string): string[] | undefined {
  if (!rest.startsWith('[')) return undefined;
  try {
    const words: unknown = JSON.parse(rest);
    return Array.isArray(words) && words.every((word) => typeof word === 'string') ? words : undefined;
  } catch {
    return undefined;
  }
}

/** `A=1 B="two words"`, or the old `A the rest`. Values are expanded. Raises InstructionError. */
export function namePairs(instruction: Instruction, words: Words): [name: string, value: string][] {
  const { name, rest } = instruction;
  const split = splitWords(rest, words.escape);
  const [first] = split;
  if (first === undefined) throw badInstruction(instruction, `${name} requires at least one argument`);
  if (!first.includes('=')) {
    const [, key, value] = /^(\S+)\s*(.*)$/s.exec(rest)!;
    if (value === '') throw badInstruction(instruction, `${name} must have two arguments`);
    return [[expandedText(key!, instruction, words), expandedText(value!, instruction, words)]];
  }
  return split.map((word) => {
    const at = word.indexOf('=');
    if (at < 0)
      throw badInstruction(instruction, `can't find = in "${word}". Must be of the form: name=value`);
    if (at === 0) throw badInstruction(instruction, `${name} names can not be blank`);
    const value = expandedText(word.slice(at + 1), instruction, words);
    return [expandedText(word.slice(0, at), instruction, words), value];
  });
}

/** One text, expanded. Raises InstructionError. */
export function expandedText(text: string, instruction: Instruction, words: Words): string {
  return explained(instruction, () => expand(text, words.lookup, words));
}

/** Words at blanks, expanded; blanks in quotes do not count. Raises InstructionError. */
export function expandedWords(instruction: Instruction, words: Words): string[] {
  return explained(instruction, () => expandWords(instruction.rest, words.lookup, words));
}

function explained<T>(instruction: Instruction, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ExpansionError) throw badInstruction(instruction, error.message);
    throw error;
  }
}
