/** Runs a few commands on an empty store, and keeps what V8 compiled for them beside the program (src/cli/start.ts). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { load, writeCache } from './dist/cli/main.js';

const COMMANDS = [['ps'], ['container', 'ls', '-q'], ['mounts', '--format', 'json'], ['images'], ['version']];

async function warmUp() {
  const root = mkdtempSync(path.join(tmpdir(), 'lamina-warm-up-'));
  process.env.LAMINA_ROOT = root;
  const write = process.stdout.write;
  process.stdout.write = () => true;
  const writeError = process.stderr.write;
  process.stderr.write = () => true;
  try {
    const { program, script } = load();
    for (const command of COMMANDS) await program.main(command);
    process.exitCode = 0;
    writeCache(script);
  } finally {
    process.stdout.write = write;
    process.stderr.write = writeError;
    rmSync(root, { recursive: true, force: true });
  }
}

void warmUp();
