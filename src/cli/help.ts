/** Help and usage errors in docker's shape (docker/cli: cli/cobra.go, cli/required.go). */
import { Command, Help } from 'commander';
import type { CommandOptions, ExecutableCommandOptions, Option } from 'commander';
import { LaminaError } from '../errors.js';

/** A command whose help looks like docker's; every command of the program is one. */
export class DockerStyleCommand extends Command {
  /** The words of the command line that name commands below this one; undefined: all commands are wanted. */
  #wanted: readonly string[] | undefined;

  /** With `wanted`, commands that the words do not name are not made. */
  constructor(name?: string, wanted?: readonly string[]) {
    super(name);
    this.#wanted = wanted?.length === 0 ? undefined : wanted;
  }

  override createCommand(name?: string): DockerStyleCommand {
    return new DockerStyleCommand(name, this.#wanted?.slice(1));
  }

  override command(nameAndArgs: string, options?: CommandOptions): ReturnType<this['createCommand']>;
  override command(nameAndArgs: string, description: string, options?: ExecutableCommandOptions): this;
  override command(nameAndArgs: string, ...rest: unknown[]): never {
    const isWanted = this.#wanted === undefined || nameAndArgs.split(' ')[0] === this.#wanted[0];
    return (isWanted ? super.command(nameAndArgs, ...(rest as [])) : UNWANTED) as never;
  }

  /** The usage line that the command was given, where the computed one would not do. */
  ownUsage: string | undefined;

  override usage(): string;
  override usage(text: string): this;
  override usage(text?: string): this | string {
    if (text === undefined) return super.usage();
    this.ownUsage = text;
    return super.usage(text);
  }

  /** Switches may be given a value, as pflag takes it: `--quiet=true`, `--human=false`. */
  override parseOptions(args: string[]): ReturnType<Command['parseOptions']> {
    const end = this.#ownWords(args);
    return super.parseOptions(
      args.flatMap((word, index) => (end >= 0 && index > end ? [word] : this.#switched(word))),
    );
  }

  /** Where the words of another program begin: after `--`, or after the first operand of a command that runs one. -1: nowhere. */
  #ownWords(args: readonly string[]): number {
    if (!(this as unknown as { _passThroughOptions: boolean })._passThroughOptions) return args.indexOf('--');
    for (let index = 0; index < args.length; index++) {
      const word = args[index]!;
      if (word === '--' || !/^-./.test(word)) return index;
      if (this.#takesNext(word)) index++;
    }
    return -1;
  }

  /** Whether the value of the option, or of the last of several short ones, is the next word. */
  #takesNext(word: string): boolean {
    if (word.startsWith('--')) return this.options.some(({ long, required }) => long === word && required);
    for (let at = 1; at < word.length; at++)
      if (this.options.some(({ short, required }) => short === `-${word[at]}` && required))
        return at === word.length - 1;
    return false;
  }

  /** `--name` and `--no-name` of a switch that is given a value; other words are left as they are. */
  #switched(word: string): string[] {
    const [, dashes = '', name = '', value = ''] =
      /^(--?)([\w-]+)=(true|false|1|0|t|f|T|F)$/i.exec(word) ?? [];
    const long = dashes === '--' ? `--${name}` : undefined;
    const option = this.options.find((known) =>
      long === undefined ? known.short === `-${name}` : known.long === long,
    );
    if (option === undefined || option.required || option.optional) return [word];
    if (/^(true|1|t)$/i.test(value)) return [option.long ?? option.short!];
    const negation = option.negate
      ? option.long!.replace(/^--no-/, '--')
      : option.long!.replace(/^--/, '--no-');
    return this.options.some((known) => known.long === negation) ? [negation] : [];
  }

  override createHelp(): Help {
    return Object.assign(new DockerStyleHelp(), this.configureHelp());
  }
}

/** Stands for a command that is not made: whatever is said of it is forgotten. */
const UNWANTED: unknown = new Proxy({}, { get: () => () => UNWANTED });

class DockerStyleHelp extends Help {
  override formatHelp(command: Command, helper: Help): string {
    const name = commandPath(command);
    const commands = helper.visibleCommands(command);
    const parts = [`Usage:  ${name} ${usageOf(command)}`, command.description()];
    const aliases = command.aliases();
    if (aliases.length > 0)
      parts.push(
        `Aliases:\n  ${[name, ...aliases.map((alias) => `${commandPath(command.parent!)} ${alias}`)].join(', ')}`,
      );
    if (commands.length > 0)
      parts.push(
        `Commands:\n${table(commands.map((child) => [child.name(), firstLine(child.description())]))}`,
      );
    const options = helper.visibleOptions(command).filter((option) => option.long !== '--help');
    if (options.length > 0)
      parts.push(
        `${command.parent === null ? 'Global Options' : 'Options'}:\n${table(options.map(optionRow))}`,
      );
    if (commands.length > 0) parts.push(`Run '${name} COMMAND --help' for more information on a command.`);
    return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0]!;
}

/** `-q, --quiet`, with the long names in one column whether or not there is a short one. */
function optionRow(option: Option): [string, string] {
  const value = /[<[](.*)[>\]]/.exec(option.flags)?.[1];
  const short = option.short === undefined ? '    ' : `${option.short}, `;
  const shown =
    option.defaultValue === undefined || option.defaultValue === false || Array.isArray(option.defaultValue)
      ? ''
      : ` (default ${JSON.stringify(option.defaultValue)})`;
  return [
    `${short}${option.long ?? ''}${value === undefined ? '' : ` ${value}`}`,
    `${option.description}${shown}`,
  ];
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return rows
    .map(([left, right]) =>
      `  ${left.padEnd(width)}${right.replaceAll('\n', `\n${' '.repeat(width + 2)}`)}`.trimEnd(),
    )
    .join('\n');
}

function usageOf(command: Command): string {
  if (command instanceof DockerStyleCommand && command.ownUsage !== undefined) return command.ownUsage;
  const options = command.options.length > 0 ? ['[OPTIONS]'] : [];
  if (command.commands.length > 0) return [...options, 'COMMAND'].join(' ');
  const args = command.registeredArguments.map((argument) => {
    const name = argument.name().toUpperCase();
    const repeated = argument.variadic ? `${name} [${name}...]` : name;
    return argument.required ? repeated : `[${argument.variadic ? `${name}...` : name}]`;
  });
  return [...options, ...args].join(' ');
}

export function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`;
}

/** A usage error as docker words it, for what commander found wrong with `command`. */
export function usageError(command: Command, message: string): LaminaError {
  const name = commandPath(command);
  return new LaminaError('EUSAGE', message, {
    hint: `\nUsage:  ${name} ${usageOf(command)}\n\nRun '${name} --help' for more information`,
  });
}
