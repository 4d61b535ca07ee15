/** The same mount by lamina-fuse and by fuse-overlayfs, for tests that hold one to the other. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SERVER } from './server-binary.js';

export const PROGRAMS = { lamina: SERVER, 'fuse-overlayfs': '/usr/bin/fuse-overlayfs' } as const;

export type Program = keyof typeof PROGRAMS;

export interface CommandOutcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a shell script in `directory`; `arguments_` are its $1, $2, ... */
export function shell(script: string, directory: string, ...arguments_: string[]): CommandOutcome {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'script', ...arguments_], {
    cwd: directory,
    encoding: 'latin1',
    timeout: 60_000,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return { status, stdout, stderr };
}

/** As shell(), and raises when the script fails. */
export function shellOk(script: string, directory: string, ...arguments_: string[]): string {
  const outcome = shell(script, directory, ...arguments_);
  if (outcome.status !== 0) throw new Error(`exit ${outcome.status}: ${outcome.stderr}${outcome.stdout}`);
  return outcome.stdout;
}

/** Directories `l` (lower), `u`, `w`, `m` in a directory of their own. */
export class DropIn {
  readonly base = mkdtempSync(join(tmpdir(), 'lamina-drop-in-'));
  readonly mnt = join(this.base, 'm');

  /** `fill` makes the lower directory's content, in it. */
  constructor(fill: string) {
    for (const name of ['l', 'u', 'w', 'm']) mkdirSync(join(this.base, name));
    shellOk(`set -e; ${fill}`, join(this.base, 'l'));
  }

  /** Runs the program with `-o lowerdir=l,upperdir=u,workdir=w[,OPTIONS] m`. */
  mount(program: Program, options = ''): CommandOutcome {
    const list = ['lowerdir=l,upperdir=u,workdir=w', ...(options === '' ? [] : [options])].join(',');
    return this.run(program, '-o', list, 'm');
  }

  /** Runs the program with these arguments, in the directory; pipes are its streams, as podman has it. */
  run(program: Program, ...args: string[]): CommandOutcome {
    const { status, stdout, stderr } = spawnSync(PROGRAMS[program], args, {
      cwd: this.base,
      encoding: 'latin1',
      timeout: 20_000,
    });
    return { status, stdout, stderr };
  }

  /** The mount table's options, or undefined when nothing is mounted. */
  options(): string[] | undefined {
    const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    return lines
      .find((line) => line.split(' ')[1] === this.mnt)
      ?.split(' ')[3]
      ?.split(',');
  }

  umount(): void {
    shellOk('umount m', this.base);
  }

  /** Runs a script in the mounted directory and returns what it prints on both streams. */
  inside(script: string): string {
    return shell(`exec 2>&1; ${script}`, this.mnt).stdout;
  }

  remove(): void {
    while (this.options() !== undefined) shellOk('umount --lazy m', this.base);
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** What `use` makes of a mount by each of the programs. */
export function byBoth<T>(fill: string, use: (bench: DropIn, program: Program) => T): Record<Program, T> {
  const one = (program: Program): T => {
    const bench = new DropIn(fill);
    try {
      return use(bench, program);
    } finally {
      bench.remove();
    }
  };
  return { lamina: one('lamina'), 'fuse-overlayfs': one('fuse-overlayfs') };
}
