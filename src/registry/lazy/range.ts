/** Parts of blobs, by Range requests (RFC 9110, 14). */
import { LaminaError } from '../../errors.js';
import type { Repository } from '../repository.js';

/** The bytes `start`..`end`. Raises EREGISTRY when the registry sends something else, and what `Repository.blob` raises. */
export async function* fetchRange(
  repository: Repository,
  digest: string,
  urls: readonly string[],
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  const response = await repository.blob(digest, start, urls, () => {}, end);
  try {
    const [, from] = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '') ?? [];
    if (response.status !== 206 || Number(from) !== start)
      throw new LaminaError(
        'EREGISTRY',
        `asked for a part of ${digest}, the registry sends another, or all of it`,
        {
          digest,
          hint: 'It knows no ranges; leave out --lazy.',
        },
      );
    // Read to its end, so that the connection can be used again.
    let left = end - start;
    for await (const chunk of response.body) {
      if (chunk.length > left)
        throw new LaminaError('EREGISTRY', `the registry sends more of ${digest} than it was asked for`, {
          digest,
        });
      left -= chunk.length;
      yield chunk;
    }
  } finally {
    response.drop();
  }
}

/** As `fetchRange`, whole and in memory. */
export async function readRange(
  repository: Repository,
  digest: string,
  urls: readonly string[],
  start: number,
  end: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of fetchRange(repository, digest, urls, start, end)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes.length !== end - start)
    throw new LaminaError('ENETWORK', `${digest} ends at byte ${start + bytes.length}, before ${end}`, {
      digest,
      errno: 'UND_ERR_SOCKET',
    });
  return bytes;
}
