/** `--chmod` by chmod(1) itself. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseChmod } from '../../../src/build/chmod.js';

test.each([
  '755',
  '0640',
  '4711',
  'u=rwX,go=rX',
  'a+x',
  'go-rwx',
  '+x',
  'u+s,g+s',
  'o+t',
  'g=u',
  'ug=rw,o=',
  'a=r',
])('%s', (text) => {
  const directory = mkdtempSync(join(tmpdir(), 'lamina-chmod-'));
  const file = join(directory, 'f');
  writeFileSync(file, '');
  try {
    for (const mode of [0o644, 0o755, 0o600, 0o7711]) {
      chmodSync(file, mode);
      execFileSync('sh', ['-c', 'umask 0; chmod "$1" "$2"', 'sh', text, file]);
      expect(parseChmod(text)(mode, false).toString(8)).toBe((statSync(file).mode & 0o7777).toString(8));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.each(['', '888', 'u=q', 'u', '12345678'])('%j is refused', (text) =>
  expect(() => parseChmod(text)).toThrow(/invalid chmod parameter/),
);
