/** The library without a mount: `openImage` in a process of its own, which is told over its stdin what to do. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LaminaError } from '../../errors.js';
import { packageFile } from '../../package-files.js';
import type { Pass, Preparation, Session, Subject, Target, Timed } from '../subject.js';

/** What the process answers: a line each, `ready` first. */
export type LibraryAnswer = Timed | { error: string };

export class Library implements Subject {
  readonly name = 'lamina-library';
  readonly about = 'no mount, Node';

  constructor(
    private readonly signal: AbortSignal,
    private readonly preparations: ReadonlyMap<Target, Preparation>,
  ) {}

  missing(): undefined {
    return undefined;
  }

  async prepare(target: Target): Promise<Preparation> {
    return this.preparations.get(target) ?? { seconds: 0, bytes: 0 };
  }

  async open(target: Target): Promise<Session> {
    const options = { root: target.root, platform: target.platform };
    const child = spawn(
      process.execPath,
      [packageFile('dist/bench/library-main.js'), target.name, JSON.stringify(options)],
      { stdio: ['pipe', 'pipe', 'inherit'], signal: this.signal },
    );
    const session = new LibrarySession(child, this.signal);
    try {
      await session.ready();
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }
}

class LibrarySession implements Session {
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<void>;

  constructor(
    private readonly child: ChildProcess,
    private readonly signal: AbortSignal,
  ) {
    this.#ended = new Promise((resolve) => {
      child.on('error', () => resolve()).on('close', () => resolve());
    });
    child.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    await this.#answer();
  }

  async run(pass: Pass): Promise<Timed> {
    this.child.stdin!.write(`${JSON.stringify(pass)}\n`);
    const answer = await this.#answer();
    if ('error' in answer) throw new LaminaError('EBENCH', `lamina-library: ${answer.error}`);
    return answer;
  }

  async close(): Promise<void> {
    this.child.stdin!.end();
    await this.#ended;
  }

  async #answer(): Promise<LibraryAnswer> {
    const line = await this.#lines.next();
    this.signal.throwIfAborted();
    if (line.done === true)
      throw new LaminaError('EBENCH', 'lamina-library: its process ended without an answer');
    return JSON.parse(line.value) as LibraryAnswer;
  }
}
