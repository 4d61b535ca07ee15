/**
 * Kernel overlayfs as the reference for what a union shows (Documentation/filesystems/overlayfs.rst), and scratch space that
 * it accepts as a lower: one filesystem that keeps user.*, trusted.* and security.* attributes and any time.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A filesystem of its own, mounted at `path`. */
export class Scratch {
  readonly path: string;
  #count = 0;

  /**
   * Mounts a tmpfs, or ext4 on a loop device where it is asked for (it takes numbers of inodes again at once, tmpfs never) or
   * where tmpfs keeps no user.* attributes (before Linux 6.6).
   */
  constructor(name: string, kind: 'tmpfs' | 'ext4' = 'tmpfs') {
    this.path = mkdtempSync(join(tmpdir(), `lamina-${name}-`));
    if (kind === 'tmpfs') execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2g', 'lamina-test', this.path]);
    if (kind === 'ext4' || !keepsUserXattrs(this.path)) {
      if (kind === 'tmpfs') execFileSync('umount', [this.path]);
      const image = `${this.path}.img`;
      execFileSync('truncate', ['-s', '2G', image]);
      execFileSync('mkfs.ext4', ['-q', '-I', '256', image]);
      execFileSync('mount', ['-o', 'loop', image, this.path]);
      rmSync(image);
    }
  }

  /** A new empty directory. */
  directory(name = 'd'): string {
    const path = join(this.path, `${name}${this.#count++}`);
    mkdirSync(path);
    return path;
  }

  /** Also when something in it is in use for a moment longer, or for ever after a test that failed. */
  close(): void {
    for (let tries = 0; tries < 20; tries++) {
      if (spawnSync('umount', [this.path], { stdio: 'ignore' }).status === 0) return rmdirSync(this.path);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
    execFileSync('umount', ['-l', this.path]);
    rmdirSync(this.path);
  }
}

function keepsUserXattrs(path: string): boolean {
  const probe = join(path, 'probe');
  writeFileSync(probe, '');
  try {
    const script = 'import os, sys; os.setxattr(sys.argv[1], "user.probe", b"")';
    execFileSync('python3', ['-c', script, probe], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe);
  }
}

/**
 * Mounts `lowers` (uppermost first, all in one directory) read-only at `target`. The names are given relative to that
 * directory: mount(2) takes one page of options. The kernel wants two lowers, so an empty one is put at the bottom.
 */
export async function mountOverlay(lowers: readonly string[], target: string): Promise<void> {
  const base = dirname(lowers[0] ?? target);
  mkdirSync(join(base, 'empty'), { recursive: true });
  const names = [...lowers.map((lower) => basename(lower)), 'empty'];
  await run(
    'mount',
    ['-t', 'overlay', '-o', `ro,nosuid,nodev,lowerdir=${names.join(':')}`, 'overlay', target],
    {
      cwd: base,
    },
  );
}

export async function unmount(target: string): Promise<void> {
  await run('umount', [target]);
}
