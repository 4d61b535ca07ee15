/** What history says of an instruction that made no layer: BuildKit's text (dockerfile2llb/convert.go). */
import type { RunConfigJson } from '../image/change.js';
import type { Instruction } from '../image/instruction.js';

export function createdBy({ name, rest }: Instruction, before: RunConfigJson, after: RunConfigJson): string {
  switch (name) {
    case 'ENV':
      return `ENV ${added(before['Env'], after['Env']).join(' ') || rest}`;
    case 'LABEL':
      return `LABEL ${changedMembers(before['Labels'], after['Labels']).join(' ') || rest}`;
    case 'CMD':
      return `CMD ${quoted(after['Cmd'])}`;
    case 'ENTRYPOINT':
      return `ENTRYPOINT ${quoted(after['Entrypoint'])}`;
    case 'SHELL':
      return `SHELL [${(after['Shell'] as string[]).join(' ')}]`;
    case 'EXPOSE':
      return `EXPOSE [${newKeys(before['ExposedPorts'], after['ExposedPorts']).join(' ') || rest}]`;
    case 'VOLUME':
      return `VOLUME [${newKeys(before['Volumes'], after['Volumes']).join(' ') || rest}]`;
    case 'USER':
      return `USER ${String(after['User'])}`;
    case 'STOPSIGNAL':
      return `STOPSIGNAL ${String(after['StopSignal'])}`;
    default:
      return `${name} ${rest}`;
  }
}

/** Go's %q of a list of strings. */
function quoted(words: unknown): string {
  return `[${(Array.isArray(words) ? words : []).map((word) => JSON.stringify(word)).join(' ')}]`;
}

function added(before: unknown, after: unknown): string[] {
  const known = Array.isArray(before) ? before : [];
  return (after as string[]).filter((pair) => !known.includes(pair));
}

function changedMembers(before: unknown, after: unknown): string[] {
  const known = (before ?? {}) as Record<string, string>;
  return Object.entries(after as Record<string, string>)
    .filter(([key, value]) => known[key] !== value)
    .map(([key, value]) => `${key}=${value}`);
}

function newKeys(before: unknown, after: unknown): string[] {
  const known = Object.keys((before ?? {}) as object);
  return Object.keys(after as object).filter((key) => !known.includes(key));
}
