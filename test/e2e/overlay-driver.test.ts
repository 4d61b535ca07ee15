/**
 * `lamina mount --driver overlay`: kernel overlayfs over the image as EROFS, against what the native server shows of the same image and of the same
 * changes.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { canMakeRealImage, realImage, REAL_IMAGE_COMMANDS } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';
import { chardev, dir, dockerArchive, file } from '../helpers/stack.js';

const built = requirement('the built command (npm run build)', isLaminaBuilt('native'));
const commands = REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const);
const able =
  built &&
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command python3', ...commands) &&
  requirement('the Debian mirror', await canMakeRealImage());

/** In the container's root: names of one lower file, a renamed lower directory, metadata alone, replaced kinds. */
const CHANGES = `
  echo more >> usr/bin/uncompress
  chmod 711 opt/reader && rm opt/reader
  mv usr/share usr/share2 && touch -d @1 usr/share2 && touch -d @2 usr
  rm -r etc/apt && mkdir etc/apt && echo new > etc/apt/new
  chown 7:8 etc/passwd && touch -d @3 etc/apt/new etc/apt etc usr/bin usr/bin/uncompress opt`;

describe.skipIf(!able)('the overlay driver', () => {
  let scratch: Scratch;
  let root: string;
  let image: string;
  const ids: Record<string, string> = {};
  const run = (...args: string[]): Promise<string> => laminaOk(args, root);
  const shell = (cwd: string, script: string): string =>
    execFileSync('sh', ['-ec', script], { cwd, encoding: 'latin1' });
  /** What the mount by a driver shows, and after `change` again, on a fresh mount. */
  const mounted = async <T>(id: string, driver: string, look: (m: string) => T | Promise<T>): Promise<T> => {
    const m = scratch.directory('m');
    await run('mount', '--driver', driver, '-o', 'verify=none', id, m);
    try {
      return await look(m);
    } finally {
      await run('umount', m);
    }
  };

  beforeAll(async () => {
    scratch = new Scratch('overlay-driver', 'ext4');
    process.env['LAMINA_RUN'] = scratch.directory('run');
    root = scratch.directory('root');
    image = (await realImage()).paths['docker-archive'];
    for (const driver of ['native', 'overlay'])
      ids[driver] = (await run('create', '--name', driver, image)).trim();
  }, 300_000);
  afterAll(() => scratch.close());

  test('shows the image as the native server does', async () => {
    const dumps: string[] = [];
    for (const driver of ['native', 'overlay'])
      dumps.push(await mounted(ids[driver]!, driver, (m) => dumpDirectory(m)));
    expect(dumps[1]!.split('\n').length).toBeGreaterThan(5_000);
    expect(dumps[1]).toBe(dumps[0]);
  }, 120_000);

  test('equal changes look alike, on the mount, on the next one, in diff and in export', async () => {
    const found: Record<string, { during: string; after: string; diff: string }> = {};
    for (const driver of ['native', 'overlay']) {
      const id = ids[driver]!;
      const during = await mounted(id, driver, (m) => {
        shell(m, CHANGES);
        return dumpDirectory(m, { nlink: false });
      });
      const after = await mounted(id, driver, (m) => dumpDirectory(m, { nlink: false }));
      found[driver] = { during, after, diff: await run('diff', id) };
    }
    const { native, overlay } = found as Record<'native' | 'overlay', (typeof found)[string]>;
    expect(overlay.during).toBe(native.during);
    expect(overlay.after).toBe(native.during);
    expect(overlay.diff).toBe(native.diff);
    expect(overlay.diff).toContain('C /usr/bin/gunzip\nC /usr/bin/uncompress\n');
    expect(overlay.diff).toContain('D /opt/reader\nC /opt/reader-2\n');
  }, 120_000);

  test('all names of a lower file are one inode, with the same number on the next mount', async () => {
    const names = ['usr/bin/gunzip', 'usr/bin/uncompress'];
    const inodes = (m: string): string[] =>
      names.map((name) => {
        const { ino, nlink, size } = statSync(join(m, name), { bigint: true });
        return `${ino} ${nlink} ${size}`;
      });
    const first = await mounted(ids['overlay']!, 'overlay', inodes);
    expect(first[1]).toBe(first[0]);
    expect(first[0]).toMatch(/^-?\d+ 2 /);
    shell('/', 'echo 3 > /proc/sys/vm/drop_caches');
    expect(await mounted(ids['overlay']!, 'overlay', inodes)).toEqual(first);
  });

  test('the native server goes on where overlayfs was, with all names', async () => {
    const dump = (m: string): Promise<string> => dumpDirectory(m, { nlink: false });
    const before = await mounted(ids['overlay']!, 'overlay', dump);
    expect(await mounted(ids['overlay']!, 'native', dump)).toBe(before);
    expect(await mounted(ids['overlay']!, 'overlay', dump)).toBe(before);
  }, 120_000);

  test('is mounted once, told by name, and ends however it is unmounted', async () => {
    const [m, other] = [scratch.directory('m'), scratch.directory('m')];
    await run('mount', '--driver', 'overlay', '-o', 'verify=none', ids['overlay']!, m);
    const second = await lamina(['mount', '--driver', 'overlay', ids['overlay']!, other], root);
    expect([second.exitCode, second.stderr]).toEqual([1, expect.stringContaining('[EINUSE]')]);
    expect(await run('mounts')).toMatch(/ overlay .* mounted /);
    expect((await lamina(['rm', ids['overlay']!], root)).exitCode).toBe(1);
    shell('/', `umount ${m}`);
    await expect.poll(() => readdirSync(join(process.env['LAMINA_RUN']!, 'mounts'))).toEqual([]);
    await run('mount', '--driver', 'overlay', '-o', 'ro,verify=none', ids['overlay']!, m);
    expect(() => shell(m, 'touch x')).toThrow(/Read-only file system/);
    await run('umount', '--force', m);
    await expect.poll(() => readdirSync(join(process.env['LAMINA_RUN']!, 'mounts'))).toEqual([]);
    expect(readdirSync(m)).toEqual([]);
  });

  test('refuses what overlayfs would take for its own, and leaves nothing', async () => {
    const archive = join(scratch.directory(), 'odd.tar');
    dockerArchive([[dir('.'), file('a', 'a'), chardev('null', [0, 0])]], archive);
    const m = scratch.directory('m');
    const { exitCode, stderr } = await lamina(['mount', '--rw', '--driver', 'overlay', archive, m], root);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('would be a whiteout to overlayfs')]);
    expect(stderr).toContain('[EDRIVER]');
    expect(readdirSync(join(process.env['LAMINA_RUN']!, 'mounts'))).toEqual([]);
    mkdirSync(join(m, 'still-ours'));
  });
});
