/** The upper is shared with kernel overlayfs and guarded against a second server, and the drop-in lives as mount programs do. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import type { Layers } from '../helpers/drop-in.js';
import {
  isWritableServerBuilt,
  layerOptions,
  mountDropIn,
  mountKernel,
  unmountBelow,
  unmountDropIn,
} from '../helpers/drop-in.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import { SERVER } from '../helpers/server-binary.js';
import { needs, requirement } from '../helpers/require.js';
import { runScript } from '../helpers/script.js';
import { isServed, killAll, until } from './processes.js';

const capable =
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command python3') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

/** A bit of everything that an upper can hold: copied files, metadata alone, whiteouts, opaque and moved directories, links. */
const CHANGES = `
  put d/f changed
  chmod big 600
  utimens big 1 1500000000000000001
  setxattr big user.k v
  unlink gone
  remove_tree again
  mkdir again
  put again/new x
  rename moved d/there
  put d/there/new x
  unlink d/there/f
  rename d dd
  link dd/f linked
  symlink dd/f link
  mknod pipe fifo 600
  mknod null char 666 1:3
  chown s 5 6
  rename f g
  remove_tree file-over
  put file-over x
  unlink dir-over
  mkdir dir-over
  put dir-over/x y
  setxattr dd trusted.overlay.opaque y
  rename large renamed-large
  chmod renamed-large 640
`;
/** And more on top of it, by the other. */
const MORE = `
  put dd/f again
  cat linked = again
  put big more O_WRONLY|O_APPEND
  unlink dd/there/new
  put gone back
  rename dd/there moved
  ls moved = sub
  remove_tree dd
  mkdir dd
  ls dd = (none)
  put renamed-large end O_WRONLY|O_APPEND
  mkdir moved/f
  rename again moved/f/again
  getxattr big user.k = v
  lstat pipe type mode = fifo 0600
  unlink null
`;

