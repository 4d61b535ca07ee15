/** The bytes of a source as they are sent. A stream of Node's would close the descriptor when it is given up half-way. */
import { read } from 'node:fs';
import { promisify } from 'node:util';
import { LaminaError } from '../errors.js';
import type { ByteSource } from '../tar/source.js';

const readFd = promisify(read);
const CHUNK_BYTES = 256 * 1024;

/** From a byte on. Raises EIO when it ends early. */
export async function* sourceChunks(source: ByteSource, from = 0): AsyncGenerator<Buffer> {
  for (let position = from; position < source.sizeBytes;) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, source.sizeBytes - position));
    const { bytesRead } = await readFd(source.fd, chunk, 0, chunk.length, source.offset + position);
    if (bytesRead === 0)
      throw new LaminaError('EIO', `${source.name} ends at byte ${position}`, { path: source.name });
    position += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}
