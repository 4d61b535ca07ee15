/** Carries out the instructions of one stage, one after the other; each step that makes a layer is an image of the store when it is done. */
import { LaminaError } from '../errors.js';
import type { ErrorCode } from '../errors.js';
import { applyChange, commandLine } from '../image/change.js';
import type { ChangeState } from '../image/change.js';
import { expand, ExpansionError } from '../image/expand.js';
import { InstructionError, jsonWords, namePairs } from '../image/instruction.js';
import { copyStep } from './copy-step.js';
import { parseTrigger } from './dockerfile.js';
import type { Dockerfile, DockerfileInstruction } from './dockerfile.js';
import { dockerfileError, StepError } from './errors.js';
import { createdBy } from './history.js';
import type { LayerFile } from './layer-file.js';
import { runStep } from './run-step.js';
import { Scope } from './scope.js';
import type { GlobalScope } from './scope.js';
import type { Session } from './session.js';
import { argPairs } from './stages.js';
import type { Stage } from './stages.js';
import { configOf, diffIdsOf, keyOf, nextState, timelessJson } from './state.js';
import type { BuildState } from './state.js';
import { workdirStep } from './workdir-step.js';

/** What a finished stage hands to those that are made from it. */
export interface StageResult {
  state: BuildState;
  scope: Scope;
}

export interface StageSources {
  dockerfile: Dockerfile;
  globals: GlobalScope;
  /** More stages than one: each step says which it belongs to. */
  isOneOfMany: boolean;
  /** A stage before this one, or an image. */
  state(name: string): Promise<BuildState>;
}

/** A step that makes a layer: what it depends on is known before it is carried out. */
export interface LayerStep {
  /** All that decides about the layer, but for the layers below. */
  key: readonly unknown[];
  createdBy: string;
  /** Writes the layer; undefined when nothing changed. */
  make(): Promise<LayerFile | undefined>;
}

/** What has an exit status of its own where a command is run for itself; a build that fails has one status. */
const OF_A_COMMAND = new Set<ErrorCode>(['ENOCOMMAND', 'ENOTEXECUTABLE', 'ERUNTIME', 'EUSER', 'EUSAGE']);
const WITH_LAYER = new Set(['RUN', 'COPY', 'ADD', 'WORKDIR']);

export class StageBuilder {
  state: BuildState;
  readonly scope: Scope;
  readonly #changes: ChangeState = { isCmdSet: false };
  #step = 1;
  #steps = 0;

  constructor(
    readonly session: Session,
    readonly stage: Stage,
    readonly sources: StageSources,
    base: StageResult | { state: BuildState; scope: undefined },
  ) {
    this.state = base.state;
    const env = configOf(base.state)['Env'];
    this.scope = new Scope(Array.isArray(env) ? (env as string[]) : [], base.scope);
  }

  async build(): Promise<StageResult> {
    const triggers = this.#takeTriggers();
    const instructions = [...triggers, ...this.stage.instructions];
    this.#steps = 1 + instructions.filter(({ name }) => WITH_LAYER.has(name)).length;
    this.session.options.progress.step(this.title(`FROM ${this.stage.base}`)).done();
    for (const instruction of instructions) await this.#carryOut(instruction);
    return { state: this.state, scope: this.scope };
  }

  get escape(): string {
    return this.sources.dockerfile.escape;
  }

  /** `[build 2/3] RUN make` */
  title(text: string, step = this.#step): string {
    const { name, index } = this.stage;
    const stage = this.sources.isOneOfMany ? `${name ?? `stage-${index}`} ` : '';
    return `[${stage}${String(step).padStart(String(this.#steps).length)}/${this.#steps}] ${text}`;
  }

  /** Raises InstructionError. */
  expand(text: string, instruction: DockerfileInstruction, escape = this.escape): string {
    try {
      return expand(text, this.scope.lookup, { escape });
    } catch (error) {
      if (error instanceof ExpansionError) throw new InstructionError(instruction, error.message);
      throw error;
    }
  }

