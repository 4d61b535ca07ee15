/** A range of an open file: what a tar, a layer or an archive is read from. The file is never changed through it. */
import { readSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../errors.js';

export interface ByteSource {
  /** Open for reading; whoever opened it closes it. */
  readonly fd: number;
  /** Where the range starts in the file. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** What to call it in an error message: a path, perhaps with the entry inside. */
  readonly name: string;
}

/** The part of `source` from `offset`, `sizeBytes` long. It must lie inside. */
export function subSource(
  source: ByteSource,
  offset: number,
  sizeBytes: number,
  name = source.name,
): ByteSource {
  if (offset < 0 || sizeBytes < 0 || offset + sizeBytes > source.sizeBytes) {
    throw new LaminaError(
      'EBADTAR',
      `${name}: bytes ${offset}..${offset + sizeBytes} lie outside ${source.name}`,
      { path: name, offset },
    );
  }
  return { fd: source.fd, offset: source.offset + offset, sizeBytes, name };
}

/**
 * Reads up to `buffer.length` bytes from `position` in the range; fewer only at its end. Returns the number read.
 * Raises EIO when the file turns out to be shorter than the range, or as the system says.
 */
export function readSource(source: ByteSource, buffer: Uint8Array, position: number): number {
  const wanted = Math.max(0, Math.min(buffer.length, source.sizeBytes - position));
  let done = 0;
  while (done < wanted) {
    let count: number;
    try {
      count = readSync(source.fd, buffer, done, wanted - done, source.offset + position + done);
    } catch (error) {
      throw fromSystemError(error, 'cannot read', source.name);
    }
    if (count === 0) {
      throw new LaminaError(
        'EIO',
        `${source.name} ends at byte ${position + done}, before the ${source.sizeBytes} it should have`,
        {
          path: source.name,
          offset: position + done,
        },
      );
    }
    done += count;
  }
  return done;
}

/** The whole range as one Buffer. For small things: manifests, configs, TOC files. */
export function readWhole(source: ByteSource): Buffer {
  const buffer = Buffer.allocUnsafe(source.sizeBytes);
  readSource(source, buffer, 0);
  return buffer;
}
