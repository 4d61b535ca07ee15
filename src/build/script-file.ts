/** A here-document that begins with `#!`, as a file that can be run. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { temporaryName } from '../store/files.js';

export async function withScript<T>(
  root: string,
  script: { content: string } | undefined,
  use: (file: string | undefined) => Promise<T>,
): Promise<T> {
  if (script === undefined) return use(undefined);
  const directory = path.join(root, 'tmp', temporaryName());
  mkdirSync(directory, { mode: 0o700 });
  try {
    const file = path.join(directory, 'script');
    writeFileSync(file, script.content);
    chmodSync(file, 0o755);
    return await use(file);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
