/**
 * Runs the python3 scripts that stand beside the helpers. They reach the system calls Node has no names for, and they
 * are a second implementation to compare with, so they must never call anything of Lamina.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface PythonResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs `test/helpers/<script>`, with `input` as its standard input. Never blocks this process: it may be serving. */
export function tryPython(script: string, args: readonly string[], input = ''): Promise<PythonResult> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return new Promise((resolve, reject) => {
    // -I -S: no user site, no environment; starts in a third of the time.
    const child = spawn('python3', ['-I', '-S', path, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({
        status: code ?? 128,
        stdout: Buffer.concat(out).toString('latin1'),
        stderr: Buffer.concat(err).toString('utf8') + (signal === null ? '' : `killed by ${signal}`),
      }),
    );
    child.stdin.end(input);
  });
}

/** As tryPython, and raises what the script printed on standard error when it fails. Returns its standard output. */
export async function python(script: string, args: readonly string[], input = ''): Promise<string> {
  const result = await tryPython(script, args, input);
  if (result.status !== 0) throw new Error(`${script} ${args.join(' ')}: ${result.stderr.trim()}`);
  return result.stdout;
}
