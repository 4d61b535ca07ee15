/** The command `lamina`: finds the command, runs it, prints errors, sets the exit status (125 for usage, as docker). */
import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { fromSystemError, LaminaError } from '../errors.js';
import { DockerStyleCommand, commandPath, usageError } from './help.js';
import { register as registerAnalyze } from './analyze/index.js';
import { register as registerCompletion } from './completion/index.js';
import { register as registerBench } from './bench.js';
import { register as registerContainers } from './container/index.js';
import { register as registerFs } from './fs/index.js';
import { register as registerImages } from './image/index.js';
import { register as registerInspect } from './inspect.js';
import { register as registerMount } from './mount.js';
import { register as registerMounts } from './mounts.js';
import { register as registerRegistry } from './registry/index.js';
import { register as registerSystem } from './system/index.js';
import { register as registerUmount } from './umount.js';
import { register as registerVersion } from './version-info.js';
import { VERSION } from './version.js';
import { visibleLines } from './output/visible.js';

/** With the words that name a command, just that one: making all of them takes 5 ms. */
export function createProgram(wanted?: readonly string[]): Command {
  const program = new DockerStyleCommand('lamina', wanted)
    .description('Mount, read and explain container images without unpacking them')
    .option('--root <string>', 'Directory of the store and its cache (LAMINA_ROOT)')
    .option('--debug', 'Print stack traces of unexpected errors')
    .enablePositionalOptions()
    .version(`lamina version ${VERSION}`, '-v, --version', 'Print version information and quit');
  for (const register of [
    registerMount,
    registerUmount,
    registerMounts,
    registerContainers,
    registerAnalyze,
    registerBench,
    registerImages,
    registerRegistry,
    registerInspect,
    registerFs,
    registerVersion,
    registerSystem,
  ])
    register(program);
  registerCompletion(program, () => createProgram());
  program.hook('preAction', () => {
    const { root } = program.opts<{ root?: string }>();
    if (root !== undefined) process.env.LAMINA_ROOT = root;
  });
  configure(program);
  return program;
}

/** The words before the first option, but for `--root DIR`. */
function leadingWords(argv: readonly string[]): readonly string[] {
  const from = argv[0] === '--root' ? 2 : argv[0]?.startsWith('--root=') === true ? 1 : 0;
  const end = argv.findIndex((word, index) => index >= from && word.startsWith('-'));
  return argv.slice(from, end < 0 ? undefined : end);
}

/** The program with the command that is run; with all where it goes by another name, or does not exist. */
function programFor(argv: readonly string[]): Command {
  const words = leadingWords(argv);
  if (words.length === 0) return createProgram();
  const program = createProgram(words);
  const [command] = program.commands;
  const isGroup = command !== undefined && command.registeredArguments.length === 0 && words.length > 1;
  const isFound = command !== undefined && (!isGroup || command.commands.length > 0);
  return isFound ? program : createProgram();
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

export async function main(words: readonly string[]): Promise<void> {
  const argv = withBooleans(words);
  const program = programFor(argv);
  // Readers that go away (`| head`) end the program silently, as SIGPIPE would.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : report(error, program, argv));
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
    const hint = error.hint === '' ? '' : `${visibleLines(error.hint)}\n`;
    process.stderr.write(`lamina: ${visibleLines(error.message)}${label}\n${hint}`);
    return error.exitCode;
  }
  // A call of the system that nobody has put into words: a full disk may be found anywhere.
  const { syscall, path } = (error ?? {}) as NodeJS.ErrnoException;
  if (syscall !== undefined) return report(fromSystemError(error, `cannot ${syscall}`, path), program, argv);
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
  const most = command.registeredArguments.length;
  const isOpen = command.registeredArguments.some(({ variadic }) => variadic);
  const isExact = !isOpen && needed === most;
  const isTooMany = error.code === 'commander.excessArguments';
  const number = isTooMany && !isOpen ? most : needed;
  const limit = isExact ? '' : isTooMany ? 'at most ' : 'at least ';
  const count = `${limit}${number} argument${number === 1 ? '' : 's'}`;
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

/** As docker's flags that are true or false: `--tls-verify` takes no word after it, but may have `=false`. */
function withBooleans(argv: readonly string[]): string[] {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  return argv.map((word, index) =>
    index < end && /^--((src|dest)-)?tls-verify$/.test(word) ? `${word}=true` : word,
  );
}
