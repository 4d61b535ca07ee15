/** What a command prints, line by line, and the last of it for the message when it fails. */
import { StringDecoder } from 'node:string_decoder';
import type { ProgressStep } from './progress.js';

const LAST_LINES = 20;

export class CommandOutput {
  readonly lastLines: string[] = [];
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(private readonly progress: ProgressStep) {}

  readonly take = (chunk: Buffer): void => {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
  };

  end(): void {
    const rest = this.#rest + this.#decoder.end();
    if (rest !== '') this.#line(rest);
    this.#rest = '';
  }

  #line(line: string): void {
    this.progress.log(line.replace(/\r$/, ''));
    this.lastLines.push(line);
    if (this.lastLines.length > LAST_LINES) this.lastLines.shift();
  }
}
