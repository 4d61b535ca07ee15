/** The filesystems that the cases run on, each holding the same image. The first two tell whether a case is right. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Driver } from '../helpers/lamina.js';
import { mountStack } from '../helpers/lamina.js';
import { mountOverlay, Scratch, unmount } from '../helpers/overlay.js';
import { unpackFlat, unpackLowers } from '../helpers/unpack.js';
import type { Context } from './case.js';
import { IMAGE } from './image.js';

export interface Mounted {
  context: Context;
  close(): Promise<void>;
}

/** The layers in one directory, seen through a read-only bind mount: what every filesystem does. */
export async function plainDirectory(): Promise<Mounted> {
  const scratch = new Scratch('plain');
  chmodSync(scratch.path, 0o755);
  const [tree, dir] = [join(scratch.path, 'tree'), join(scratch.path, 'mnt')];
  mkdirSync(dir);
  await unpackFlat(IMAGE, tree);
  execFileSync('mount', ['--bind', tree, dir]);
  execFileSync('mount', ['-o', 'remount,bind,ro,nosuid,nodev', dir]);
  return {
    context: { dir, subject: 'plain directory' },
    async close() {
      await unmount(dir);
      scratch.close();
    },
  };
}

/** Each layer a lower directory: what a union does. */
export async function kernelOverlay(): Promise<Mounted> {
  const scratch = new Scratch('overlay');
  chmodSync(scratch.path, 0o755);
  const [layers, dir] = [join(scratch.path, 'layers'), join(scratch.path, 'mnt')];
  mkdirSync(dir);
  await mountOverlay(await unpackLowers(IMAGE, layers), dir);
  return {
    context: { dir, subject: 'kernel overlayfs' },
    async close() {
      await unmount(dir);
      scratch.close();
    },
  };
}

export async function lamina(driver: Driver): Promise<Mounted> {
  const mount = await mountStack(IMAGE, driver, ['--allow-other']);
  return {
    context: { dir: mount.dir, subject: `lamina ${driver}`, archive: mount.archive },
    close: () => mount.close(),
  };
}
