/** Containers by both drivers in turn, and what a killed portable one leaves. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import type { Driver } from '../helpers/lamina.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import type { Stack } from '../helpers/stack.js';
import { chardev, dir, dockerArchive, file, hardlink, symlink, whiteout } from '../helpers/stack.js';

const STACK: Stack = [
  [
    dir('.'),
    dir('d', { mode: 0o750, uid: 3 }),
    file('d/f', 'inside'),
    dir('d/sub'),
    file('d/sub/deep', 'deep'),
    dir('hidden'),
    file('hidden/secret', 'secret'),
    dir('m'),
    file('m/gone', 'gone'),
    file('m/base', 'base'),
  ],
  [
    file('big', 'b'.repeat(300_000), { mode: 0o640, xattrs: [['user.k', 'v']] }),
    file('l1', 'linked'),
    hardlink('l2', 'l1'),
    hardlink('m/l3', 'l1'),
    symlink('s', 'd/f'),
    chardev('null', [1, 3]),
    whiteout('m/gone'),
    file('bytes-\xff', 'odd', { mtime: [1_500_000_000, 123_456_789] }),
  ],
];

/** One of every kind of change. */
const CHANGES = `
  set -e
  echo new > new
  mkdir -p made/in
  echo more >> l2
  chmod 600 big
  chown 7:8 bytes-*
  mv d moved
  echo x > moved/sub/x
  rm -r hidden
  mkdir hidden
  echo y > hidden/y
  mv m made/m
  rm made/m/base
  ln l1 l4
  ln -s nowhere link
  rm s null
  mkfifo fifo
  mknod dev c 1 5
  setfattr -n user.new -v value moved/f
  setfattr -x user.k big
  truncate -s 5 moved/sub/deep
  touch -d '2001-02-03 04:05:06.789' new made/m
`;
/** Made on top of them. */
const MORE_CHANGES = `
  set -e
  mv moved d
  rm -r hidden
  mv made/m/l3 hidden
  echo again > l1
  rm l2
  chmod 4755 big
  echo tail >> big
  mkdir m
  mv made/m m/m
  rmdir made/in
  touch -d '2002-02-03 04:05:06.789' d d/sub m
`;

const built =
  requirement('the built command (npm run build)', isLaminaBuilt('native')) &&
  requirement('the built command with the fuse-native driver (npm run build)', isLaminaBuilt('fuse-native'));
const capable = built && needs('root', '/dev/fuse', 'command python3', 'command setfattr');

