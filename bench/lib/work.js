/**
 * The work directory: built images, compiled helpers, mount points. Everything in it can be made again; a thing that was
 * made carries the version of its recipe, and is made anew when that changes.
 */
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** The built server, which is a load generator too. */
export const SERVER = join(PROJECT, `prebuilds/linux-${process.arch}/lamina-fuse`);

export const DEFAULT_WORK = join(tmpdir(), 'lamina-bench');

/**
 * The description of something built in its own directory: `build(directory)` fills an empty one and returns what can be
 * kept as JSON. A build that was cut short leaves only a directory with another name, which the next one removes.
 */
export async function cached(work, name, version, build) {
  const directory = join(work, 'images', `${name}-v${version}`);
  const record = join(directory, 'image.json');
  if (existsSync(record)) return JSON.parse(readFileSync(record, 'utf8'));
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  process.stderr.write(`building ${name} ...\n`);
  const result = await build(directory);
  writeFileSync(`${record}.new`, JSON.stringify(result));
  renameSync(`${record}.new`, record);
  return result;
}

/** Compiles bench/load/NAME.cc with g++; -> path of the program. */
export function compiled(work, name) {
  const source = join(PROJECT, 'bench/load', `${name}.cc`);
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12);
  const program = join(work, 'bin', `${name}-${hash}`);
  if (existsSync(program)) return program;
  mkdirSync(dirname(program), { recursive: true });
  const args = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source];
  const run = spawnSync('g++', args, { encoding: 'utf8' });
  if (run.error) throw new Error(`g++ is needed for the load generators: ${run.error.message}`);
  if (run.status !== 0) throw new Error(`cannot compile ${name}.cc:\n${run.stderr}`);
  return program;
}
