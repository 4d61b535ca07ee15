/** The order in which the portable driver's note of what it has half done comes to the disk. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import type * as Fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Undo } from '../../../src/mount/drivers/portable/undo.js';
import type { Upper } from '../../../src/mount/drivers/portable/upper.js';

const { synced } = vi.hoisted(() => ({ synced: [] as { path: string; content?: string }[] }));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof Fs>();
  return {
    ...fs,
    fsyncSync(fd: number) {
      const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
      const isFile = fs.fstatSync(fd).isFile();
      synced.push(isFile ? { path, content: fs.readFileSync(path, 'latin1') } : { path });
      fs.fsyncSync(fd);
    },
  };
});

let base: string;
let work: string;
let workFd: number;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-undo-'));
  work = join(base, 'work');
  mkdirSync(work);
  workFd = openSync(work, 'r');
  work = readlinkSync(`/proc/self/fd/${workFd}`);
  synced.length = 0;
});
afterEach(() => {
  closeSync(workFd);
  rmSync(base, { recursive: true });
});

test('it is whole on the disk, and so is its name, before a name moves', () => {
  const undo = new Undo({} as Upper, workFd);
  const file = join(work, 'undo');
  const content = '["/a/\xe9","/b"]\n';
  let syncedBefore: unknown;
  undo.guard(['/a/\xe9', '/b'], () => {
    syncedBefore = [...synced];
    expect(readFileSync(file, 'latin1')).toBe(content);
  });
  expect(syncedBefore).toEqual([{ path: file, content }, { path: work }]);
  expect(() => readFileSync(file)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});
