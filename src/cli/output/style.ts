/** Colours, where they are wanted: on a terminal that is not dumb, unless NO_COLOR is set (https://no-color.org). */
import { inspect } from 'node:util';

/** Node's names of SGR codes. */
export type Format =
  'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'gray' | 'inverse';

export type Style = (format: Format, text: string) => string;

export function createStyle(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Style {
  const isWanted = stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  if (!isWanted) return (_, text) => text;
  return (format, text) => {
    const [on, off] = inspect.colors[format]!;
    return `\x1b[${on}m${text}\x1b[${off}m`;
  };
}
