#!/usr/bin/env node
/** The command `lamina`: finds the command, runs it, prints errors, sets the exit status (125 for usage, as docker). */
import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { LaminaError } from '../errors.js';
import { DockerStyleCommand, commandPath, usageError } from './help.js';
import { register as registerAnalyze } from './analyze/index.js';
import { register as registerContainers } from './container/index.js';
import { register as registerFs } from './fs/index.js';
import { register as registerImages } from './image/index.js';
import { register as registerInspect } from './inspect.js';
import { register as registerMount } from './mount.js';
import { register as registerMounts } from './mounts.js';
import { register as registerSystem } from './system/index.js';
import { register as registerUmount } from './umount.js';
import { VERSION } from './version.js';

export function createProgram(): Command {
  const program = new DockerStyleCommand('lamina')
    .description('Mount, read and explain container images without unpacking them')
    .option('--root <string>', 'Directory of the store and its cache (LAMINA_ROOT)')
    .option('--debug', 'Print stack traces of unexpected errors')
    .version(`lamina version ${VERSION}`, '-v, --version', 'Print version information and quit');
  for (const register of [
    registerMount,
    registerUmount,
    registerMounts,
    registerContainers,
    registerAnalyze,
    registerImages,
    registerInspect,
    registerFs,
    registerSystem,
  ])
    register(program);
  program.hook('preAction', () => {
    const { root } = program.opts<{ root?: string }>();
    if (root !== undefined) process.env.LAMINA_ROOT = root;
  });
  configure(program);
  return program;
}

/** Commander's settings are not inherited by commands that were added before. */
function configure(command: Command): void {
  command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .helpOption('--help', 'Print usage')
    .showSuggestionAfterError(false);
  command.helpCommand(false);
  for (const child of command.commands) configure(child);
}

async function main(argv: readonly string[]): Promise<void> {
  const program = createProgram();
  // Readers that go away (`| head`) end the program silently, as SIGPIPE would.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    process.exitCode = report(error, program, argv);
  }
}

/** Prints what went wrong and how to mend it; returns the exit status. */
function report(error: unknown, program: Command, argv: readonly string[]): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    return report(fromCommander(error, program, argv), program, argv);
  }
  if (error instanceof LaminaError) {
    const label = error.code === 'EUSAGE' ? '' : ` [${error.code}]`;
    process.stderr.write(`lamina: ${error.message}${label}\n${error.hint === '' ? '' : `${error.hint}\n`}`);
    return error.exitCode;
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const isDebug = program.opts<{ debug?: boolean }>().debug === true;
  process.stderr.write(`lamina: internal error: ${isDebug ? stack : message}\n`);
  if (!isDebug) process.stderr.write('Please report it with the output of: lamina --debug ...\n');
  return 1;
}

function fromCommander(error: CommanderError, program: Command, argv: readonly string[]): LaminaError {
  const command = invokedCommand(program, argv);
  const name = commandPath(command);
  const needed = command.registeredArguments.filter(({ required }) => required).length;
  const isOpen = command.registeredArguments.some(({ variadic, required }) => variadic || !required);
  const count = `${isOpen ? 'at least ' : ''}${needed} argument${needed === 1 ? '' : 's'}`;
  if (error.code === 'commander.missingArgument' || error.code === 'commander.excessArguments') {
    return usageError(command, `'${name}' requires ${count}`);
  }
  if (error.code === 'commander.unknownOption') {
    return usageError(command, `unknown flag: ${/'(.*)'/.exec(error.message)?.[1] ?? error.message}`);
  }
  if (error.code === 'commander.unknownCommand') {
    return usageError(command, `unknown command: ${name} ${/'(.*)'/.exec(error.message)?.[1] ?? ''}`);
  }
  return usageError(command, error.message.replace(/^error: /, ''));
}

/** The deepest command that the arguments name. */
function invokedCommand(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const word of argv) {
    const child = command.commands.find(
      (candidate) => candidate.name() === word || candidate.aliases().includes(word),
    );
    if (child !== undefined) command = child;
  }
  return command;
}

await main(process.argv.slice(2));
