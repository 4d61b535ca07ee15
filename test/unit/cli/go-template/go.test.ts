/**
 * Templates as Go runs them. The expected outputs and errors are Go's own: test/fixtures/go-template/expected.json was written by generate.go
 * there. Where Go is installed, the file is compared with what it says now.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseTemplate, TemplateError } from '../../../../src/cli/go-template/template.js';
import { DATA } from '../../../helpers/go-template-data.js';
import { hasCommand } from '../../../helpers/require.js';

interface Case {
  data: string;
  template: string;
  output: string;
  error?: string;
}

const FIXTURES = fileURLToPath(new URL('../../../fixtures/go-template/', import.meta.url));
const CASES = JSON.parse(readFileSync(`${FIXTURES}expected.json`, 'utf8')) as Case[];

function run({ data, template }: Case): { output: string; error?: string } {
  try {
    const missingKey = data.endsWith('!') ? 'error' : 'default';
    return { output: parseTemplate(template).execute(DATA[data.replace('!', '')], { missingKey }) };
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { output: '', error: error.message };
  }
}

describe('as Go', () => {
  test.each(CASES)('$data: $template', (item) => {
    const { output, error } = item;
    expect(run(item)).toEqual({ output, ...(error === undefined ? {} : { error }) });
  });
});

// Go's distribution is too large (470 MB) to be asked of every machine that runs the tests.
const hasGo = hasCommand('go');
if (!hasGo) process.stderr.write('skipped: needs command go; the expected outputs were made by it\n');

test.skipIf(!hasGo)('the expected outputs are what Go says', { timeout: 300_000 }, () => {
  const { stdout, stderr } = spawnSync('go', ['run', `${FIXTURES}generate.go`], {
    input: readFileSync(`${FIXTURES}cases.json`),
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual(CASES);
});