describe.skipIf(!capable)('containers by the portable driver', () => {
  let scratch: Scratch;
  let archive: string;
  let root: string;
  let mnt: string;
  beforeAll(() => {
    scratch = new Scratch('portable');
    archive = join(scratch.path, 'image.tar');
    dockerArchive(STACK, archive);
  });
  afterAll(() => scratch.close());
  afterEach(async () => {
    await lamina(['umount', '--lazy', mnt], root);
  });

  /** -> its ID, mounted by nobody. */
  async function container(): Promise<string> {
    root = scratch.directory('root');
    mnt = scratch.directory('mnt');
    return (await laminaOk(['create', archive], root)).trim();
  }

  const mount = (driver: Driver, id: string, ...more: string[]): Promise<string> =>
    laminaOk(['mount', '--driver', driver, ...more, id, mnt], root);
  const umount = (): Promise<string> => laminaOk(['umount', mnt], root);
  const change = (script: string): void =>
    void execFileSync('sh', ['-c', script], { cwd: mnt, stdio: ['ignore', 'ignore', 'inherit'] });
  const work = (id: string): string => join(root, 'containers', id, 'work');
  const upper = (id: string): string => join(root, 'containers', id, 'upper');

  /** With times as the portable driver shows them. */
  async function dump(): Promise<string[]> {
    const text = await dumpDirectory(mnt);
    return text.split('\n').map((line) => line.replace(/ (\d+\.\d{3})\d{6} /, ' $1 '));
  }

  function inodes(): string {
    return execFileSync('find', [mnt, '-printf', '%P %i\\n'], { encoding: 'latin1' })
      .split('\n')
      .sort()
      .join('\n');
  }

  test.each([
    ['fuse-native', 'native'],
    ['native', 'fuse-native'],
  ] as const)('what %s wrote %s shows, and goes on with', async (first, second) => {
    const id = await container();
    await mount(first, id);
    change(CHANGES);
    const [before, numbers] = [await dump(), inodes()];
    await umount();
    await mount(second, id);
    expect(await dump()).toEqual(before);
    expect(inodes()).toBe(numbers);
    change(MORE_CHANGES);
    const after = await dump();
    await umount();
    await mount(first, id);
    expect(await dump()).toEqual(after);
    await umount();
  });

  test('both drivers make the same of the same changes', async () => {
    const made: Record<string, string[]> = {};
    for (const driver of ['native', 'fuse-native'] as const) {
      const id = await container();
      await mount(driver, id);
      change(CHANGES);
      change(MORE_CHANGES);
      const recent = Date.now() / 1000 - 600;
      made[driver] = (await dump()).map((line) =>
        line.replace(/ (\d+)\.\d{3} /, (all, seconds: string) => (Number(seconds) > recent ? ' now ' : all)),
      );
      await umount();
      made[`${driver} diff`] = (await laminaOk(['diff', id], root)).split('\n').sort();
    }
    expect(made['fuse-native']).toEqual(made['native']);
    expect(made['fuse-native diff']).toEqual(made['native diff']);
  });

  test('a container is mounted once, by whichever driver', async () => {
    const id = await container();
    const other = scratch.directory('other');
    for (const [one, two] of [
      ['fuse-native', 'native'],
      ['native', 'fuse-native'],
      ['fuse-native', 'fuse-native'],
    ] as const) {
      await mount(one, id);
      const refused = await lamina(['mount', '--driver', two, id, other], root);
      expect(refused.stderr).toContain('the container is mounted already [EINUSE]');
      expect(refused.exitCode).not.toBe(0);
      await umount();
    }
  });

  test('mounted read-only it shows its changes and takes none', async () => {
    const id = await container();
    await mount('fuse-native', id);
    change('echo new > new');
    await umount();
    await mount('fuse-native', id, '-o', 'ro');
    expect(readFileSync(join(mnt, 'new'), 'utf8')).toBe('new\n');
    expect(() => writeFileSync(join(mnt, 'new'), '')).toThrow(/EROFS/);
    await umount();
  });

  test('an image with --rw becomes a container', async () => {
    await container();
    const id = await laminaOk(['mount', '--rw', '--driver', 'fuse-native', archive, mnt], root);
    change('echo new > new');
    await umount();
    expect(await laminaOk(['diff', id.trim()], root)).toBe('A /new\n');
  });

  /** By its argument, which names the mountpoint. */
  function serverPid(): number {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const ours = pids.filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`{"mountpoint":"${mnt}"`);
      } catch {
        return false;
      }
    });
    expect(ours).toHaveLength(1);
    return Number(ours[0]);
  }

  test.each(['fuse-native', 'native'] as const)(
    'killed while it is written to, it has lost nothing that was synced, and %s mounts what is left',
    async (next) => {
      const id = await container();
      const writer = `
import os, sys, itertools, shutil
if os.path.exists('hidden/d'):
    os.rename('hidden/d', 'd')
for n in itertools.count():
    name = 'w%d' % n
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b'%d ' % n * 1000)
    os.fsync(fd)
    os.close(fd)
    sys.stdout.write('%d\\n' % n)
    sys.stdout.flush()
    if os.path.exists('hidden'):
        shutil.rmtree('hidden')
    os.mkdir('hidden')
    os.rename('d', 'hidden/d') if n % 2 else None
    os.rename('hidden/d', 'd') if n % 2 else None
    with open('big', 'r+') as file:
        file.write('x' * (n % 100))
`;
      for (let round = 0; round < 4; round++) {
        await mount('fuse-native', id);
        const child = spawn('python3', ['-c', writer], { cwd: mnt, stdio: ['ignore', 'pipe', 'pipe'] });
        let said = '';
        let failed = '';
        child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
        child.stderr.on('data', (chunk: Buffer) => (failed += chunk.toString()));
        const closed = once(child, 'close');
        await vi.waitUntil(() => said.split('\n').length > 5, { timeout: 20_000 });
        // At another moment of the loop each time.
        await setTimeout(round * 7);
        process.kill(serverPid(), 'SIGKILL');
        await closed;
        expect(failed).toMatch(/Errno (107|103)/);
        await laminaOk(['umount', mnt], root);
        await mount(next, id);
        const last = Number(said.trim().split('\n').at(-1));
        expect(last).toBeGreaterThan(3);
        for (let n = 0; n <= last; n++) expect(statSync(join(mnt, `w${n}`)).size).toBe(`${n} `.length * 1000);
        // What the image has in it must not come back.
        const names = readdirSync(mnt).includes('hidden') ? readdirSync(join(mnt, 'hidden')) : [];
        expect(names.filter((name) => name !== 'd')).toEqual([]);
        const moved = names.includes('d') ? 'hidden/d' : 'd';
        expect(readFileSync(join(mnt, moved, 'sub/deep'), 'utf8')).toBe('deep');
        expect(statSync(join(mnt, 'big')).size).toBe(300_000);
        await dump();
        await umount();
        expect(readdirSync(join(work(id), 'work')).filter((name) => !name.startsWith('whiteout'))).toEqual(
          [],
        );
        expect(await laminaOk(['container', 'check', id], root)).not.toContain('EUPPER');
      }
    },
    120_000,
  );

  test.each(['fuse-native', 'native'] as const)(
    'a directory that lost its whiteout when the server was killed stays hidden by %s',
    async (next) => {
      const id = await container();
      await mount('fuse-native', id);
      change('rm -r hidden; rm -r m');
      await umount();
      // As between the two steps of mkdir.
      rmSync(join(upper(id), 'hidden'));
      writeFileSync(join(work(id), 'undo'), '["/hidden"]\n');
      mkdirSync(join(work(id), 'work', 'tmp-1-1'));
      await mount(next, id);
      expect(readdirSync(mnt)).not.toContain('hidden');
      expect(readdirSync(mnt)).not.toContain('m');
      await umount();
      expect(readdirSync(work(id))).not.toContain('undo');
    },
  );
});
