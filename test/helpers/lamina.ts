/** Lamina as its users have it: the built command, in processes of its own, with a cache of its own. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SERVER } from './server-binary.js';
import type { Stack } from './stack.js';
import { dockerArchive } from './stack.js';

export type Driver = 'native' | 'fuse-native';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(CHECKOUT, 'dist/cli/main.js');
/** What Node runs. */
export { MAIN as LAMINA_MAIN };

/** Whether the command is built and has what `driver` needs. */
export function isLaminaBuilt(driver: Driver): boolean {
  const needed = { native: SERVER, 'fuse-native': join(CHECKOUT, 'node_modules/fuse-native/index.js') }[
    driver
  ];
  return existsSync(MAIN) && existsSync(needed);
}

export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs `lamina ARGS`; `root` is its LAMINA_ROOT. Does not throw when the command fails. */
export function lamina(args: readonly string[], root: string): Promise<CommandResult> {
  // No test asks the world for an image that is not there, unless it says so.
  const env = { LAMINA_PULL: 'never', ...process.env, LAMINA_ROOT: root };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      { env, encoding: 'latin1', maxBuffer: 1 << 28 },
      (_, stdout, stderr) => resolve({ exitCode: child.exitCode ?? 128, stdout, stderr }),
    );
  });
}

/** As lamina(), and raises when the command fails. */
export async function laminaOk(args: readonly string[], root: string): Promise<string> {
  const result = await lamina(args, root);
  if (result.exitCode !== 0) {
    throw new Error(`lamina ${args.join(' ')}: exit ${result.exitCode}: ${result.stderr.trim()}`);
  }
  return result.stdout;
}

/** An image of a stack, mounted at `dir`. */
export interface LaminaMount {
  dir: string;
  archive: string;
  /** LAMINA_ROOT of this mount alone. */
  root: string;
  /** Unmounts and removes everything. */
  close(): Promise<void>;
  /** Removes everything, where it is unmounted already. */
  remove(): void;
}

/** Writes the stack as a docker archive and mounts it. `options` are further arguments of `lamina mount`. */
export async function mountStack(
  stack: Stack,
  driver: Driver,
  options: readonly string[] = [],
): Promise<LaminaMount> {
  const base = mkdtempSync(join(tmpdir(), 'lamina-mount-'));
  const [dir, archive, root] = [join(base, 'mnt'), join(base, 'image.tar'), join(base, 'root')];
  mkdirSync(dir);
  dockerArchive(stack, archive);
  const remove = (): void => rmSync(base, { recursive: true, force: true });
  try {
    await laminaOk(['mount', '--driver', driver, ...options, archive, dir], root);
  } catch (error) {
    remove();
    throw error;
  }
  return {
    dir,
    archive,
    root,
    remove,
    async close() {
      // If the image stays mounted, removing would only meet EROFS and hide the error.
      await laminaOk(['umount', dir], root);
      remove();
    },
  };
}

/** What `use` makes of the mounted image. */
export async function withLaminaMount<T>(
  stack: Stack,
  driver: Driver,
  use: (dir: string) => Promise<T>,
): Promise<T> {
  const mount = await mountStack(stack, driver);
  try {
    return await use(mount.dir);
  } finally {
    await mount.close();
  }
}
