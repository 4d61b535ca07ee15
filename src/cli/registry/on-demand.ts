/** Images that are named like those of a registry, and are not here, are fetched when they are asked for: as docker run does. */
import { LaminaError } from '../../errors.js';
import { familiarReference, tryParseReference, withDefaultTag } from '../../oci/reference.js';
import type { Reference } from '../../oci/reference.js';

/** A path, an ID or an archive that is not there is a mistake, and no image of Docker Hub. */
const NO_NAME = /^[0-9a-f]{4,64}$|\.(tar|tgz|txz|zst|gz|bz2|xz|oci)(:|$)|^store:|^[./]/;

export type PullPolicy = 'always' | 'missing' | 'never';

/**
 * `open`; when it finds no image, the image is pulled, of which stderr tells, and `open` is tried once more. LAMINA_PULL=never forbids it. When the
 * pull fails, the error says first that there is no such image.
 */
export async function openOrPull<T>(
  name: string,
  platform: string | undefined,
  open: () => Promise<T>,
  policy: PullPolicy = 'missing',
): Promise<T> {
  if (policy === 'never') return open();
  if (policy === 'always') {
    const reference = wanted(name);
    if (reference !== undefined) await pull(reference, platform, undefined);
    return open();
  }
  try {
    return await open();
  } catch (error) {
    const reference = error instanceof LaminaError && error.code === 'ENOIMAGE' ? wanted(name) : undefined;
    if (reference === undefined) throw error;
    await pull(reference, platform, error as LaminaError);
  }
  return open();
}

export function wanted(name: string): Reference | undefined {
  if (process.env.LAMINA_PULL === 'never' || NO_NAME.test(name)) return undefined;
  const reference = tryParseReference(name);
  return reference === undefined ? undefined : withDefaultTag(reference);
}

async function pull(
  reference: Reference,
  platform: string | undefined,
  missing: LaminaError | undefined,
): Promise<void> {
  const [
    { pullImage },
    { defaultMaxInflated },
    { parsePlatform },
    { openImages },
    { createProgress },
    { withClient },
  ] = await Promise.all([
    import('../../registry/pull.js'),
    import('../../image/open.js'),
    import('../../oci/platform.js'),
    import('../image/images-store.js'),
    import('../output/progress.js'),
    import('./client.js'),
  ]);
  const store = await openImages();
  const wantedPlatform = platform ?? process.env.DOCKER_DEFAULT_PLATFORM;
  const progress = createProgress({ isPlain: false, isTransient: true });
  if (missing !== undefined)
    process.stderr.write(`Unable to find image '${familiarReference(reference)}' locally\n`);
  try {
    const { digest } = await withClient({}, (client) =>
      pullImage(store, client, reference, {
        maxInflatedBytes: defaultMaxInflated(),
        progress,
        ...(wantedPlatform ? { platform: parsePlatform(wantedPlatform) } : {}),
      }),
    );
    progress.finish();
    process.stderr.write(`Digest: ${digest}\n`);
  } catch (error) {
    if (!(error instanceof LaminaError) || missing === undefined) throw error;
    throw new LaminaError('ENOIMAGE', `${missing.message}; pulling it failed: ${error.message}`, {
      cause: error,
      hint: missing.hint,
    });
  } finally {
    progress.finish();
  }
}
