/** Two filesystems that do the same, by one lockstep.py for the whole run. Needs root. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { RandomScript } from './random-script.js';

export type Kind = 'plain' | 'kernel' | 'lamina';

export interface Comparison extends RandomScript {
  left: Kind;
  right: Kind;
  /** Known in the script as `$name`. */
  vars: Record<string, string>;
  /** Whether times of directories are compared. */
  hasDirectoryTimes: boolean;
}

export class Lockstep {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  /** @param scratch an empty directory of a filesystem that overlayfs takes as an upper */
  constructor(scratch: string, server: string) {
    const script = fileURLToPath(new URL('lockstep.py', import.meta.url));
    const helpers = fileURLToPath(new URL('../helpers', import.meta.url));
    this.#child = spawn('python3', ['-I', '-S', '-B', script, scratch, helpers, server], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The first difference; undefined when there is none. */
  async difference(comparison: Comparison): Promise<string | undefined> {
    this.#child.stdin.write(`${JSON.stringify(comparison)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('lockstep.py ended');
    const answer = JSON.parse(line.value) as { difference?: string | null; failed?: string };
    if (answer.failed !== undefined) throw new Error(answer.failed);
    return answer.difference ?? undefined;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await closed;
  }
}
