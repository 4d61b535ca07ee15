/** The zsh script: loaded as it is, or as the file `_lamina` in a directory of $fpath. */
import { placePattern, shellQuote } from './bash.js';
import { placesOf } from './model.js';
import type { CompletedCommand } from './model.js';

export function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef lamina
# zsh completion of lamina. Load it with: source <(lamina completion zsh)
_lamina() {
  local word at=lamina flag= kind
  local -i i position=0
  local -a kinds choices
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ -n $flag ]]; then flag=; continue; fi
    case "$at $word" in
${cases(commands, valueFlags)}      *' -'?*) ;;
${cases(commands, steps)}      *) position+=1 ;;
    esac
  done
  if [[ -n $flag ]]; then
    case "$at $flag" in
${cases(commands, flagWords)}      *) ;;
    esac
  elif [[ $words[CURRENT] == -* ]]; then
    case $at in
${cases(commands, flags)}    esac
    _describe -o option choices
    return
  else
    case "$at $position" in
${cases(commands, places)}    esac
    (( $#choices )) && _describe command choices
  fi
  for kind in $kinds; do
    if [[ $kind == file ]]; then _files
    else
      choices=(\${(f)"$($words[1] __complete $kind 2>/dev/null)"})
      compadd -a choices
    fi
  done
}
if [[ \${funcstack[1]} == _lamina ]]; then _lamina "$@"; else compdef _lamina lamina; fi
`;
}

/** A pattern and what is done where it fits. */
type Case = readonly [pattern: string, action: string];

function cases(commands: readonly CompletedCommand[], make: (command: CompletedCommand) => Case[]): string {
  return commands
    .flatMap(make)
    .map(([pattern, action]) => `      ${pattern}) ${action} ;;\n`)
    .join('');
}

function valueFlags({ path, flags: all }: CompletedCommand): Case[] {
  return all
    .filter(({ value }) => value !== undefined)
    .map(({ names }) => [oneOf(path, names), 'flag=$word']);
}

function steps({ path, children }: CompletedCommand): Case[] {
  return children.map((child) => [oneOf(path, child.names), `at=${shellQuote(child.path)}`]);
}

function flagWords({ path, flags: all }: CompletedCommand): Case[] {
  return all
    .filter(({ value }) => value !== undefined && value !== 'none')
    .map(({ names, value }) => [oneOf(path, names), `kinds=(${value})`]);
}

function flags({ path, flags: all }: CompletedCommand): Case[] {
  const described = all.flatMap(({ names, description }) => names.map((name) => entry(name, description)));
  return [[shellQuote(path), `choices=(${described.join(' ')})`]];
}

function places(command: CompletedCommand): Case[] {
  const described = command.children.flatMap(({ names, description }) =>
    names.map((name) => entry(name, description)),
  );
  const own: Case[] =
    described.length === 0 ? [] : [[shellQuote(`${command.path} 0`), `choices=(${described.join(' ')})`]];
  const words = placesOf(command)
    .filter(({ words: some }) => some.some((word) => word !== 'none'))
    .map(({ place, words: some }): Case => [placePattern(place), `kinds=(${some.join(' ')})`]);
  return [...own, ...words];
}

function oneOf(path: string, names: readonly string[]): string {
  return names.map((name) => shellQuote(`${path} ${name}`)).join('|');
}

function entry(name: string, description: string): string {
  return shellQuote(`${name.replaceAll(':', '\\:')}:${description}`);
}
