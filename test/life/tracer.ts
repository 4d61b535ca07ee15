/** fault.cc at a server: one of its system calls fails, or is the last that it makes. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compiled } from '../helpers/compile.js';

const SIZE = 40;
export const KILL_SERVER = 1n;
export const KILL_BOTH = 2n;

export class Tracer {
  readonly #control: number;
  #child: ChildProcess | undefined;

  /** @param file to be made: what the two say to each other */
  constructor(private readonly file: string) {
    this.#control = openSync(file, 'w+');
    this.nothing();
  }

  /** Returns when it watches all of `server`, which goes on when the tracer ends. */
  async attach(server: number): Promise<void> {
    await this.detach();
    const binary = compiled(fileURLToPath(new URL('fault.cc', import.meta.url)));
    this.#child = spawn(binary, [String(server), this.file], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(this.#child.stdout!, 'data')) as Buffer[];
    if (String(said) !== 'ready\n') throw new Error(`fault said ${String(said)}`);
  }

  async detach(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  }

  /** The `call`-th call that needs room from now on fails. */
  failAt(call: number, errno: bigint): void {
    this.#set(call, errno, 0n);
  }

  /** `whom` is killed after the `call`-th call that changes something. */
  killAt(call: number, whom: bigint): void {
    this.#set(call, 0n, whom);
  }

  nothing(): void {
    this.#set(0, 0n, 0n);
  }

  #set(call: number, errno: bigint, action: bigint): void {
    const numbers = Buffer.alloc(SIZE);
    numbers.writeBigUInt64LE(errno, 8);
    numbers.writeBigUInt64LE(action, 32);
    writeSync(this.#control, numbers, 0, SIZE, 0);
    numbers.writeBigUInt64LE(BigInt(call), 0);
    writeSync(this.#control, numbers, 0, 8, 0);
  }

  /** The number of the system call that it was; 0 when there were not so many. */
  get hit(): number {
    return this.#get(24);
  }

  /** How many calls of its kind came since it was said which is meant. */
  get seen(): number {
    return this.#get(16);
  }

  #get(at: number): number {
    const number = Buffer.alloc(8);
    readSync(this.#control, number, 0, 8, at);
    return Number(number.readBigUInt64LE());
  }

  async close(): Promise<void> {
    await this.detach();
    closeSync(this.#control);
  }
}
