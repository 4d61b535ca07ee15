/** The bytes of a blob from a registry, gone on with after each cut. */
import { LaminaError } from '../errors.js';
import { DEFAULT_RETRIES, isCut } from './http.js';
import type { HttpResponse } from './http.js';
import type { Repository } from './repository.js';

export interface WantedBlob {
  digest: string;
  sizeBytes: number;
  urls: readonly string[];
}

/** Before going on with what was cut. */
const RESUME_MS = 100;

/**
 * What follows `from`, up to `end`, in order, each byte once. Attempts that brought nothing are counted; after some it raises what went wrong: ENETWORK,
 * EREGISTRY, EAUTH. More bytes than the blob may have are EDIGEST.
 */
export async function* downloadBlob(
  repository: Repository,
  blob: WantedBlob,
  from: number,
  onRetry: (seconds: number) => void = () => {},
  end = blob.sizeBytes,
): AsyncGenerator<Buffer> {
  const { http } = repository.client;
  let position = from;
  for (let failures = 0; position < end;) {
    const begun = position;
    try {
      const part = end < blob.sizeBytes ? end : undefined;
      const response = await repository.blob(blob.digest, position, blob.urls, onRetry, part);
      try {
        for await (const chunk of rest(response, blob, position)) {
          const bytes = chunk.subarray(0, end - position);
          position += bytes.length;
          failures = 0;
          yield bytes;
          if (bytes.length < chunk.length) break;
        }
      } finally {
        response.drop();
      }
      if (position < end) throw endsEarly(blob, position);
    } catch (error) {
      // A registry that has answered is there; one that never has may not exist.
      const isHope = isCut(error) && (position > from || (error as LaminaError).errno !== 'ECONNREFUSED');
      if (!isHope || failures >= DEFAULT_RETRIES) throw error;
      // A registry that was just sending is not overloaded.
      await http.wait(position > begun ? RESUME_MS : http.backOff(failures++), onRetry);
    }
  }
}

/** A server that cannot continue sends the whole again; what is there is skipped. */
async function* rest(response: HttpResponse, blob: WantedBlob, from: number): AsyncGenerator<Buffer> {
  const { digest, sizeBytes } = blob;
  let position = from;
  let skip = 0;
  if (response.status === 206) {
    const [, start, total] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '') ?? [];
    if (Number(start) !== from)
      throw new LaminaError(
        'EREGISTRY',
        `asked for ${digest} from byte ${from}, the registry sends another part of it`,
      );
    if (total !== undefined && total !== '*' && Number(total) !== sizeBytes)
      throw wrongSize(digest, Number(total), sizeBytes);
  } else {
    skip = from;
    const length = response.headers['content-length'];
    if (length !== undefined && Number(length) !== sizeBytes)
      throw wrongSize(digest, Number(length), sizeBytes);
  }
  for await (const chunk of response.body) {
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    if (skipped === chunk.length) continue;
    const bytes = chunk.subarray(skipped);
    position += bytes.length;
    if (position > sizeBytes) throw wrongSize(digest, position, sizeBytes);
    yield bytes;
  }
}

function wrongSize(digest: string, found: number, promised: number): LaminaError {
  return new LaminaError(
    'EDIGEST',
    `the registry sends ${digest} with ${found} bytes, promised were ${promised}`,
    {
      digest,
      hint: 'The registry, or what stands between, is broken; nothing was kept.',
    },
  );
}

function endsEarly({ digest, sizeBytes }: WantedBlob, position: number): LaminaError {
  return new LaminaError('ENETWORK', `${digest} ends at byte ${position} of ${sizeBytes}`, {
    digest,
    errno: 'UND_ERR_SOCKET',
  });
}