  /** The image under this one may want something done first. */
  #takeTriggers(): DockerfileInstruction[] {
    const config = configOf(this.state);
    const triggers = Array.isArray(config['OnBuild']) ? (config['OnBuild'] as string[]) : [];
    if (triggers.length === 0) return [];
    const rest = { ...config };
    delete rest['OnBuild'];
    this.state = { ...this.state, isStored: false, json: { ...this.state.json, config: rest } };
    return triggers.map((text) => parseTrigger(text, '\\', this.stage.from));
  }

  async #carryOut(instruction: DockerfileInstruction): Promise<void> {
    if (this.session.options.abort?.aborted === true)
      throw new LaminaError('ECANCELLED', 'the build was cancelled', { hint: '' });
    try {
      if (!WITH_LAYER.has(instruction.name)) return this.#configure(instruction);
      this.#step++;
      await this.#layer(instruction);
    } catch (error) {
      throw this.#located(error, instruction);
    }
  }

  #located(error: unknown, { line, endLine }: DockerfileInstruction): unknown {
    if (error instanceof StepError) return error;
    if (error instanceof InstructionError) {
      const { code, message, hint } = dockerfileError(this.sources.dockerfile, line, error.message);
      return new StepError(code, message, { hint }, line, endLine);
    }
    if (!(error instanceof LaminaError) || error.code === 'ECANCELLED') return error;
    const { code, message, hint, cause } = error;
    const shown = OF_A_COMMAND.has(code) ? 'EBUILD' : code;
    return new StepError(shown, `failed to solve: ${message}`, { hint, cause }, line, endLine);
  }

  /** What only changes the config. */
  #configure(instruction: DockerfileInstruction): void {
    const { name, rest } = instruction;
    if (name === 'ARG') return this.#declare(instruction);
    const config = structuredClone(configOf(this.state));
    const words = { lookup: this.scope.lookup, escape: this.escape };
    // All values of one instruction see the environment from before it.
    const pairs = name === 'ENV' && rest !== '' ? namePairs({ name, rest }, words) : [];
    let author: string | undefined;
    if (name === 'SHELL') {
      const shell = jsonWords(rest);
      if (shell === undefined || shell.length === 0)
        throw new InstructionError(instruction, 'SHELL requires the arguments to be in JSON form');
      config['Shell'] = shell;
    } else if (name === 'MAINTAINER') {
      if (rest === '') throw new InstructionError(instruction, 'MAINTAINER requires exactly one argument');
      author = rest;
    } else if (name === 'ONBUILD') {
      const heredocs = instruction.heredocs.map(({ name: end, content }) => `\n${content}${end}`).join('');
      applyChange(config, { name, rest: rest + heredocs }, this.#changes, words);
    } else {
      this.#checkArray(instruction);
      applyChange(config, { name, rest }, this.#changes, words);
    }
    const before = configOf(this.state);
    this.state = nextState(this.state, {
      createdBy: createdBy({ name, rest }, before, config),
      config,
      ...(author === undefined ? {} : { author }),
      created: this.session.created,
    });
    for (const [key, value] of pairs) this.scope.setEnv(`${key}=${value}`);
  }

  /** An array of other things than strings is refused, and not taken for a command of the shell. */
  #checkArray(instruction: DockerfileInstruction): void {
    const { name, rest } = instruction;
    if (!['CMD', 'ENTRYPOINT', 'VOLUME'].includes(name) || !rest.startsWith('[')) return;
    try {
      const parsed: unknown = JSON.parse(rest);
      if (Array.isArray(parsed) && parsed.some((item) => typeof item !== 'string'))
        throw new InstructionError(
          instruction,
          'when using JSON array syntax, arrays must be comprised of strings only',
        );
    } catch (error) {
      if (error instanceof InstructionError) throw error;
    }
  }

  #declare(instruction: DockerfileInstruction): void {
    const { args } = this.session.options;
    const shown: string[] = [];
    for (const { name, value } of argPairs(instruction, this.sources.dockerfile)) {
      const own = value === undefined ? undefined : this.expand(value, instruction);
      const set = args.get(name) ?? own ?? this.sources.globals.lookup(name);
      this.scope.declare({ name, value: set });
      shown.push(set === undefined ? name : `${name}=${set}`);
    }
    this.state = nextState(this.state, {
      createdBy: `ARG ${shown.join(' ')}`,
      created: this.session.created,
    });
  }

  async #layer(instruction: DockerfileInstruction): Promise<void> {
    const progress = this.session.options.progress.step(this.title(titleOf(instruction)));
    try {
      if (instruction.name === 'WORKDIR') {
        const config = structuredClone(configOf(this.state));
        const words = { lookup: this.scope.lookup, escape: this.escape };
        const { name, rest } = instruction;
        applyChange(config, { name, rest }, this.#changes, words);
        this.state = { ...this.state, isStored: false, json: { ...this.state.json, config } };
      }
      const step = await (instruction.name === 'RUN'
        ? runStep(this, instruction, progress)
        : instruction.name === 'WORKDIR'
          ? workdirStep(this)
          : copyStep(this, instruction));
      if (await this.#take(step)) progress.cached();
      else progress.done();
    } catch (error) {
      const located = this.#located(error, instruction);
      progress.failed(located instanceof Error ? located.message : String(located));
      throw located;
    }
  }

  /** From the cache, or made. @returns whether it was there */
  async #take({ key, createdBy: by, make }: LayerStep): Promise<boolean> {
    const { session } = this;
    const { epochSec } = session.options;
    const stepKey = keyOf('step', diffIdsOf(this.state), key, epochSec ?? null);
    const hit = session.find(stepKey, this.state);
    if (hit !== undefined) {
      const created = (hit.json['created'] as string | undefined) ?? session.created;
      const next = nextState(this.state, { createdBy: by, layer: hit.layer, created });
      // The very same image, or its layer under another config.
      this.state =
        timelessJson(next.json) === timelessJson(hit.json)
          ? { ...next, json: hit.json, parent: hit.imageId, isStored: true }
          : session.commit(next, stepKey, undefined);
      return true;
    }
    const made = await make();
    const layer = made === undefined ? undefined : session.layer(made);
    const next = nextState(this.state, { createdBy: by, layer, created: session.created });
    this.state = session.commit(next, stepKey, made);
    return false;
  }

  /** The command of RUN in the shell form. */
  shellCommand(text: string): string[] {
    return commandLine(configOf(this.state), text) ?? [];
  }
}

/** One line that says what is done. */
function titleOf({ name, text }: DockerfileInstruction): string {
  return `${name}${text.slice(name.length)}`.replace(/\s+/g, ' ').slice(0, 200);
}
