/** The fish script: one function prints what fits, with descriptions. */
import { placesOf } from './model.js';
import type { CompletedCommand } from './model.js';

export function fishScript(commands: readonly CompletedCommand[]): string {
  return `# fish completion of lamina. Load it with: lamina completion fish | source
function __lamina_complete
    set -l at lamina
    set -l flag ''
    set -l position 0
    set -l kinds
    set -l tokens (commandline -opc)
    set -l current (commandline -ct)
    set -l program $tokens[1]
    set -e tokens[1]
    for word in $tokens
        if test -n "$flag"
            set flag ''
            continue
        end
        switch "$at $word"
${cases(commands, valueFlags)}            case '* -?*'
                continue
${cases(commands, steps)}            case '*'
                set position (math $position + 1)
        end
    end
    if test -n "$flag"
        switch "$at $flag"
${cases(commands, flagWords)}            case '*'
                return
        end
    else if string match -q -- '-*' "$current"
        switch "$at"
${cases(commands, flags)}        end
        return
    else
        switch "$at $position"
${cases(commands, places)}        end
    end
    for kind in $kinds
        if test $kind = file
            __fish_complete_path "$current"
        else
            $program __complete $kind 2>/dev/null
        end
    end
end
complete -c lamina -f -a '(__lamina_complete)'
`;
}

type Case = readonly [patterns: readonly string[], action: readonly string[]];

function cases(commands: readonly CompletedCommand[], make: (command: CompletedCommand) => Case[]): string {
  return commands
    .flatMap(make)
    .map(([patterns, action]) => {
      const lines = action.map((line) => `                ${line}\n`).join('');
      return `            case ${patterns.map(fishQuote).join(' ')}\n${lines}`;
    })
    .join('');
}

function valueFlags({ path, flags: all }: CompletedCommand): Case[] {
  return all
    .filter(({ value }) => value !== undefined)
    .map(({ names }) => [names.map((name) => `${path} ${name}`), ['set flag $word']]);
}

function steps({ path, children }: CompletedCommand): Case[] {
  return children.map((child) => [
    child.names.map((name) => `${path} ${name}`),
    [`set at ${fishQuote(child.path)}`],
  ]);
}

function flagWords({ path, flags: all }: CompletedCommand): Case[] {
  return all
    .filter(({ value }) => value !== undefined && value !== 'none')
    .map(({ names, value }) => [names.map((name) => `${path} ${name}`), [`set kinds ${value}`]]);
}

function flags({ path, flags: all }: CompletedCommand): Case[] {
  const described = all.flatMap(({ names, description }) => names.map((name) => entry(name, description)));
  return [[[path], described]];
}

function places(command: CompletedCommand): Case[] {
  const described = command.children.flatMap(({ names, description }) =>
    names.map((name) => entry(name, description)),
  );
  const own: Case[] = described.length === 0 ? [] : [[[`${command.path} 0`], described]];
  const words = placesOf(command)
    .filter(({ words: some }) => some.some((word) => word !== 'none'))
    .map(({ place, words: some }): Case => [[place], [`set kinds ${some.join(' ')}`]]);
  return [...own, ...words];
}

function entry(name: string, description: string): string {
  return `printf '%s\\t%s\\n' ${fishQuote(name)} ${fishQuote(description)}`;
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
