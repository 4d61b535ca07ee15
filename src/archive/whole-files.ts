/** Files that are whole or not there: written under another name, which tells whose it is, and given their own when they are on the disk. */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';

const TEMPORARY = '.lamina-tmp';

/** What comes in chunks, at once or by and by. */
export type Chunks = Iterable<Buffer> | AsyncIterable<Buffer>;

/** Raises as the system and `content` do; there is nothing new then. */
export async function replaceFile(file: string, content: Chunks): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await createFile(temporary, content);
    await rename(temporary, file);
    await syncDirectory(path.dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Where nothing is yet; on the disk when it resolves, and left behind when it rejects. */
export async function createFile(file: string, content: Chunks, mode = 0o644): Promise<void> {
  const handle = await open(file, 'wx', mode);
  try {
    let writing = Promise.resolve();
    let batch: Buffer[] = [];
    let batchBytes = 0;
    for await (const chunk of content) {
      batch.push(chunk);
      batchBytes += chunk.length;
      if (batchBytes < BATCH_BYTES) continue;
      await writing;
      // Written while the next come and are hashed; its failure is told in the next round.
      writing = writeBatch(handle, batch);
      writing.catch(() => {});
      [batch, batchBytes] = [[], 0];
    }
    await writing;
    await writeBatch(handle, batch);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const BATCH_BYTES = 1 << 20;

async function writeBatch(handle: FileHandle, batch: readonly Buffer[]): Promise<void> {
  if (batch.length === 0) return;
  const { bytesWritten } = await handle.writev(batch);
  let written = bytesWritten;
  for (const chunk of batch) {
    if (written < chunk.length) await writeAll(handle, chunk.subarray(written));
    written = Math.max(written - chunk.length, 0);
  }
}

export async function writeAll(handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done)).bytesWritten;
}

/** Beside what it will become, so that rename(2) works; with the process in it, so that what a killed one left can be told. */
export function temporaryName(file: string): string {
  const { dir, base } = path.parse(path.resolve(file));
  const name = path.join(dir, `.${base}.${process.pid}-${randomBytes(4).toString('hex')}${TEMPORARY}`);
  given.add(name);
  return name;
}

/** All that `temporaryName` gave in this process; most have got their names since. */
const given = new Set<string>();

/** What this process has not finished. For one that is about to end: whoever still writes fails. */
export function removeUnfinished(): void {
  for (const name of given) rmSync(name, { recursive: true, force: true });
  given.clear();
}

/** Removes what processes that are gone left of files whose names begin with `base`. */
export async function sweep(directory: string, base: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!name.startsWith(`.${base}`) || !name.endsWith(TEMPORARY)) continue;
    const pid = /\.(\d+)-[0-9a-f]{8}\.lamina-tmp$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(path.join(directory, name), { recursive: true, force: true });
  }
}

/** So that a name in it outlives a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
