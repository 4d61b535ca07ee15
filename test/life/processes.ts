/** The processes of a drop-in mount, and the write load that lives through what happens to them. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WRITER = fileURLToPath(new URL('writer.py', import.meta.url));
const PYTHON = ['-I', '-S', '-B', WRITER];

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what: string, isTrue: () => boolean, limitMs = 10_000): Promise<void> {
  for (const end = Date.now() + limitMs; !isTrue();) {
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await pause(5);
  }
}

interface Found {
  pid: number;
  parent: number;
}

/** The processes whose command line ends with the mount point `dir`. */
function processesOf(dir: string): Found[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const words = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
        if (!words[0]!.endsWith('lamina-fuse') || words.at(-2) !== dir) return [];
        const [state, parent] = readFileSync(`/proc/${name}/stat`, 'latin1')
          .replace(/^.*\) /, '')
          .split(' ');
        return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent) }];
      } catch {
        return [];
      }
    });
}

/** Who answers the kernel; undefined between two of them. */
export function serverOf(dir: string): number | undefined {
  const all = processesOf(dir);
  return all.find(({ parent }) => all.some(({ pid }) => pid === parent))?.pid;
}

/** Who starts another when the server dies. */
export function supervisorOf(dir: string): number | undefined {
  const all = processesOf(dir);
  return all.find(({ pid }) => all.some(({ parent }) => parent === pid))?.pid;
}

/** Kills the server and its parent at once: the parent first, so that it starts no other. */
export function killAll(dir: string): void {
  const all = processesOf(dir);
  const isParent = ({ pid }: Found): boolean => all.some(({ parent }) => parent === pid);
  for (const one of [...all.filter(isParent), ...all.filter((other) => !isParent(other))])
    process.kill(one.pid, 'SIGKILL');
}

export function isServed(dir: string): boolean {
  return processesOf(dir).length > 0;
}

/** A writer.py at work in `dir`; what was acknowledged is in `acks`, outside. */
export class Writer {
  readonly #child: ChildProcess;
  #said = '';
  #complained = '';

  constructor(
    readonly dir: string,
    readonly acks: string,
    seed: number,
    position?: string,
  ) {
    const args = ['run', dir, acks, '600', String(seed), ...(position === undefined ? [] : [position])];
    this.#child = spawn('python3', [...PYTHON, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout!.on('data', (data: Buffer) => (this.#said += data.toString()));
    this.#child.stderr!.on('data', (data: Buffer) => (this.#complained += data.toString()));
    this.#child.stdin!.on('error', () => undefined);
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Ends it after what it is doing; what it complained of, which is nothing. */
  async stop(): Promise<string> {
    const closed = this.hasEnded ? undefined : once(this.#child, 'close');
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
    await closed;
    clearTimeout(timer);
    return this.#child.exitCode === 0 ? '' : `${this.#child.signalCode ?? ''}${this.#complained}`;
  }

  get said(): string {
    return this.#said;
  }
}

export function makeLower(dir: string): void {
  spawnSync('python3', [...PYTHON, 'lower', dir], { stdio: 'inherit' });
}

/** What is not as it was acknowledged (by record `before` of a disk); nothing when all is. */
export function check(dir: string, acks: string, before?: number): string {
  const args = ['check', dir, acks, ...(before === undefined ? [] : [String(before)])];
  const run = spawnSync('python3', [...PYTHON, ...args], { encoding: 'utf8', timeout: 60_000 });
  return run.status === 0 ? '' : run.stderr + (run.signal ?? '');
}