describe.skipIf(!capable)('an upper', () => {
  let scratch: Scratch;
  let layers: Layers;
  let dir: string;
  const at = (name: string): string => join(scratch.path, name);

  beforeEach(() => {
    scratch = new Scratch('interop');
    dir = at('mnt');
    layers = { lowers: [at('lower')], upper: at('upper'), work: at('work') };
    for (const path of [...layers.lowers, layers.upper, layers.work, dir]) mkdirSync(path);
    for (const name of ['d', 'again', 'moved', 'moved/sub', 'file-over']) mkdirSync(at(`lower/${name}`));
    for (const name of [
      'd/f',
      'gone',
      'again/old',
      'moved/f',
      'moved/sub/x',
      'f',
      's',
      'file-over/x',
      'dir-over',
    ])
      writeFileSync(at(`lower/${name}`), name);
    for (const name of ['big', 'large']) writeFileSync(at(`lower/${name}`), name.repeat(50_000));
  });
  afterEach(() => {
    killAll(dir);
    unmountBelow(scratch.path);
    scratch.close();
  });

  const ours = {
    mount: (options = '') => mountDropIn(layers, dir, options),
    async umount() {
      await unmountDropIn(dir);
      await until('the server has ended', () => !isServed(dir));
    },
    dump: () => dumpDirectory(dir),
  };
  const kernel = {
    // Without the index: it is a directory beside the upper that only the kernel keeps.
    mount: () => mountKernel(layers, dir, 'redirect_dir=on,metacopy=on'),
    umount: () => unmount(dir),
    dump: () => dumpDirectory(dir, { skipVanished: true }),
  };

  test.each([
    ['ours is read and written on by the kernel', ours, kernel],
    ["the kernel's is read and written on by ours", kernel, ours],
    ['ours is read and written on by ours', ours, ours],
  ] as const)('%s', async (_, first, second) => {
    await first.mount();
    expect(await runScript(dir, CHANGES)).toEqual([]);
    const written = await first.dump();
    await first.umount();
    await second.mount();
    expect(await second.dump()).toBe(written);
    expect(await runScript(dir, MORE)).toEqual([]);
    const rewritten = await second.dump();
    await second.umount();
    await first.mount();
    expect(await first.dump()).toBe(rewritten);
    await first.umount();
  });

  test('is refused to a second server, clearly, and given to the next when the first has gone', async () => {
    await ours.mount();
    const other = at('other');
    mkdirSync(other);
    const second = spawnSync(SERVER, ['-o', layerOptions(layers), other], { encoding: 'utf8' });
    expect(second.status).not.toBe(0);
    expect(second.stderr).toMatch(/in use by another mount/);
    expect(readdirSync(other)).toEqual([]);
    writeFileSync(join(dir, 'still'), 'served');
    await ours.umount();
    await mountDropIn(layers, other);
    expect(readFileSync(join(other, 'still'), 'utf8')).toBe('served');
    await unmountDropIn(other);
    await until('the server has ended', () => !isServed(other));
  });

  test('is mounted again at once after each of thirty unmounts', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 30; round++) {
      await ours.mount();
      writeFileSync(join(dir, `round-${round}`), String(round));
      await unmountDropIn(dir);
    }
    await ours.mount();
    expect(readdirSync(dir).filter((name) => name.startsWith('round-')).length).toBe(30);
    await ours.umount();
  });

  test('has a work directory that is emptied when it is mounted', async () => {
    await ours.mount();
    await ours.umount();
    writeFileSync(at('work/work/left'), 'by a crash');
    mkdirSync(at('work/work/dir/below'), { recursive: true });
    await ours.mount();
    expect(readdirSync(at('work/work'))).toEqual([]);
    await ours.umount();
  });

  test('is served by a program that goes into the background with nothing of its starter', async () => {
    const child = spawn(SERVER, ['-o', layerOptions(layers), dir], { stdio: ['pipe', 'pipe', 'pipe'] });
    const closed = new Promise((resolve) => child.once('close', resolve));
    const timer = setTimeout(() => undefined, 10_000);
    // `close` waits for the end of all three pipes, as does whoever collects what a mount program says.
    const outcome = await Promise.race([
      closed,
      new Promise((resolve) => setTimeout(() => resolve('holds the pipes'), 5000)),
    ]);
    clearTimeout(timer);
    expect(outcome).toBe(0);
    writeFileSync(join(dir, 'written'), '');
    expect(existsSync(at('upper/written'))).toBe(true);
    await ours.umount();
  });

  test('is absent: without upperdir the stack is read-only', async () => {
    execFileSync(SERVER, ['-o', `lowerdir=${at('lower')}`, dir], { stdio: 'ignore' });
    expect(readFileSync(join(dir, 'f'), 'utf8')).toBe('f');
    expect(() => writeFileSync(join(dir, 'f'), 'x')).toThrow(/EROFS/);
    await ours.umount();
  });

  test('takes the options that fuse-overlayfs takes', async () => {
    for (const options of [
      ',volatile',
      ',noacl',
      ',xino=auto',
      ',timeout=0',
      ',fsync=0',
      ',fast_ino=1',
      ',writeback=1',
      ',xattr_permissions=2',
      ',squash_to_root',
      ',redirect_dir=on',
      ',static_nlink',
      ',threaded=1',
    ]) {
      await ours.mount(options);
      writeFileSync(join(dir, 'f'), options);
      expect(readFileSync(join(dir, 'f'), 'utf8')).toBe(options);
      await ours.umount();
    }
  });

  test('has owners that are mapped or all the same, as is asked', async () => {
    await ours.mount(',squash_to_uid=1234,squash_to_gid=4321');
    expect(statSync(join(dir, 'f'))).toMatchObject({ uid: 1234, gid: 4321 });
    await ours.umount();
    // On the disk : in the mount : how many, as fuse-overlayfs has it.
    await ours.mount(',uidmapping=0:0:1:100000:1:65536,gidmapping=0:0:1:100000:1:65536');
    writeFileSync(join(dir, 'new'), '');
    execFileSync('chown', ['5:6', join(dir, 'new')]);
    expect(statSync(join(dir, 'new'))).toMatchObject({ uid: 5, gid: 6 });
    expect(statSync(at('upper/new'))).toMatchObject({ uid: 100_004, gid: 100_005 });
    await ours.umount();
  });

  test('is not mounted with options that mean nothing', () => {
    const run = spawnSync(SERVER, ['-o', `${layerOptions(layers)},nonsense=1`, dir], { encoding: 'utf8' });
    const missing = spawnSync(SERVER, ['-o', `lowerdir=${at('none')}`, dir], { encoding: 'utf8' });
    expect(missing.status).not.toBe(0);
    expect(missing.stderr).not.toBe('');
    spawnSync('umount', [dir], { stdio: 'ignore' });
    expect(run.error).toBeUndefined();
  });
});
