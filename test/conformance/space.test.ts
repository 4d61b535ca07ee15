/**
 * A disk that is full, or a quota that is used up: the call that needs the room fails with ENOSPC or EDQUOT, nothing that was there is
 * harmed, and there is room again when something is deleted. On kernel overlayfs first.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Layers } from '../helpers/drop-in.js';
import {
  isWritableServerBuilt,
  mountDropIn,
  mountKernel,
  unmountBelow,
  unmountDropIn,
  withUring,
} from '../helpers/drop-in.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { runScript } from '../helpers/script.js';

const capable = needs('root', 'kernel overlayfs', 'command python3', 'command mkfs.ext4');
const hasQuota = capable && needs('command mkfs.btrfs', 'command btrfs');
const hasServer =
  capable &&
  needs('/dev/fuse') &&
  requirement('a writable native server (npm run build)', isWritableServerBuilt());

const SUBJECTS = [
  ['kernel overlayfs', capable, mountKernel, unmount],
  [
    'ours',
    hasServer,
    (layers: Layers, dir: string) => withUring('N', () => mountDropIn(layers, dir)),
    unmountDropIn,
  ],
  [
    'ours, io_uring',
    hasServer,
    (layers: Layers, dir: string) => withUring('Y', () => mountDropIn(layers, dir)),
    unmountDropIn,
  ],
] as const;

const FILESYSTEMS = ['tmpfs', 'ext4', 'btrfs with a quota'] as const;

describe.each(SUBJECTS)('%s', (_, isPossible, mount, umount) => {
  let scratch: Scratch;
  let layers: Layers;
  let dir: string;
  const at = (name: string): string => join(scratch.path, name);
  beforeEach(() => {
    scratch = new Scratch('space');
    dir = at('mnt');
    layers = { lowers: [at('lower')], upper: at('disk/upper'), work: at('disk/work') };
    for (const path of [at('lower'), at('disk'), dir]) mkdirSync(path);
    writeFileSync(at('lower/small'), 'small');
    writeFileSync(at('lower/huge'), Buffer.alloc(200 << 20, 'huge'));
  });
  afterEach(() => {
    unmountBelow(scratch.path);
    scratch.close();
  });

  function disk(kind: (typeof FILESYSTEMS)[number]): void {
    if (kind === 'tmpfs') execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'small', at('disk')]);
    else {
      execFileSync('truncate', ['-s', kind === 'ext4' ? '24M' : '256M', at('image')]);
      execFileSync(kind === 'ext4' ? 'mkfs.ext4' : 'mkfs.btrfs', ['-q', at('image')]);
      execFileSync('mount', ['-o', 'loop', at('image'), at('disk')]);
      if (kind !== 'ext4') {
        execFileSync('btrfs', ['quota', 'enable', at('disk')], { stdio: 'ignore' });
        execFileSync('btrfs', ['qgroup', 'limit', '16M', at('disk')], { stdio: 'ignore' });
      }
    }
    for (const path of [layers.upper, layers.work]) mkdirSync(path);
  }

  test.skipIf(!isPossible).each(FILESYSTEMS)('on a small %s', { timeout: 60_000 }, async (kind) => {
    if (kind === 'btrfs with a quota' && !hasQuota) return;
    disk(kind);
    const [errno, text] =
      kind === 'btrfs with a quota'
        ? ['EDQUOT', 'Disk_quota_exceeded']
        : ['ENOSPC', 'No_space_left_on_device'];
    await mount(layers, dir);
    expect(
      await runScript(
        dir,
        `
        put kept {k*5000}
        put small changed
        h := open huge O_RDONLY
        before := pread $h 100 1000000
        # A copy-up that does not fit fails whole, at open() or at write(), and the file is the lower one still.
        put huge x O_WRONLY = ${errno}
        lstat huge size = 209715200
        pread $h 100 1000000 = $before
        truncate huge 209715199 = ${errno}
        lstat huge size = 209715200
        ls . = huge kept small
        a := open full O_CREAT|O_RDWR
        fill $a 64K = ${text} whole
        cat kept = {k*5000}
        cat small = changed
        ${kind === 'btrfs with a quota' ? '# which writes nothing in place' : 'pwrite $a {z*100} 0 = 100'}
        unlink full
        close $a
        `,
      ),
    ).toEqual([]);
    // A copy-on-write filesystem gives room back when it has committed what was deleted.
    spawnSync('sync', ['-f', at('disk')]);
    expect(
      await runScript(
        dir,
        `
        put again {a*5000}
        cat again = {a*5000}
        chmod huge 600
        lstat huge mode size = 0600 209715200
        ls . = again huge kept small
        `,
      ),
    ).toEqual([]);
    await umount(dir);
    await mount(layers, dir);
    expect(
      await runScript(dir, 'ls . = again huge kept small\ncat kept = {k*5000}\nlstat huge mode = 0600'),
    ).toEqual([]);
    await umount(dir);
  });
});
