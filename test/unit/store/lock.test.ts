import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { withLock } from '../../../src/store/lock.js';

let directory: string;
beforeEach(() => (directory = mkdtempSync(path.join(tmpdir(), 'lamina-lock-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const never = async (): Promise<undefined> => undefined;

it('lets one at a time in', async () => {
  const name = randomBytes(8).toString('hex');
  let inside = 0;
  let most = 0;
  const work = async (): Promise<number> => {
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return inside--;
  };
  await Promise.all(Array.from({ length: 6 }, () => withLock(directory, name, never, work)));
  expect(most).toBe(1);
});

it('does no work that somebody else has done meanwhile', async () => {
  const name = randomBytes(8).toString('hex');
  let result: string | undefined;
  let worked = 0;
  const ask = (): Promise<string> =>
    withLock(
      directory,
      name,
      async () => result,
      async () => {
        worked++;
        await new Promise((resolve) => setTimeout(resolve, 10));
        return (result = 'done');
      },
    );
  expect(await Promise.all([ask(), ask(), ask()])).toEqual(['done', 'done', 'done']);
  expect(worked).toBe(1);
});

it('is free again when work fails', async () => {
  const name = randomBytes(8).toString('hex');
  await expect(withLock(directory, name, never, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await withLock(directory, name, never, async () => 1)).toBe(1);
});

it('is free again when its holder is killed', async () => {
  const name = randomBytes(8).toString('hex');
  const script = `require('net').createServer().listen('${directory}/${name}.lock', () => console.log('held')); setInterval(() => {}, 1e3);`;
  const holder = spawn(process.execPath, ['-e', script]);
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const waiting = withLock(directory, name, never, async () => 'mine');
  holder.kill('SIGKILL');
  expect(await waiting).toBe('mine');
  expect(readdirSync(directory)).toEqual([]);
});
