/** Scripts of system calls below a directory, run by script.py, whose head says what a line of one means. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

interface Server {
  child: ChildProcessByStdio<Writable, Readable, null>;
  waiting: Map<number, { resolve: (problems: string[]) => void; reject: (error: Error) => void }>;
}

let server: Server | undefined;
let nextId = 0;

/** The lines that did not give what they should, each with what it gave. `vars` are known in the script as `$name`. */
export function runScript(
  directory: string,
  text: string,
  vars: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const { child, waiting } = (server ??= start());
  const id = nextId++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    child.stdin.write(`${JSON.stringify({ id, dir: directory, text, vars })}\n`);
  });
}

/** One script.py for all tests of a file; it ends with its standard input. */
function start(): Server {
  const script = fileURLToPath(new URL('script.py', import.meta.url));
  const child = spawn('python3', ['-I', '-S', '-B', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
  });
  const waiting: Server['waiting'] = new Map();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as { id: number; problems?: string[]; failed?: string };
    const request = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.problems !== undefined) request?.resolve(answer.problems);
    else request?.reject(new Error(answer.failed));
  });
  child.on('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('script.py ended'));
  });
  child.unref();
  return { child, waiting };
}
