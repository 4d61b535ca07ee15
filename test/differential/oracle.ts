/** The kernel's and the unpacker's view of a stack of layers, by one oracle.py for the whole run. Needs root. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Stack } from '../helpers/stack.js';

export interface Expected {
  /** Dump of kernel overlayfs over the unpacked layers; `?` for link counts, which it takes from the lower files. */
  overlay: string;
  /** Dump of one directory to which all layers were applied in turn: link counts are those of the visible names. */
  flat: string;
}

export class Oracle {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  /** @param scratch an empty directory of a filesystem that overlayfs takes as a lower */
  constructor(scratch: string) {
    const script = fileURLToPath(new URL('oracle.py', import.meta.url));
    const helpers = fileURLToPath(new URL('../helpers', import.meta.url));
    this.#child = spawn('python3', ['-I', '-S', '-B', script, scratch, helpers], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** undefined when the specification leaves open what the stack means. */
  async expect(stack: Stack): Promise<Expected | undefined> {
    this.#child.stdin.write(`${JSON.stringify(stack)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('oracle.py ended');
    const answer = JSON.parse(line.value) as Partial<Expected> & { undefined?: string; failed?: string };
    if (answer.failed !== undefined) throw new Error(answer.failed);
    return answer.undefined === undefined ? (answer as Expected) : undefined;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await closed;
  }
}
