/** Writing files so that they are whole or not there, also after a power cut. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Writes `bytes` to a file beside `file` and gives it that name when they are on the disk. Raises as the system does. */
export function replaceFileSync(file: string, bytes: Buffer, temporaries: string, mode = 0o644): void {
  placeFileSync(file, bytes, temporaries, mode, renameSync);
}

/** As `replaceFileSync`; a file that is there already, or comes at this moment, stays as it is. */
export function createFileSync(file: string, bytes: Buffer, temporaries: string, mode = 0o644): void {
  placeFileSync(file, bytes, temporaries, mode, (temporary) => {
    try {
      linkSync(temporary, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    rmSync(temporary, { force: true });
  });
}

function placeFileSync(
  file: string,
  bytes: Buffer,
  temporaries: string,
  mode: number,
  place: (temporary: string, file: string) => void,
): void {
  const temporary = path.join(temporaries, temporaryName());
  try {
    const fd = openSync(temporary, 'wx', mode);
    try {
      writeFileSync(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    place(temporary, file);
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
