/** The bash script. Names that are asked for at run time are compared, not expanded: a directory may be called `$(...)`. */
import { placesOf } from './model.js';
import type { CompletedCommand } from './model.js';

export function bashScript(commands: readonly CompletedCommand[]): string {
  return `# bash completion of lamina. Load it with: source <(lamina completion bash)
_lamina() {
  local word words=() joined= path=lamina flag= kinds= choices= line IFS=$' \\t\\n'
  local -i i position=0
  # bash breaks words at colons and equal signs, which names of images have.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i > 0)) && [[ $word == [:=] ]]; then words[\${#words[@]}-1]+=$word joined=1
    elif [[ -n $joined ]]; then words[\${#words[@]}-1]+=$word joined=
    else words+=("$word"); fi
  done
  local cur=\${words[\${#words[@]}-1]}
  for ((i = 1; i < \${#words[@]} - 1; i++)); do
    word=\${words[i]}
    if [[ -n $flag ]]; then flag=; continue; fi
    case "$path $word" in
${valueFlags(commands)}      *' -'?*) ;;
${steps(commands)}      *) position+=1 ;;
    esac
  done
  if [[ -n $flag ]]; then
    case "$path $flag" in
${flagWords(commands)}      *) ;;
    esac
  elif [[ $cur == -* ]]; then
    case $path in
${flags(commands)}    esac
  else
    case "$path $position" in
${places(commands)}    esac
  fi
  COMPREPLY=()
  for word in $choices; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
  for word in $kinds; do
    if [[ $word == file ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
    else
      [[ $word == mount ]] && compopt -o filenames 2>/dev/null
      while IFS= read -r line; do
        [[ $line == "$cur"* ]] && COMPREPLY+=("$line")
      done < <("\${COMP_WORDS[0]}" __complete "$word" 2>/dev/null)
    fi
  done
  if [[ $cur == *[:=]* && $COMP_WORDBREAKS == *[:=]* ]]; then
    line=\${cur%"\${cur##*[:=]}"}
    COMPREPLY=("\${COMPREPLY[@]#"$line"}")
  fi
}
complete -F _lamina lamina
`;
}

/** A flag and its value in one word, \`--output=x\`, is another word and needs no case. */
function valueFlags(commands: readonly CompletedCommand[]): string {
  const patterns = commands.flatMap(({ path, flags: all }) =>
    all
      .filter(({ value }) => value !== undefined)
      .flatMap(({ names }) => names.map((name) => `${path} ${name}`)),
  );
  return patterns.length === 0 ? '' : `      ${patterns.map(shellQuote).join('|')}) flag=$word ;;\n`;
}

function steps(commands: readonly CompletedCommand[]): string {
  return commands
    .flatMap(({ path, children }) => children.map((child) => ({ path, child })))
    .map(({ path, child }) => {
      const patterns = child.names.map((name) => shellQuote(`${path} ${name}`));
      return `      ${patterns.join('|')}) path=${shellQuote(child.path)} ;;\n`;
    })
    .join('');
}

function flagWords(commands: readonly CompletedCommand[]): string {
  return commands
    .flatMap(({ path, flags: all }) =>
      all
        .filter(({ value }) => value !== undefined && value !== 'none')
        .map(({ names, value }) => {
          const patterns = names.map((name) => shellQuote(`${path} ${name}`));
          return `      ${patterns.join('|')}) kinds=${value} ;;\n`;
        }),
    )
    .join('');
}

function flags(commands: readonly CompletedCommand[]): string {
  return commands
    .map(({ path, flags: all }) => {
      const names = all.flatMap(({ names: some }) => some);
      return `      ${shellQuote(path)}) choices=${shellQuote(names.join(' '))} ;;\n`;
    })
    .join('');
}

function places(commands: readonly CompletedCommand[]): string {
  return commands
    .flatMap((command) => {
      const names = command.children.flatMap(({ names: some }) => some);
      const own =
        names.length === 0
          ? []
          : [`      ${shellQuote(`${command.path} 0`)}) choices=${shellQuote(names.join(' '))} ;;\n`];
      const words = placesOf(command)
        .filter(({ words: some }) => some.some((word) => word !== 'none'))
        .map(
          ({ place, words: some }) =>
            `      ${placePattern(place)}) kinds=${shellQuote(some.join(' '))} ;;\n`,
        );
      return [...own, ...words];
    })
    .join('');
}

export function placePattern(place: string): string {
  return place.endsWith(' *') ? `${shellQuote(place.slice(0, -1))}*` : shellQuote(place);
}

export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
