/**
 * What a container prints, in docker's json-file format: one line a JSON object `{"log":"...\n","stream":"stdout","time":"..."}`, a
 * long line in parts of 16 KiB of which only the last has the newline. native/monitor writes the same.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout } from 'node:timers/promises';
import { fromSystemError } from '../errors.js';

export const LOG_FILE = 'log.json';

export interface LogLine {
  text: string;
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with up to nanoseconds, UTC. */
  time: string;
}

const MAX_PART = 16 * 1024;

export class LogWriter {
  readonly #fd: number;
  readonly #rest = { stdout: '', stderr: '' };
  readonly #decoders = { stdout: new StringDecoder(), stderr: new StringDecoder() };

  /** Adds to the file, which is made when it is missing. */
  constructor(file: string) {
    try {
      this.#fd = openSync(file, 'a', 0o600);
    } catch (error) {
      throw fromSystemError(error, 'cannot write', file);
    }
  }

  write(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    let text = this.#rest[stream] + this.#decoders[stream].write(chunk);
    const parts: string[] = [];
    for (let end = text.indexOf('\n'); ; end = text.indexOf('\n')) {
      const cut = end >= 0 && end < MAX_PART ? end + 1 : text.length >= MAX_PART ? MAX_PART : 0;
      if (cut === 0) break;
      parts.push(text.slice(0, cut));
      text = text.slice(cut);
    }
    this.#rest[stream] = text;
    this.#put(stream, parts);
  }

  close(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const rest = this.#rest[stream] + this.#decoders[stream].end();
      if (rest !== '') this.#put(stream, [rest]);
    }
    closeSync(this.#fd);
  }

  #put(stream: string, parts: readonly string[]): void {
    if (parts.length === 0) return;
    const time = new Date().toISOString();
    writeSync(this.#fd, parts.map((log) => `${JSON.stringify({ log, stream, time })}\n`).join(''));
  }
}

const CHUNK = 64 * 1024;
const POLL_MS = 50;

/**
 * Lines from the beginning, and then those that come, until `isOver` says that none will.
 * @param isOver asked when the end of the file is reached
 */
export async function* readLog(
  file: string,
  isOver: () => boolean,
  abort?: AbortSignal,
): AsyncGenerator<LogLine> {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(error, 'cannot read', file);
    if (isOver() || abort?.aborted === true) return;
    await setTimeout(POLL_MS);
    return yield* readLog(file, isOver, abort);
  }
  try {
    const buffer = Buffer.allocUnsafe(CHUNK);
    let rest = Buffer.alloc(0);
    for (let position = 0; abort?.aborted !== true;) {
      const wasOver = isOver();
      const count = readSync(fd, buffer, 0, CHUNK, position);
      if (count === 0) {
        if (wasOver && position >= fstatSync(fd).size) return;
        await setTimeout(POLL_MS);
        continue;
      }
      position += count;
      rest = Buffer.concat([rest, buffer.subarray(0, count)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const parsed = parseLine(rest.subarray(0, end).toString('utf8'));
        rest = rest.subarray(end + 1);
        if (parsed !== undefined) yield parsed;
      }
    }
  } finally {
    closeSync(fd);
  }
}

function parseLine(text: string): LogLine | undefined {
  try {
    const { log, stream, time } = JSON.parse(text) as { log: string; stream: string; time: string };
    return { text: log, stream: stream === 'stderr' ? 'stderr' : 'stdout', time };
  } catch {
    return undefined;
  }
}
