import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { withLock } from '../../../src/store/lock.js';

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
  await Promise.all(Array.from({ length: 6 }, () => withLock(name, never, work)));
  expect(most).toBe(1);
});

it('does no work that somebody else has done meanwhile', async () => {
  const name = randomBytes(8).toString('hex');
  let result: string | undefined;
  let worked = 0;
  const ask = (): Promise<string> =>
    withLock(
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
  await expect(withLock(name, never, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await withLock(name, never, async () => 1)).toBe(1);
});

it('is free again when its holder is killed', async () => {
  const name = randomBytes(8).toString('hex');
  const script = `require('net').createServer().listen('\\0lamina-lock/${name}', () => console.log('held')); setInterval(() => {}, 1e3);`;
  const holder = spawn(process.execPath, ['-e', script]);
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const waiting = withLock(name, never, async () => 'mine');
  holder.kill('SIGKILL');
  expect(await waiting).toBe('mine');
});
