import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, fromSystemError, LaminaError } from '../../src/errors.js';

const TOP = fileURLToPath(new URL('../../', import.meta.url));
const README = readFileSync(path.join(TOP, 'README.md'), 'utf8');
const TESTS = readdirSync(path.join(TOP, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts') && name !== 'unit/errors.test.ts')
  .map((name) => readFileSync(path.join(TOP, 'test', name), 'utf8'))
  .join('\n');

describe.each(Object.keys(ERROR_CODES))('%s', (code) => {
  it('is in the table of README', () => expect(README).toContain(`\`${code}\``));
  it('is raised by some test', () => expect(TESTS).toMatch(new RegExp(`\\b${code}\\b`)));
});

it('keeps a POSIX code that the system gave, and calls the rest EIO', () => {
  const system = (code: string): Error => Object.assign(new Error('no'), { code, syscall: 'open' });
  expect(fromSystemError(system('ENOENT'), 'cannot open', 'x')).toMatchObject({
    code: 'ENOENT',
    syscall: 'open',
    path: 'x',
  });
  expect(fromSystemError(system('EMFILE'), 'cannot open')).toMatchObject({ code: 'EIO', errno: 'EMFILE' });
  const own = new LaminaError('EDIGEST', 'wrong');
  expect(fromSystemError(own, 'cannot open')).toBe(own);
});

it('has an exit status for every code: 125 for usage and what cannot be started, 126 and 127 as a shell, 64 as docker inspect for a template, 1 for the rest', () => {
  const statuses = Object.entries(ERROR_CODES).map(([code, { exitCode }]) => [code, exitCode]);
  expect(statuses.filter(([, exitCode]) => exitCode !== 1)).toEqual([
    ['EUSAGE', 125],
    ['ENORUNTIME', 125],
    ['ERUNTIME', 125],
    ['EUSER', 125],
    ['ENOCOMMAND', 127],
    ['ENOTEXECUTABLE', 126],
    ['ETEMPLATE', 64],
  ]);
});
