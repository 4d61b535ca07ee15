/** A part of what a decoder gives, and no more of it than that: what is stored may hold far more. */
import type { Transform } from 'node:stream';
import { LaminaError } from '../../errors.js';

/**
 * `length` bytes after `skip`. The decoder must give what it has when the input ends in the middle of a stream (finishFlush: Z_SYNC_FLUSH).
 * Raises EBADTAR.
 */
export async function takePart(
  decoder: Transform,
  stored: Buffer,
  skip: number,
  length: number,
  what: string,
): Promise<Buffer> {
  const plain = Buffer.allocUnsafe(length);
  const end = skip + length;
  let position = 0;
  decoder.end(stored);
  try {
    for await (const chunk of decoder as AsyncIterable<Buffer>) {
      const from = Math.max(0, skip - position);
      if (from < chunk.length)
        chunk.copy(plain, position + from - skip, from, Math.min(chunk.length, end - position));
      position += chunk.length;
      if (position >= end) return plain;
    }
  } catch (error) {
    // A part ends in the middle of a stream.
    if (position < end)
      throw new LaminaError(
        'EBADTAR',
        `${what}: its compressed data is damaged: ${(error as Error).message}`,
        {
          path: what,
          cause: error,
        },
      );
  }
  throw new LaminaError('EBADTAR', `${what}: holds only ${position} bytes, not ${end}`, { path: what });
}
