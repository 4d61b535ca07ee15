/**
 * The words of a Dockerfile instruction as `commit --change` takes it. Source: moby/buildkit frontend/dockerfile (parser/line_parsers.go,
 * shell/lex.go): NAME=VALUE pairs with quotes, JSON arrays, and variables of the environment.
 */
import { LaminaError } from '../errors.js';

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

export function badInstruction({ name, rest }: Instruction, what: string): LaminaError {
  return new LaminaError('EUSAGE', `--change ${name} ${rest}: ${what}`, {
    hint: 'Write it as in a Dockerfile, for example: --change "ENV NAME=value".',
  });
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

/** `A=1 B="two words"`, or the old `A the rest`. Values are expanded. Raises EUSAGE. */
export function namePairs(instruction: Instruction, env: readonly string[]): [name: string, value: string][] {
  const { name, rest } = instruction;
  const words = rawWords(rest);
  const [first] = words;
  if (first === undefined) throw badInstruction(instruction, `${name} requires at least one argument`);
  if (!first.includes('=')) {
    const [, key, value] = /^(\S+)\s*(.*)$/s.exec(rest)!;
    if (value === '') throw badInstruction(instruction, `${name} must have two arguments`);
    return [[expand(key!, env), expand(value!, env)]];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 0)
      throw badInstruction(instruction, `can't find = in "${word}". Must be of the form: name=value`);
    if (at === 0) throw badInstruction(instruction, `${name} names can not be blank`);
    return [expand(word.slice(0, at), env), expand(word.slice(at + 1), env)];
  });
}

/** Words at blanks, expanded; blanks in quotes do not count. */
export function expandedWords(rest: string, env: readonly string[]): string[] {
  return rawWords(rest).map((word) => expand(word, env));
}

/** Words as they are written, with their quotes. */
function rawWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '\\' && quote !== "'" && at + 1 < text.length) word += char + text[++at]!;
    else if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word);
      word = '';
    } else {
      if (char === quote) quote = '';
      else if (quote === '' && (char === '"' || char === "'")) quote = char;
      word += char;
    }
  }
  if (word !== '') words.push(word);
  return words;
}

/** Takes the quotes away and puts $NAME, ${NAME}, ${NAME:-else} and ${NAME:+instead} in; nothing of it in single quotes. */
export function expand(word: string, env: readonly string[]): string {
  let result = '';
  let quote = '';
  for (let at = 0; at < word.length; at++) {
    const char = word[at]!;
    if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === '\\' && quote !== "'" && at + 1 < word.length) {
      const next = word[++at]!;
      // In double quotes only these lose their backslash.
      result += quote === '"' && !'"$\\'.includes(next) ? char + next : next;
    } else if (char === '$' && quote !== "'") {
      const variable = /^\$(?:(\w+)|\{(\w+)(?::([-+])((?:[^{}\\]|\\.)*))?\})/.exec(word.slice(at));
      if (variable === null) result += char;
      else {
        result += valueOf(variable, env);
        at += variable[0].length - 1;
      }
    } else result += char;
  }
  return result;
}

function valueOf(match: RegExpExecArray, env: readonly string[]): string {
  const [, bare, braced, operator, other = ''] = match;
  const name = bare ?? braced!;
  const set = env.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
  if (operator === '-') return set === '' ? expand(other, env) : set;
  if (operator === '+') return set === '' ? '' : expand(other, env);
  return set;
}
