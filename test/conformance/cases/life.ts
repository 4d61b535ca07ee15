/** What holds from mount to unmount, whoever else deletes, holds or kills something. Lamina only. */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Driver } from '../../helpers/lamina.js';
import { lamina, laminaOk, mountStack } from '../../helpers/lamina.js';
import type { Stack } from '../../helpers/stack.js';
import { file } from '../../helpers/stack.js';
import { noise } from '../image.js';

const CONTENT = noise(500_000, 9);
const STACK: Stack = [[file('small', 'small'), file('content', CONTENT)]];

export interface LifeCase {
  name: string;
  run(driver: Driver): Promise<void>;
}

export const lifeCases: LifeCase[] = [
  {
    name: 'files stay readable when the archive is unlinked',
    async run(driver) {
      const mount = await mountStack(STACK, driver);
      try {
        const fd = openSync(join(mount.dir, 'content'), 'r');
        unlinkSync(mount.archive);
        expect(readFileSync(fd).toString('latin1') === CONTENT).toBe(true);
        closeSync(fd);
        expect(readFileSync(join(mount.dir, 'small'), 'utf8')).toBe('small');
      } finally {
        await mount.close();
      }
    },
  },
  {
    name: 'an open file keeps the mount busy, and a lazy unmount lets it be read to its end',
    async run(driver) {
      const mount = await mountStack(STACK, driver);
      const fd = openSync(join(mount.dir, 'content'), 'r');
      try {
        expect(await lamina(['umount', mount.dir], mount.root)).toMatchObject({
          exitCode: 1,
          stderr: expect.stringContaining('EBUSY') as string,
        });
        await laminaOk(['umount', '--lazy', mount.dir], mount.root);
        expect(existsSync(join(mount.dir, 'content'))).toBe(false);
        const read = Buffer.alloc(CONTENT.length);
        let done = 0;
        while (done < read.length) {
          const count = readSync(fd, read, done, read.length - done, done);
          expect(count).toBeGreaterThan(0);
          done += count;
        }
        expect(read.toString('latin1') === CONTENT).toBe(true);
        mount.remove();
      } finally {
        closeSync(fd);
      }
    },
  },
  {
    name: 'a mount can be made, unmounted and made again on the same directory',
    async run(driver) {
      const mount = await mountStack(STACK, driver);
      try {
        for (let round = 0; round < 3; round++) {
          expect(readFileSync(join(mount.dir, 'small'), 'utf8')).toBe('small');
          await laminaOk(['umount', mount.dir], mount.root);
          expect(existsSync(join(mount.dir, 'small'))).toBe(false);
          await laminaOk(['mount', '--driver', driver, mount.archive, mount.dir], mount.root);
        }
      } finally {
        await mount.close();
      }
    },
  },
  {
    name: 'the kernel lists the mount as read-only, without setuid and devices',
    async run(driver) {
      const mount = await mountStack(STACK, driver);
      try {
        const options = execFileSync('findmnt', ['-no', 'OPTIONS', mount.dir], { encoding: 'utf8' })
          .trim()
          .split(',');
        expect(options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
      } finally {
        await mount.close();
      }
    },
  },
];
