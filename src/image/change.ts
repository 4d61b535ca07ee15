/**
 * `commit --change`: instructions that change what a container of the new image runs with. Source: moby builder/dockerfile
 * (builder.go validCommitCommands, dispatchers.go). Works on the config's JSON, so that what is unknown here stays as it is.
 */
import { posix } from 'node:path';
import { LaminaError } from '../errors.js';
import { environment } from './expand.js';
import {
  badInstruction,
  expandedText,
  expandedWords,
  InstructionError,
  jsonWords,
  namePairs,
  parseInstructions,
} from './instruction.js';
import type { Instruction, Words } from './instruction.js';

/** The `config` member of an image's config, as JSON has it. */
export type RunConfigJson = Record<string, unknown>;

/** What one instruction has to know of those before it. */
export interface ChangeState {
  isCmdSet: boolean;
}

type Change = (config: RunConfigJson, instruction: Instruction, state: ChangeState, words: Words) => void;

/** Applies the instructions in their order; `config` is not changed. Raises EUSAGE. */
export function applyChanges(config: RunConfigJson, changes: readonly string[]): RunConfigJson {
  const changed = structuredClone(config);
  const state = { isCmdSet: false };
  for (const instruction of parseInstructions(changes)) {
    if (!CHANGES.has(instruction.name))
      throw new LaminaError('EUSAGE', `${instruction.name.toLowerCase()} is not a valid change command`, {
        hint: `The commands are: ${[...CHANGES.keys()].join(' ')}.`,
      });
    try {
      applyChange(changed, instruction, state);
    } catch (error) {
      if (!(error instanceof InstructionError)) throw error;
      const { name, rest } = error.instruction;
      throw new LaminaError('EUSAGE', `--change ${name} ${rest}: ${error.message}`, {
        hint: 'Write it as in a Dockerfile, for example: --change "ENV NAME=value".',
      });
    }
  }
  return changed;
}

/**
 * Changes `config` as one instruction says; false when it is none that only changes the config.
 * @param words what variables stand for and what escapes; the config's own environment and a backslash when absent
 * Raises InstructionError.
 */
export function applyChange(
  config: RunConfigJson,
  instruction: Instruction,
  state: ChangeState,
  words: Words = { lookup: environment(envOf(config)), escape: '\\' },
): boolean {
  const change = CHANGES.get(instruction.name);
  if (change === undefined) return false;
  if (instruction.rest === '' && instruction.name !== 'CMD' && instruction.name !== 'ENTRYPOINT')
    throw badInstruction(instruction, `${instruction.name} requires at least one argument`);
  change(config, instruction, state, words);
  return true;
}

