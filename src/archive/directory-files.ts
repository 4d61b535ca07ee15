/**
 * The files of a directory. Links on the disk are followed as the system does: whoever wrote the directory could have put the
 * content there as well. Only regular files are opened, and opening never waits for one.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { bytesToBuffer, type ByteString } from '../bytes.js';
import { fromSystemError } from '../errors.js';
import type { ByteSource } from '../tar/source.js';
import type { ArchiveFiles } from './files.js';

export class DirectoryFiles implements ArchiveFiles {
  readonly #open = new Map<ByteString, ByteSource>();

  constructor(readonly name: string) {}

  has(path: ByteString): boolean {
    try {
      return statSync(this.#onDisk(path), { throwIfNoEntry: false })?.isFile() ?? false;
    } catch {
      return false;
    }
  }

  open(path: ByteString): ByteSource | undefined {
    const existing = this.#open.get(path);
    if (existing !== undefined) return existing;
    const source = this.#openFile(path);
    if (source !== undefined) this.#open.set(path, source);
    return source;
  }

  with<T>(path: ByteString, use: (source: ByteSource) => T): T | undefined {
    const source = this.#openFile(path);
    if (source === undefined) return undefined;
    try {
      return use(source);
    } finally {
      closeSync(source.fd);
    }
  }

  close(): void {
    for (const source of this.#open.values()) closeSync(source.fd);
    this.#open.clear();
  }

  #openFile(path: ByteString): ByteSource | undefined {
    const onDisk = this.#onDisk(path);
    const name = onDisk.toString('utf8');
    let fd: number;
    try {
      // O_NONBLOCK: a FIFO in the place of a blob must not make us wait for a writer.
      fd = openSync(onDisk, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw fromSystemError(error, 'cannot open', name);
    }
    const stats = fstatSync(fd);
    if (stats.isFile()) return { fd, offset: 0, sizeBytes: stats.size, name };
    closeSync(fd);
    return undefined;
  }

  #onDisk(path: ByteString): Buffer {
    return Buffer.concat([Buffer.from(`${this.name}/`), bytesToBuffer(path)]);
  }
}
