/**
 * What long work does, for people (moby client/pkg/jsonmessage): on a terminal a line for each thing, changed in place; elsewhere
 * a line where the action changes, without numbers. It goes to stderr unless another stream is given.
 */
import { formatSize } from './sizes.js';
import { cut } from './width.js';

export interface Step {
  /** `Downloading`, `Extracting`. */
  action: string;
  /** Bytes. */
  current?: number;
  total?: number;
}

export interface Progress {
  update(id: string, step: Step): void;
  /** The last that is to be said of `id`: `Pull complete`. */
  done(id: string, text: string): void;
  /** A line that stays above those that change. */
  message(text: string): void;
  /** Leaves the lines as they are, or takes them away. Nothing may be said afterwards. */
  finish(): void;
}

export interface ProgressOptions {
  stream?: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
  /** Where there is no terminal: a line for each action, or (`false`, as docker load) only messages. */
  isPlain?: boolean;
  /** Whether the lines are gone from the terminal when the work is done. */
  isTransient?: boolean;
}

const INTERVAL_MS = 100;
const BAR_WIDTH = 50;
/** docker shows no bar on a terminal that is not wider. */
const COLUMNS_FOR_BAR = 110;

export function createProgress(options: ProgressOptions = {}): Progress {
  const stream = options.stream ?? process.stderr;
  const isTerminal = stream.isTTY === true && process.env['TERM'] !== 'dumb';
  return isTerminal
    ? new TerminalProgress(stream, options.isTransient === true)
    : new PlainProgress(stream, options.isPlain ?? true);
}

/** One bar, which is gone when it is finished, and nothing where there is no terminal. */
export function createBar(
  label: string,
  stream?: ProgressOptions['stream'],
): { update(doneBytes: number, totalBytes: number): void; finish(): void } {
  const progress = createProgress({
    ...(stream === undefined ? {} : { stream }),
    isPlain: false,
    isTransient: true,
  });
  return {
    update: (current, total) => progress.update('', { action: label, current, total }),
    finish: () => progress.finish(),
  };
}

class PlainProgress implements Progress {
  readonly #said = new Map<string, string>();

  constructor(
    readonly stream: NodeJS.WritableStream,
    readonly saysSteps: boolean,
  ) {}

  update(id: string, { action, current, total }: Step): void {
    if ((current ?? 0) > 0 || (total ?? 0) > 0) return;
    this.#say(id, action);
  }

  done(id: string, text: string): void {
    this.#say(id, text);
  }

  message(text: string): void {
    this.stream.write(`${text}\n`);
  }

  finish(): void {}

  #say(id: string, text: string): void {
    if (!this.saysSteps || this.#said.get(id) === text) return;
    this.#said.set(id, text);
    this.stream.write(`${prefix(id)}${text}\n`);
  }
}

class TerminalProgress implements Progress {
  readonly #lines = new Map<string, { step: Step; isDone: boolean }>();
  /** What the terminal shows, below the cursor's first line. */
  #shown: string[] = [];
  #drawnAt = -Infinity;

  constructor(
    readonly stream: NonNullable<ProgressOptions['stream']>,
    readonly isTransient: boolean,
  ) {}

  update(id: string, step: Step): void {
    const isNew = this.#lines.get(id)?.step.action !== step.action;
    this.#lines.set(id, { step, isDone: false });
    if (isNew || performance.now() - this.#drawnAt >= INTERVAL_MS) this.#draw(this.#visible());
  }

  done(id: string, text: string): void {
    this.#lines.set(id, { step: { action: text }, isDone: true });
    if (performance.now() - this.#drawnAt >= INTERVAL_MS) this.#draw(this.#visible());
  }

  message(text: string): void {
    this.#draw([]);
    this.stream.write(`${text}\n`);
    this.#draw(this.#visible());
  }

  finish(): void {
    this.#draw(this.isTransient ? [] : [...this.#lines.keys()].map((id) => this.#line(id)));
    this.#shown = [];
  }

  /** As many as fit above the cursor; when there are more, those that still change. */
  #visible(): string[] {
    const most = Math.max((this.stream.rows ?? 24) - 1, 1);
    const ids = [...this.#lines.keys()];
    if (ids.length <= most) return ids.map((id) => this.#line(id));
    const active = ids.filter((id) => !this.#lines.get(id)!.isDone);
    const finished = ids.filter((id) => this.#lines.get(id)!.isDone);
    const room = Math.max(most - active.length, 0);
    const shown = new Set([...active.slice(0, most), ...finished.slice(finished.length - room)]);
    return ids.filter((id) => shown.has(id)).map((id) => this.#line(id));
  }

  #line(id: string): string {
    const columns = this.stream.columns ?? 80;
    const { step } = this.#lines.get(id)!;
    return cut(`${prefix(id)}${step.action}${amount(step, columns)}`, columns - 1);
  }

  /** Writes what differs, and leaves the cursor on the line below. */
  #draw(lines: readonly string[]): void {
    this.#drawnAt = performance.now();
    let out = this.#shown.length > 0 ? `\x1b[${this.#shown.length}A` : '';
    let isChanged = this.#shown.length > lines.length;
    for (const [index, line] of lines.entries()) {
      const isSame = this.#shown[index] === line;
      isChanged ||= !isSame;
      out += isSame ? '\n' : `\r\x1b[2K${line}\n`;
    }
    if (this.#shown.length > lines.length) out += '\r\x1b[J';
    if (isChanged) this.stream.write(out);
    this.#shown = [...lines];
  }
}

function prefix(id: string): string {
  return id === '' ? '' : `${id}: `;
}

/** ` [====>     ]  12.3MB/45.6MB` */
function amount({ current = 0, total = 0 }: Step, columns: number): string {
  if (current <= 0 && total <= 0) return '';
  const done = formatSize(current).padStart(8);
  if (total <= 0) return ` ${done}`;
  const filled = Math.min(Math.floor(Math.floor((current / total) * 100) / 2), BAR_WIDTH);
  const bar = columns > COLUMNS_FOR_BAR ? `[${'='.repeat(filled)}>${' '.repeat(BAR_WIDTH - filled)}] ` : '';
  return ` ${bar}${done}${current > total ? '' : `/${formatSize(total)}`}`;
}
