/**
 * A Dockerfile as a list of instructions. dockerfile-ast finds the parser directives and where each instruction begins and ends; what
 * it leaves to us is done here: comments and blank lines inside of a continued instruction, here-documents with a number before
 * `<<`, and what a here-document holds. Source: the Dockerfile reference; moby/buildkit frontend/dockerfile/parser.
 */
import { DockerfileParser } from 'dockerfile-ast';
import { expand, ExpansionError, splitWords } from '../image/expand.js';
import { dockerfileError } from './errors.js';

export interface Heredoc {
  /** What ends it, which is also the name of the file that it stands for. */
  name: string;
  content: string;
  /** The name is not quoted: variables count. */
  isExpanded: boolean;
}

/** `--name=value`, or `--name` alone. */
export interface Flag {
  name: string;
  value: string | undefined;
}

export interface DockerfileInstruction {
  /** Upper case. */
  name: string;
  flags: readonly Flag[];
  /** All behind the flags, its lines joined. */
  rest: string;
  heredocs: readonly Heredoc[];
  /** As people wrote it, on one line, without what here-documents hold. */
  text: string;
  /** Of the file, from 1. */
  line: number;
  endLine: number;
}

export interface Dockerfile {
  /** What it is called in messages. */
  file: string;
  text: string;
  /** A backslash, or a backquote. */
  escape: string;
  instructions: readonly DockerfileInstruction[];
}

const WITH_FLAGS = new Set(['FROM', 'RUN', 'COPY', 'ADD']);
const WITH_HEREDOCS = new Set(['RUN', 'COPY', 'ADD']);
const KNOWN = new Set(
  (
    'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER ' +
    'VOLUME WORKDIR'
  ).split(' '),
);

/** Raises EDOCKERFILE, which names the line. */
export function parseDockerfile(text: string, file: string): Dockerfile {
  const source = text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
  const lines = source.split('\n');
  // A number before `<<` is not known to the package: blanks take its place, as long as it is only asked where things stand.
  const masked = source.replace(/(?<=\s)\d+(?=<<-?["'\w])/g, (digits) => ' '.repeat(digits.length));
  const ast = DockerfileParser.parse(masked);
  const escape = ast.getEscapeCharacter();
  const where = { file, text: source };
  for (const directive of ast.getDirectives()) {
    const [name, value] = [directive.getName().toLowerCase(), directive.getValue()];
    if (name === 'escape' && value !== '\\' && value !== '`')
      throw dockerfileError(where, 1, `invalid escape token '${value}' does not match ' or \\`);
  }
  const instructions = ast.getInstructions().map((instruction) => {
    const { start, end } = instruction.getRange();
    return readInstruction(lines, start.line, end.line, escape, where);
  });
  if (instructions.length === 0)
    throw dockerfileError(where, 1, 'file with no instructions', 'Begin it with: FROM IMAGE.');
  return { file, text: source, escape, instructions };
}

/** The instruction that an image keeps for those that are built from it. Raises EDOCKERFILE. */
export function parseTrigger(text: string, escape: string, of: DockerfileInstruction): DockerfileInstruction {
  const where = { file: 'ONBUILD', text };
  const lines = text.split('\n');
  return {
    ...readInstruction(lines, 0, lines.length - 1, escape, where),
    line: of.line,
    endLine: of.endLine,
  };
}

function readInstruction(
  lines: readonly string[],
  first: number,
  last: number,
  escape: string,
  where: { file: string; text: string },
): DockerfileInstruction {
  const continued = new RegExp(`^(.*[^${escapeSource(escape)}]|)${escapeSource(escape)}[ \\t]*$`, 's');
  let joined = '';
  let next = first;
  for (let isOpen = true; isOpen && next <= last; next++) {
    const line = lines[next]!;
    // Comments and blank lines between the lines of an instruction do not count.
    if (next > first && (/^\s*#/.test(line) || line.trim() === '')) continue;
    const match = continued.exec(line);
    joined += match === null ? line : match[1]!;
    isOpen = match !== null;
  }
  const text = joined.trim();
  const [, word = '', all = ''] = /^(\S+)\s*(.*)$/s.exec(text)!;
  const name = word.toUpperCase();
  if (!KNOWN.has(name))
    throw dockerfileError(
      where,
      first + 1,
      `unknown instruction: ${word}`,
      'The instructions: https://docs.docker.com/reference/dockerfile/',
    );
  const { flags, rest } = WITH_FLAGS.has(name) ? takeFlags(all) : { flags: [], rest: all };
  const inner = /^ONBUILD\s+(\S+)/i.exec(text)?.[1]?.toUpperCase() ?? '';
  const heredocs: Heredoc[] = [];
  if (WITH_HEREDOCS.has(name) || (name === 'ONBUILD' && WITH_HEREDOCS.has(inner)))
    for (const start of heredocStarts(rest, escape)) {
      const body: string[] = [];
      const strip = (line: string): string => (start.isChomped ? line.replace(/^\t+/, '') : line);
      while (next <= last && strip(lines[next]!) !== start.name) body.push(strip(lines[next++]!));
      if (next > last)
        throw dockerfileError(where, first + 1, `unterminated heredoc`, `End it with a line: ${start.name}`);
      next++;
      heredocs.push({
        name: start.name,
        content: body.map((line) => `${line}\n`).join(''),
        isExpanded: start.isExpanded,
      });
    }
  return { name, flags, rest, heredocs, text, line: first + 1, endLine: Math.max(first + 1, next) };
}

/** Flags stand before everything else; `--` ends them. */
function takeFlags(text: string): { flags: Flag[]; rest: string } {
  const flags: Flag[] = [];
  let rest = text;
  for (;;) {
    const match = /^--(\S*)\s*/.exec(rest);
    if (match === null) return { flags, rest };
    const whole = splitWords(rest)[0]!;
    rest = rest.slice(whole.length).trimStart();
    if (whole === '--') return { flags, rest };
    const [, name = '', value] = /^--([^=]*)(?:=(.*))?$/s.exec(whole)!;
    flags.push({ name, value });
  }
}

interface HeredocStart {
  name: string;
  /** `<<-`: leading tabs go. */
  isChomped: boolean;
  isExpanded: boolean;
}

/** The here-documents that the words of a line begin. */
export function heredocStarts(text: string, escape: string): HeredocStart[] {
  return splitWords(text, escape).flatMap((word) => heredocStart(word) ?? []);
}

/** `<<NAME`, `<<-NAME`, `3<<NAME`, the name perhaps in quotes; undefined for any other word. */
export function heredocStart(word: string): HeredocStart | undefined {
  const [, dash, quoted] = /^\d*<<(-?)([^<]+)$/.exec(word) ?? [];
  if (quoted === undefined) return undefined;
  try {
    const name = expand(quoted, () => undefined);
    return /^\s*$/.test(name) ? undefined : { name, isChomped: dash === '-', isExpanded: name === quoted };
  } catch (error) {
    if (error instanceof ExpansionError) return undefined;
    throw error;
  }
}

function escapeSource(escape: string): string {
  return escape === '\\' ? '\\\\' : '`';
}
