/** System calls below one directory, by syscalls.py: those Node lacks, exact errno values, and calls of another user. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** The name of a call in syscalls.py and its arguments; paths are ByteStrings relative to the directory. */
export type Call = readonly [name: string, ...args: unknown[]];

export interface User {
  uid: number;
  gid: number;
}

/** Makes the calls in order in one new process. A failed one gives `{ errno: NAME }`. */
export function syscalls(directory: string, calls: readonly Call[], user?: User): Promise<unknown[]> {
  const { child, waiting } = (server ??= start());
  const id = nextId++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    child.stdin.write(
      `${JSON.stringify({ id, dir: directory, user: user === undefined ? null : [user.uid, user.gid], calls })}\n`,
    );
  });
}

interface Server {
  child: ChildProcessByStdio<Writable, Readable, null>;
  waiting: Map<number, { resolve: (results: unknown[]) => void; reject: (error: Error) => void }>;
}

let server: Server | undefined;
let nextId = 0;

/** One syscalls.py for all tests of a file; it ends with its standard input. */
function start(): Server {
  const script = fileURLToPath(new URL('syscalls.py', import.meta.url));
  const child = spawn('python3', ['-I', '-S', script], { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
  const waiting: Server['waiting'] = new Map();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as { id: number; results?: unknown[]; failed?: string };
    const request = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.results !== undefined) request?.resolve(answer.results);
    else request?.reject(new Error(answer.failed));
  });
  child.on('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('syscalls.py ended'));
  });
  child.unref();
  return { child, waiting };
}

/** One call. */
export async function syscall<T>(directory: string, ...call: Call): Promise<T> {
  return (await syscalls(directory, [call]))[0] as T;
}

/** `{ errno: NAME }`: what a call that must fail gives. */
export const fails = (errno: string): { errno: string } => ({ errno });

/** As call_stat of syscalls.py; 64-bit numbers as decimal text. */
export interface StatResult {
  ino: string;
  dev: string;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  size: number;
  blocks: number;
  blksize: number;
  mtimeNs: string;
  rdev: [major: number, minor: number];
}

/** As one entry of getdents64. */
export interface DirentResult {
  name: string;
  ino: string;
  offset: string;
  type: number;
}
