/** Writing files so that they are whole or not there, also after a power cut. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Writes `bytes` to a file beside `file` and gives it that name when they are on the disk. Raises as the system does. */
export function replaceFileSync(file: string, bytes: Buffer, temporaries: string, mode = 0o644): void {
  const temporary = path.join(temporaries, temporaryName());
  try {
    const fd = openSync(temporary, 'wx', mode);
    try {
      writeFileSync(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(path.dirname(file));
}

/** With the process in it, so that what a killed one left can be told. */
export function temporaryName(): string {
  return `${process.pid}-${randomBytes(8).toString('hex')}`;
}

/** So that a name in it outlives a power cut. */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
