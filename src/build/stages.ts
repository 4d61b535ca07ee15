/** The stages of a Dockerfile, what each is made from, and which of them a target needs. */
import { expand, ExpansionError, splitWords } from '../image/expand.js';
import type { Lookup } from '../image/expand.js';
import type { Dockerfile, DockerfileInstruction } from './dockerfile.js';
import { dockerfileError } from './errors.js';
import { GlobalScope } from './scope.js';
import type { BuildArgs } from './scope.js';
import type { Platform } from '../oci/platform.js';

export interface Stage {
  index: number;
  /** Lower case; undefined without AS. */
  name: string | undefined;
  from: DockerfileInstruction;
  /** What FROM names, expanded: an earlier stage, an image, or `scratch`. */
  base: string;
  /** The stage that `base` names. */
  baseStage: number | undefined;
  platform: string | undefined;
  instructions: readonly DockerfileInstruction[];
}

export interface Stages {
  stages: readonly Stage[];
  globals: GlobalScope;
}

/** Raises EDOCKERFILE. */
export function splitStages(dockerfile: Dockerfile, target: Platform, given: BuildArgs): Stages {
  const { escape } = dockerfile;
  const globals = new GlobalScope(target, given);
  const stages: (Stage & { instructions: DockerfileInstruction[] })[] = [];
  for (const instruction of dockerfile.instructions) {
    if (instruction.name === 'FROM') stages.push(readFrom(instruction, stages, dockerfile, globals.lookup));
    else if (stages.length > 0) stages.at(-1)!.instructions.push(instruction);
    else if (instruction.name !== 'ARG')
      throw dockerfileError(
        dockerfile,
        instruction.line,
        `no build stage in current context`,
        'Begin with FROM; only ARG may stand before it.',
      );
    else
      for (const { name, value } of argPairs(instruction, dockerfile)) {
        const set =
          given.get(name) ??
          (value === undefined
            ? undefined
            : expanded(value, globals.lookup, escape, instruction, dockerfile));
        if (set !== undefined) globals.set(name, set);
      }
  }
  if (stages.length === 0)
    throw dockerfileError(dockerfile, 1, 'no build stage in current context', 'Begin with: FROM IMAGE.');
  return { stages, globals };
}

function readFrom(
  instruction: DockerfileInstruction,
  before: readonly Stage[],
  dockerfile: Dockerfile,
  lookup: Lookup,
): Stage & { instructions: DockerfileInstruction[] } {
  const bad = (what: string): Error => dockerfileError(dockerfile, instruction.line, what);
  const words = splitWords(instruction.rest, dockerfile.escape);
  const isNamed = words.length === 3 && words[1]!.toLowerCase() === 'as';
  if (words.length !== 1 && !isNamed) throw bad('FROM requires either one or three arguments');
  const base = expanded(words[0]!, lookup, dockerfile.escape, instruction, dockerfile);
  if (base === '') throw bad(`base name (${words[0]!}) should not be blank`);
  const name = isNamed ? words[2]!.toLowerCase() : undefined;
  if (name !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(name))
    throw bad(
      `invalid name for build stage: "${words[2]!}", name can't start with a number or contain symbols`,
    );
  let platform: string | undefined;
  for (const flag of instruction.flags) {
    if (flag.name !== 'platform') throw bad(`unknown flag: --${flag.name}`);
    platform = expanded(flag.value ?? '', lookup, dockerfile.escape, instruction, dockerfile);
    if (platform === '') throw bad('the value of --platform is empty');
  }
  const baseStage = before.findLast((stage) => stage.name === base.toLowerCase())?.index;
  return { index: before.length, name, from: instruction, base, baseStage, platform, instructions: [] };
}

function expanded(
  text: string,
  lookup: Lookup,
  escape: string,
  { line }: DockerfileInstruction,
  dockerfile: Dockerfile,
): string {
  try {
    return expand(text, lookup, { escape });
  } catch (error) {
    if (error instanceof ExpansionError) throw dockerfileError(dockerfile, line, error.message);
    throw error;
  }
}

/** `ARG A B=2`; values as they are written. Raises EDOCKERFILE. */
export function argPairs(
  { rest, line }: DockerfileInstruction,
  dockerfile: Dockerfile,
): { name: string; value: string | undefined }[] {
  const words = splitWords(rest, dockerfile.escape);
  if (words.length === 0) throw dockerfileError(dockerfile, line, 'ARG requires at least one argument');
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at === 0) throw dockerfileError(dockerfile, line, 'ARG names can not be blank');
    return at < 0 ? { name: word, value: undefined } : { name: word.slice(0, at), value: word.slice(at + 1) };
  });
}

/** The stage that a target or `--from` names: by its name, or its number. undefined: none of the first `limit` stages. */
export function stageNamed(stages: readonly Stage[], text: string, limit = stages.length): Stage | undefined {
  const before = stages.slice(0, limit);
  return (
    before.findLast(({ name }) => name === text.toLowerCase()) ??
    (/^\d+$/.test(text) ? before[Number(text)] : undefined)
  );
}

/** What `--from` of an instruction and of its mounts names, as it is written. */
export function sourcesOf({ name, flags }: DockerfileInstruction): string[] {
  return flags.flatMap(({ name: flag, value = '' }) => {
    if (flag === 'from' && name !== 'RUN') return [value];
    if (flag !== 'mount' || name !== 'RUN') return [];
    return value.split(',').flatMap((part) => (part.startsWith('from=') ? [part.slice('from='.length)] : []));
  });
}

/** The stages that a stage needs, itself among them, in their order. */
export function neededStages(stages: readonly Stage[], target: Stage): Stage[] {
  const needed = new Set<number>();
  const need = (stage: Stage): void => {
    if (needed.has(stage.index)) return;
    needed.add(stage.index);
    if (stage.baseStage !== undefined) need(stages[stage.baseStage]!);
    for (const instruction of stage.instructions)
      for (const source of sourcesOf(instruction)) {
        const found = stageNamed(stages, source, stage.index);
        if (found !== undefined) need(found);
      }
  };
  need(target);
  return stages.filter(({ index }) => needed.has(index));
}
