/** A store with a small image that runs: busybox, users and groups, in a scratch directory with a run directory of its own. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxRoot } from './busybox-root.js';
import { lamina, laminaOk } from './lamina.js';
import type { CommandResult } from './lamina.js';

export class RunStore {
  readonly base = mkdtempSync(join(tmpdir(), 'lamina-run-'));
  readonly root = join(this.base, 'store');
  readonly rootfs = join(this.base, 'rootfs');
  readonly tar = join(this.base, 'rootfs.tar');

  /** `changes`: as `import --change` takes them. The image is called `box`. */
  async fill(changes: readonly string[] = ['CMD ["sh"]']): Promise<void> {
    process.env['LAMINA_RUN'] = join(this.base, 'run');
    busyboxRoot(this.rootfs);
    execFileSync('tar', ['-C', this.rootfs, '--numeric-owner', '-cf', this.tar, '.']);
    await this.ok('import', ...changes.flatMap((change) => ['-c', change]), this.tar, 'box');
  }

  run(...args: readonly string[]): Promise<CommandResult> {
    return lamina(args, this.root);
  }

  ok(...args: readonly string[]): Promise<string> {
    return laminaOk(args, this.root);
  }

  /** What should not be there when nothing runs: bundles, states of runtimes, mounts, half-made containers. */
  leftovers(): string[] {
    const inRun = ['bundles', 'runtime/crun', 'runtime/runc', 'mounts', 'private'].flatMap((name) => {
      const directory = join(this.base, 'run', name);
      return existsSync(directory) ? readdirSync(directory).map((entry) => `${name}/${entry}`) : [];
    });
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.base));
    return [...inRun, ...mounts];
  }

  /** Removes all containers and everything. */
  async remove(): Promise<void> {
    const ids = (await this.ok('ps', '-aq', '--no-trunc')).split('\n').filter(Boolean);
    if (ids.length > 0) await this.ok('rm', '-f', ...ids);
    rmSync(this.base, { recursive: true, force: true });
  }
}
