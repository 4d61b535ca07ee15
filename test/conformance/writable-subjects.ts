/** The filesystems that are written to, each over the same two lower layers of kits. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { dumpDirectory } from '../helpers/dump-directory.js';
import type { Layers } from '../helpers/drop-in.js';
import { mountDropIn, mountKernel, unmountBelow, unmountDropIn, withUring } from '../helpers/drop-in.js';
import type { Driver } from '../helpers/lamina.js';
import { lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import type { Stack } from '../helpers/stack.js';
import { dockerArchive } from '../helpers/stack.js';
import { unpackFlat, unpackLowers } from '../helpers/unpack.js';
import { kits } from './kit.js';

export interface WritableMount {
  dir: string;
  /** Unmounts it and mounts it again. */
  remount(): Promise<void>;
  close(): Promise<void>;
  /** Inode number of each path. */
  inodes(): Promise<Record<string, string>>;
}

/** The lower layers, which all subjects share, on a filesystem of their own with room for each upper. */
export class KitTrees {
  private constructor(
    readonly scratch: Scratch,
    readonly stack: Stack,
    readonly lowers: readonly string[],
  ) {}

  static async make(places: readonly string[]): Promise<KitTrees> {
    const scratch = new Scratch('writable');
    try {
      chmodSync(scratch.path, 0o755);
      const stack = kits(places);
      return new KitTrees(scratch, stack, await unpackLowers(stack, join(scratch.path, 'lower')));
    } catch (error) {
      scratch.close();
      throw error;
    }
  }

  /** Everything about the lower layers. */
  async lowerDump(): Promise<string> {
    return (await Promise.all(this.lowers.map((lower) => dumpDirectory(lower)))).join('\n');
  }

  /** An upper of its own, empty. */
  layers(): Layers {
    const base = this.scratch.directory('subject');
    const [upper, work] = [join(base, 'upper'), join(base, 'work')];
    for (const path of [upper, work]) mkdirSync(path);
    return { lowers: this.lowers, upper, work };
  }

  close(): void {
    unmountBelow(this.scratch.path);
    this.scratch.close();
  }
}

function inodesOf(dir: string): Record<string, string> {
  const listed = execFileSync('find', [dir, '-xdev', '-printf', '%P\\t%i\\0'], {
    encoding: 'latin1',
    maxBuffer: 1 << 28,
  });
  return Object.fromEntries(
    listed
      .split('\0')
      .filter((line) => line !== '')
      .map((line) => line.split('\t') as [string, string]),
  );
}

/** Mounts by `mount`, again for each remount. */
async function mounted(
  trees: KitTrees,
  mount: (layers: Layers, dir: string) => Promise<void>,
  umount: (dir: string) => Promise<void>,
): Promise<WritableMount> {
  const [layers, dir] = [trees.layers(), trees.scratch.directory('mnt')];
  await mount(layers, dir);
  return {
    dir,
    async remount() {
      await umount(dir);
      await mount(layers, dir);
    },
    close: () => umount(dir),
    inodes: async () => inodesOf(dir),
  };
}

/** The layers in one directory: what every filesystem does. */
export async function plainCopy(trees: KitTrees): Promise<WritableMount> {
  const dir = join(trees.scratch.directory('plain'), 'tree');
  await unpackFlat(trees.stack, dir);
  return {
    dir,
    remount: async () => undefined,
    close: async () => undefined,
    inodes: async () => inodesOf(dir),
  };
}

/** What a union does. */
export function kernelOverlay(trees: KitTrees): Promise<WritableMount> {
  return mounted(trees, mountKernel, unmount);
}

/** The server alone, over the directories. */
export function dropIn(trees: KitTrees, uring: 'Y' | 'N'): Promise<WritableMount> {
  return mounted(trees, (layers, dir) => withUring(uring, () => mountDropIn(layers, dir)), unmountDropIn);
}

/** `lamina mount --rw` of an archive of the same layers. */
export const image = {
  /** Whether the command has it. */
  async isThere(): Promise<boolean> {
    return (await lamina(['mount', '--help'], '/nonexistent')).stdout.includes('--rw');
  },

  async mount(trees: KitTrees, uring: 'Y' | 'N', driver: Driver = 'native'): Promise<WritableMount> {
    const base = trees.scratch.directory('image');
    const [dir, archive, root] = [join(base, 'mnt'), join(base, 'image.tar'), join(base, 'root')];
    mkdirSync(dir);
    dockerArchive(trees.stack, archive);
    const options = ['--driver', driver, '--allow-other', '-o', 'suid,dev'];
    const mount = (what: string): Promise<string> =>
      withUring(uring, () => laminaOk(['mount', '--rw', ...options, what, dir], root));
    await mount(archive);
    const container = (await laminaOk(['ps', '-a', '-q'], root)).trim();
    return {
      dir,
      async remount() {
        await laminaOk(['umount', dir], root);
        await mount(container);
      },
      async close() {
        await laminaOk(['umount', dir], root);
      },
      inodes: async () => inodesOf(dir),
    };
  },
};
