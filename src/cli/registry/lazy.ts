/** `lamina mount --lazy`: an image of a registry that is not here, opened before it is. */
import { LaminaError } from '../../errors.js';
import type { OpenedLazy } from '../../image/lazy/open.js';
import { wanted } from './on-demand.js';

const DEFAULT_TIMEOUT_SECONDS = 30;

interface LazyFlags {
  platform?: string;
  maxInflated?: string;
  lazyTimeout?: string;
}

/** undefined when the image is here, or the name is of no registry: it is then opened as ever. */
export async function openLazily(name: string, flags: LazyFlags): Promise<OpenedLazy | undefined> {
  const timeoutMs = parseTimeout(flags.lazyTimeout);
  const [
    { locateImage },
    { ImageStore },
    { openLazy },
    { defaultMaxInflated, parseSize },
    { parsePlatform },
  ] = await Promise.all([
    import('../../image/locate.js'),
    import('../../store/image-store.js'),
    import('../../image/lazy/open.js'),
    import('../../image/open.js'),
    import('../../oci/platform.js'),
  ]);
  try {
    locateImage(name, new ImageStore());
    return undefined;
  } catch (error) {
    if (!(error instanceof LaminaError) || error.code !== 'ENOIMAGE') throw error;
  }
  const reference = wanted(name);
  if (reference === undefined) return undefined;
  const [{ withClient }, { createProgress }] = await Promise.all([
    import('./client.js'),
    import('../output/progress.js'),
  ]);
  const platform = flags.platform ?? process.env.DOCKER_DEFAULT_PLATFORM;
  const progress = createProgress({ isPlain: false, isTransient: true });
  try {
    const opened = await withClient({}, (client) =>
      openLazy(client, reference, {
        timeoutMs,
        progress,
        maxInflatedBytes:
          flags.maxInflated === undefined
            ? defaultMaxInflated()
            : parseSize(flags.maxInflated, '--max-inflated'),
        ...(platform ? { platform: parsePlatform(platform) } : {}),
      }),
    );
    progress.finish();
    if (opened !== undefined && opened.wholeLayers > 0)
      process.stderr.write(
        `lamina: ${opened.wholeLayers} layer${opened.wholeLayers === 1 ? ' has' : 's have'} no table of contents, and had to be fetched first\n`,
      );
    return opened;
  } finally {
    progress.finish();
  }
}

function parseTimeout(text: string | undefined): number {
  const seconds = text === undefined ? DEFAULT_TIMEOUT_SECONDS : Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 86_400) return Math.ceil(seconds * 1000);
  throw new LaminaError(
    'EUSAGE',
    `invalid argument "${text!}" for "--lazy-timeout" flag: expected seconds, at most 86400`,
  );
}
