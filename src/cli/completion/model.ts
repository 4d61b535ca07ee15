/** What can be typed at each place of a command line, from the program itself: the shells' scripts are written from this. */
import type { Command, Option } from 'commander';
import { commandPath } from '../help.js';

/** What a word stands for; names are asked of `lamina __complete`. */
export type Word = 'image' | 'container' | 'mount' | 'file' | 'none';

export interface CompletedFlag {
  /** `--output`, `-o`. */
  names: readonly string[];
  description: string;
  /** What its value is, where it takes one. */
  value: Word | undefined;
}

export interface CompletedCommand {
  /** `lamina image rm` */
  path: string;
  children: readonly { names: readonly string[]; path: string; description: string }[];
  flags: readonly CompletedFlag[];
  /** For each argument what it may be. */
  args: readonly (readonly Word[])[];
  /** The last argument may be repeated. */
  isOpen: boolean;
}

const FILE_VALUES = new Set([
  ...['--root', '--output', '--input', '--file', '--svg', '--work', '--iidfile', '--digestfile'],
  ...['--cert-dir', '--src-cert-dir', '--dest-cert-dir'],
]);

/** Commands that take archives and layouts besides stored images. */
const ALSO_FILES = /^lamina (?:mount|create|container create|fs|analyze|bench)\b/;

export function modelOf(command: Command): CompletedCommand[] {
  const path = commandPath(command);
  const children = command.commands.filter((child) => !child.name().startsWith('__'));
  const args = command.registeredArguments;
  return [
    {
      path,
      children: children.map((child) => ({
        names: [child.name(), ...child.aliases()],
        path: commandPath(child),
        description: child.description().split('\n')[0]!,
      })),
      flags: [...command.options.filter(({ hidden }) => !hidden).map(flagOf), HELP],
      args: args.map((argument) => wordsOf(path, argument.name())),
      isOpen: args.at(-1)?.variadic === true,
    },
    ...children.flatMap(modelOf),
  ];
}

const HELP: CompletedFlag = { names: ['--help'], description: 'Print usage', value: undefined };

function flagOf({ long, short, description, required, optional }: Option): CompletedFlag {
  const names = [long, short].filter((name) => name !== undefined && name !== null);
  const takesValue = required || optional;
  return {
    names,
    description: description.split('\n')[0]!,
    value: takesValue ? (FILE_VALUES.has(long ?? '') ? 'file' : 'none') : undefined,
  };
}

function wordsOf(path: string, name: string): readonly Word[] {
  if (path === 'lamina umount') return ['mount'];
  if (path === 'lamina mount' && name === 'image') return ['container', 'image', 'file'];
  if (/ cp$/.test(path) && name !== 'image') return ['container', 'file'];
  if (/ copy$/.test(path)) return ['image', 'file'];
  if (/ (?:tag|commit)$/.test(path) && name !== 'container') return ['image'];
  if (/\binspect$/.test(path) && name === 'name') return ['container', 'image'];
  if (name === 'image') return ALSO_FILES.test(path) ? ['image', 'file'] : ['image'];
  if (name === 'container') return ['container'];
  return /^(?:dir|file|directory)$/.test(name) ? ['file'] : ['none'];
}

/** Of each place below a command the words: for `lamina tag`, `lamina tag 0` and `lamina tag 1`; a `*` stands for what follows. */
export function placesOf({
  path,
  args,
  isOpen,
}: CompletedCommand): { place: string; words: readonly Word[] }[] {
  return args.map((words, index) => ({
    place: `${path} ${isOpen && index === args.length - 1 ? '*' : index}`,
    words,
  }));
}
