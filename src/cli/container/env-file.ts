/** `--env-file` (docker/cli: pkg/kvfile): lines NAME=VALUE or NAME, comments with #, nothing is unquoted. */
import { readFileSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../../errors.js';

/** NAME=VALUE; a name alone takes its value from here. Raises ENOENT and the like, EUSAGE. */
export function readEnvFile(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fromSystemError(error, 'cannot read', file);
  }
  return text
    .replace(/^\ufeff/, '')
    .split('\n')
    .map((line) => line.replace(/\r$/, '').trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap((line) => {
      const at = line.indexOf('=');
      const name = at < 0 ? line : line.slice(0, at);
      if (name === '' || /\s/.test(name))
        throw new LaminaError(
          'EUSAGE',
          `invalid env file (${file}): variable '${name}' contains whitespaces`,
        );
      if (at >= 0) return [line];
      const value = process.env[name];
      return value === undefined ? [] : [`${name}=${value}`];
    });
}