const CHANGES: ReadonlyMap<string, Change> = new Map<string, Change>([
  [
    'CMD',
    (config, instruction, state) => {
      config['Cmd'] = commandLine(config, instruction.rest);
      state.isCmdSet = true;
    },
  ],
  [
    'ENTRYPOINT',
    (config, instruction, state) => {
      const line = commandLine(config, instruction.rest);
      config['Entrypoint'] = line === null || line.length === 0 ? null : line;
      // The old command belongs to the old entrypoint.
      if (!state.isCmdSet) delete config['Cmd'];
    },
  ],
  ['ENV', env],
  [
    'EXPOSE',
    (config, instruction, _state, words) => {
      for (const word of expandedWords(instruction, words))
        for (const port of ports(word, instruction)) member(config, 'ExposedPorts')[port] = {};
    },
  ],
  ['HEALTHCHECK', healthcheck],
  [
    'LABEL',
    (config, instruction, _state, words) => {
      for (const [name, value] of namePairs(instruction, words)) member(config, 'Labels')[name] = value;
    },
  ],
  [
    'ONBUILD',
    (config, instruction) => {
      const trigger = instruction.rest.split(/\s/)[0]!.toUpperCase();
      if (trigger === 'ONBUILD')
        throw badInstruction(instruction, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
      if (trigger === 'MAINTAINER' || trigger === 'FROM')
        throw badInstruction(instruction, `${trigger} isn't allowed as an ONBUILD trigger`);
      config['OnBuild'] = [...strings(config['OnBuild']), instruction.rest];
    },
  ],
  [
    'STOPSIGNAL',
    (config, instruction, _state, words) => {
      const signal = oneWord(instruction, words);
      if (!/^(SIG)?[A-Z0-9+-]+$/i.test(signal))
        throw badInstruction(instruction, `Invalid signal: ${signal}`);
      config['StopSignal'] = signal;
    },
  ],
  ['USER', (config, instruction, _state, words) => void (config['User'] = oneWord(instruction, words))],
  [
    'VOLUME',
    (config, instruction, _state, words) => {
      const json = jsonWords(instruction.rest)?.map((path) => expandedText(path, instruction, words));
      const paths = json ?? expandedWords(instruction, words);
      if (paths.length === 0 || paths.includes(''))
        throw badInstruction(instruction, 'VOLUME specified can not be an empty string');
      for (const path of paths) member(config, 'Volumes')[path] = {};
    },
  ],
  [
    'WORKDIR',
    (config, instruction, _state, words) => {
      const current = typeof config['WorkingDir'] === 'string' ? config['WorkingDir'] : '';
      config['WorkingDir'] = posix.resolve('/', current, expandedText(instruction.rest, instruction, words));
    },
  ],
]);

function env(config: RunConfigJson, instruction: Instruction, _state: ChangeState, words: Words): void {
  const after = [...envOf(config)];
  // All values of one instruction see the environment from before it.
  for (const [name, value] of namePairs(instruction, words)) {
    const at = after.findIndex((pair) => pair.split('=')[0] === name);
    if (at < 0) after.push(`${name}=${value}`);
    else after[at] = `${name}=${value}`;
  }
  config['Env'] = after;
}

const HEALTH_TIMES = new Map([
  ['interval', 'Interval'],
  ['timeout', 'Timeout'],
  ['start-period', 'StartPeriod'],
  ['start-interval', 'StartInterval'],
]);

function healthcheck(config: RunConfigJson, instruction: Instruction): void {
  const check: Record<string, unknown> = {};
  let rest = instruction.rest;
  for (let flag = nextFlag(rest); flag !== undefined; flag = nextFlag(rest)) {
    const [whole, name, value] = flag as unknown as [string, string, string];
    rest = rest.slice(whole.length);
    if (name === 'retries' && /^\d+$/.test(value)) check['Retries'] = Number(value);
    else if (HEALTH_TIMES.has(name)) check[HEALTH_TIMES.get(name)!] = nanoseconds(value, instruction);
    else throw badInstruction(instruction, `unknown flag: --${name}`);
  }
  const [, kind = '', command = ''] = /^(\S*)\s*(.*)$/s.exec(rest)!;
  if (kind.toUpperCase() === 'NONE') {
    if (command !== '') throw badInstruction(instruction, 'HEALTHCHECK NONE takes no arguments');
    config['Healthcheck'] = { Test: ['NONE'] };
    return;
  }
  if (kind.toUpperCase() !== 'CMD')
    throw badInstruction(instruction, `Unknown type "${kind}" in HEALTHCHECK (try CMD)`);
  if (command === '') throw badInstruction(instruction, 'Missing command after HEALTHCHECK CMD');
  const words = jsonWords(command);
  config['Healthcheck'] = {
    Test: words === undefined ? ['CMD-SHELL', command] : ['CMD', ...words],
    ...check,
  };
}

function nextFlag(text: string): RegExpExecArray | undefined {
  return /^--([\w-]+)=(\S*)\s*/.exec(text) ?? undefined;
}

const UNIT_NS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Go's durations: `1m30s`. */
function nanoseconds(text: string, instruction: Instruction): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw badInstruction(instruction, `invalid duration "${text}"`);
  return Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNIT_NS[unit!]!, 0));
}

/** `80`, `80/udp`, `8000-8010`. */
function ports(word: string, instruction: Instruction): string[] {
  const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? first);
  if (match === null || first < 1 || last > 65535 || last < first)
    throw badInstruction(instruction, `invalid containerPort: ${word}`);
  const protocol = (match[3] ?? 'tcp').toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

/** An array as it is; anything else is a command for the image's shell. */
export function commandLine(config: RunConfigJson, rest: string): string[] | null {
  const words = jsonWords(rest);
  if (words !== undefined) return words;
  if (rest === '') return null;
  const shell = strings(config['Shell']);
  return [...(shell.length === 0 ? ['/bin/sh', '-c'] : shell), rest];
}

function oneWord(instruction: Instruction, words: Words): string {
  const found = expandedWords(instruction, words);
  if (found.length !== 1)
    throw badInstruction(instruction, `${instruction.name} requires exactly one argument`);
  return found[0]!;
}

function envOf(config: RunConfigJson): string[] {
  return strings(config['Env']);
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** An object member, made when it is not there. */
function member(config: RunConfigJson, name: string): Record<string, unknown> {
  const existing = config[name];
  if (typeof existing === 'object' && existing !== null) return existing as Record<string, unknown>;
  return (config[name] = {}) as Record<string, unknown>;
}
