/** The process of the portable driver: how it begins, ends and fails, seen from outside of it. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLaminaBuilt, lamina, laminaOk } from '../../helpers/lamina.js';
import { needs, requirement } from '../../helpers/require.js';
import { dir, dockerArchive, file } from '../../helpers/stack.js';
import type { Stack } from '../../helpers/stack.js';

const CONTENT = 'x'.repeat(400_000);
const STACK: Stack = [[dir('d'), file('d/\xff\xfe', 'bytes'), file('big', CONTENT)]];

const canRun =
  needs('root', '/dev/fuse') && requirement('a built lamina (npm run build)', isLaminaBuilt('fuse-native'));

let base: string;
let root: string;
let mnt: string;
let archive: string;

describe.skipIf(!canRun)('the server of the portable driver', () => {
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lamina-portable-'));
    [root, mnt, archive] = [join(base, 'root'), join(base, 'mnt'), join(base, 'image.tar')];
    mkdirSync(mnt);
    process.env.LAMINA_RUN = join(base, 'run');
    dockerArchive(STACK, archive);
  });

  afterEach(async () => {
    if (isMounted()) await lamina(['umount', '--lazy', mnt], root);
    delete process.env.LAMINA_RUN;
    rmSync(base, { recursive: true, force: true });
  });

  const isMounted = (): boolean => readFileSync('/proc/self/mountinfo', 'latin1').includes(` ${mnt} `);

  async function mount(): Promise<number> {
    await laminaOk(['mount', '--driver', 'fuse-native', archive, mnt], root);
    const [record] = (await laminaOk(['mounts', '--format', 'json'], root)).trim().split('\n');
    return Number((JSON.parse(record!) as { PID: string }).PID);
  }

  /** Waits until `condition` holds; a process whose parent has not waited for it yet is not running. */
  async function until(condition: () => boolean): Promise<void> {
    for (let waitedMs = 0; !condition(); waitedMs += 20) {
      if (waitedMs > 5000) throw new Error('waited for 5 s');
      await setTimeout(20);
    }
  }

  const isRunning = (pid: number): boolean => {
    try {
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
    } catch {
      return false;
    }
  };

  test('ends when the mount does, and takes its files along', async () => {
    const pid = await mount();
    expect(isRunning(pid)).toBe(true);
    // Bytes that are not UTF-8 pass both ways.
    expect(readdirSync(join(mnt, 'd'), 'buffer')).toEqual([Buffer.from([0xff, 0xfe])]);
    expect(
      await readFile(Buffer.concat([Buffer.from(join(mnt, 'd/')), Buffer.from([0xff, 0xfe])]), 'utf8'),
    ).toBe('bytes');
    await laminaOk(['umount', mnt], root);
    await until(() => !isRunning(pid));
    expect(readdirSync(join(base, 'run/mounts'))).toEqual([]);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s unmounts, and serves what is open to the end',
    async (signal) => {
      const pid = await mount();
      const fd = openSync(join(mnt, 'big'), 'r');
      try {
        process.kill(pid, signal);
        await until(() => !isMounted());
        const buffer = Buffer.alloc(CONTENT.length);
        let done = 0;
        while (done < buffer.length) done += readSync(fd, buffer, done, buffer.length - done, done);
        expect(buffer.equals(Buffer.from(CONTENT))).toBe(true);
        expect(isRunning(pid)).toBe(true);
      } finally {
        closeSync(fd);
      }
      await until(() => !isRunning(pid));
    },
  );

  test('SIGHUP does not end it', async () => {
    const pid = await mount();
    process.kill(pid, 'SIGHUP');
    await setTimeout(300);
    expect(isRunning(pid)).toBe(true);
    expect(existsSync(join(mnt, 'big'))).toBe(true);
  });

  test('killed, it leaves a mount that can be cleared, and no process', async () => {
    const pid = await mount();
    const helpers = execFileSync('ps', ['--ppid', String(pid), '-o', 'pid='], { encoding: 'latin1' })
      .trim()
      .split(/\s+/)
      .map(Number);
    expect(helpers).toHaveLength(1);
    process.kill(pid, 'SIGKILL');
    await until(() => ![pid, ...helpers].some(isRunning));
    expect(() => readdirSync(mnt)).toThrow(expect.objectContaining({ code: 'ENOTCONN' }));
    expect(await laminaOk(['mounts'], root)).toContain('stale');
    await laminaOk(['umount', '--lazy', mnt], root);
    expect(isMounted()).toBe(false);
  });

  test('serves many readers at once', async () => {
    await mount();
    const script = 'for i in {1..16}; do sha256sum < "$1" & done; wait';
    const sums = execFileSync('bash', ['-c', script, 'bash', join(mnt, 'big')], { encoding: 'latin1' });
    const expected = createHash('sha256').update(CONTENT).digest('hex');
    expect(
      sums
        .trim()
        .split(/ +-\s*/)
        .filter(Boolean),
    ).toEqual(Array.from({ length: 16 }, () => expected));
  });

  test('says what is wrong when it cannot mount', async () => {
    const target = join(base, 'mnt', 'missing');
    const { exitCode, stderr } = await lamina(['mount', '--driver', 'fuse-native', archive, target], root);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('[ENOENT]')]);
  });
});
