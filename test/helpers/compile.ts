/** The C++ programs that tests run: one file each, compiled when first used and kept by their content. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** Path of the program of `source`. */
export function compiled(source: string): string {
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12);
  const directory = join(tmpdir(), `lamina-test-programs-${process.getuid?.() ?? 0}`);
  const program = join(directory, `${basename(source, '.cc')}-${hash}`);
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const made = `${program}.${process.pid}`;
  const args = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', made, source];
  const run = spawnSync(process.env['CXX'] ?? 'g++', args, { encoding: 'utf8' });
  if (run.status !== 0)
    throw new Error(`cannot compile ${source}: ${run.error?.message ?? ''}\n${run.stderr}`);
  renameSync(made, program);
  return program;
}
