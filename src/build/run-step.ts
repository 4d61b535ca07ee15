/** RUN: which command it is, in which environment and with which mounts (Dockerfile reference, RUN; here-documents as BuildKit runs them). */
import { InstructionError, jsonWords } from '../image/instruction.js';
import { LaminaError } from '../errors.js';
import { bindMount } from '../runtime/mounts.js';
import { heredocStart } from './dockerfile.js';
import type { DockerfileInstruction } from './dockerfile.js';
import { CommandOutput } from './command-output.js';
import { StepError } from './errors.js';
import type { LayerFile } from './layer-file.js';
import { parseRunMount } from './mount-options.js';
import type { RunMount } from './mount-options.js';
import type { ProgressStep } from './progress.js';
import { runLayer } from './run-layer.js';
import { withRunMounts } from './run-mounts.js';
import type { MountSources } from './run-mounts.js';
import { withScript } from './script-file.js';
import type { LayerStep, StageBuilder } from './stage-builder.js';
import { configOf, diffIdsOf, keyOf } from './state.js';

interface Command {
  args: string[];
  /** A here-document that is run itself: its name and content. */
  script?: { name: string; content: string };
}

export async function runStep(
  builder: StageBuilder,
  instruction: DockerfileInstruction,
  progress: ProgressStep,
): Promise<LayerStep> {
  const { session, scope, state } = builder;
  const { mounts, network, privileged } = flagsOf(builder, instruction);
  const command = commandOf(builder, instruction);
  const config = configOf(state);
  const cwd =
    typeof config['WorkingDir'] === 'string' && config['WorkingDir'] !== '' ? config['WorkingDir'] : '/';
  const user = typeof config['User'] === 'string' ? config['User'] : '';
  const sources = await mountDigests(builder, mounts);
  return {
    key: ['RUN', command, scope.dependencies, cwd, user, mounts, sources, network, privileged],
    createdBy: `RUN ${scope.argsText}${command.args.join(' ')} # buildkit`,
    make: async (): Promise<LayerFile | undefined> => {
      const base = await (state.layers.length === 0 ? session.nothing() : session.opened(state));
      const output = new CommandOutput(progress);
      const { abort, addHosts, epochSec } = session.options;
      const run = await withRunMounts(mounts, cwd, mountSources(builder), (mounted) =>
        withScript(session.cache.root, command.script, (script) =>
          runLayer({
            ...{ base, epochSec, cwd, user, network, addHosts, args: command.args },
            env: [...scope.environment(session.options.args), ...mounted.env],
            mounts: [
              ...mounted.mounts,
              ...(script === undefined ? [] : [bindMount(script, command.args[0]!, ['ro'])]),
            ],
            ...(privileged ? { capabilities: { privileged } } : {}),
            stdout: output.take,
            stderr: output.take,
            ...(abort === undefined ? {} : { abort }),
          }),
        ),
      ).finally(() => output.end());
      if (abort?.aborted === true)
        throw new LaminaError('ECANCELLED', 'the build was cancelled', { hint: '' });
      if (run.exitCode === 0) return run.layer;
      throw new StepError(
        'EBUILD',
        `failed to solve: process "${command.args.join(' ')}" did not complete successfully: exit code: ${run.exitCode}`,
        {},
        instruction.line,
        instruction.endLine,
        output.lastLines,
        builder.title(`${instruction.text}:`),
      );
    },
  };
}

interface RunFlags {
  mounts: RunMount[];
  network: 'host' | 'none';
  privileged: boolean;
}

function flagsOf(builder: StageBuilder, instruction: DockerfileInstruction): RunFlags {
  const flags: RunFlags = { mounts: [], network: builder.session.options.network, privileged: false };
  for (const { name, value = '' } of instruction.flags) {
    if (name === 'mount') flags.mounts.push(parseRunMount(builder.expand(value, instruction)));
    else if (name === 'network') {
      if (value !== 'default' && value !== 'none' && value !== 'host')
        throw new InstructionError(instruction, `invalid network mode "${value}"`);
      if (value !== 'default') flags.network = value;
    } else if (name === 'security') {
      if (value !== 'sandbox')
        throw new InstructionError(instruction, `security mode "${value}" is not supported`);
    } else throw new InstructionError(instruction, `unknown flag: --${name}`);
  }
  return flags;
}

function commandOf(builder: StageBuilder, instruction: DockerfileInstruction): Command {
  const { rest, heredocs } = instruction;
  if (rest === '') throw new InstructionError(instruction, 'RUN requires at least one argument');
  const [first] = heredocs;
  if (first === undefined) {
    const words = jsonWords(rest);
    return { args: words !== undefined && words.length > 0 ? words : builder.shellCommand(rest) };
  }
  // One here-document alone is the script, for shells that know none; else the shell is given all of it.
  if (heredocStart(rest) === undefined)
    return {
      args: builder.shellCommand(rest + heredocs.map(({ name, content }) => `\n${content}${name}`).join('')),
    };
  if (!first.content.startsWith('#!')) return { args: builder.shellCommand(first.content) };
  return { args: [`/dev/pipes/${first.name}`], script: first };
}

function mountSources(builder: StageBuilder): MountSources {
  const { session, sources } = builder;
  return {
    root: session.cache.root,
    secrets: session.options.secrets,
    image: async (name) => session.opened(await sources.state(name)),
    context: async () => {
      const { directory } = session.context;
      if (directory !== undefined) return directory;
      throw new LaminaError('EBUILD', 'a mount of the build context needs a context that is a directory', {
        hint: 'Unpack the tar, and build from there.',
      });
    },
    nothing: () => session.nothing(),
  };
}

/** What the mounts show that is not of this build's making. */
async function mountDigests(builder: StageBuilder, mounts: readonly RunMount[]): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const mount of mounts) {
    if (mount.type !== 'bind') continue;
    if (mount.from !== undefined) found.push(diffIdsOf(await builder.sources.state(mount.from)));
    else {
      const { LayerPlan } = await import('./layer-plan.js');
      const { planCopy } = await import('./copy.js');
      const plan = new LayerPlan(undefined);
      const view = await builder.session.context.view();
      planCopy(plan, [{ kind: 'tree', view, pattern: mount.source }], '/source/', { timeSec: 0 });
      found.push(keyOf(await plan.digest()));
    }
  }
  return found;
}
