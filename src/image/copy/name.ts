/**
 * What `copy` takes for a source and a destination: the transports of containers-transports(5), `store:NAME` for an image of our own
 * store, and names without a transport, which are an image of the store or, to read from, an archive on the disk.
 */
import { parseImageName } from '../../archive/name.js';
import type { ImageName } from '../../archive/name.js';
import { LaminaError } from '../../errors.js';
import { quoted } from '../../oci/json.js';
import { parseReference, withDefaultTag } from '../../oci/reference.js';
import type { Reference } from '../../oci/reference.js';
import type { ImageStore } from '../../store/image-store.js';
import { locateImage } from '../locate.js';
import type { LocatedImage } from '../locate.js';
import { parseTagName } from '../tag.js';

export type CopyPlace =
  { transport: 'registry'; reference: Reference } | { transport: 'dir'; path: string } | LocatedImage;

export type CopyTarget =
  | { transport: 'registry'; reference: Reference }
  | { transport: 'dir'; path: string }
  | { transport: 'store'; name: Reference }
  | (ImageName & { transport: NonNullable<ImageName['transport']> });

const REGISTRY = 'docker://';
const DIRECTORY = 'dir:';
const STORE = 'store:';
/** Never looked up in the store, which may not even be readable. */
const ON_DISK = /^(docker-archive|oci|oci-archive):/;
const HINT =
  'Give it as docker://NAME, docker-archive:FILE[:NAME], oci:DIR[:NAME], oci-archive:FILE[:NAME], dir:DIR or store:NAME.';

/** Raises EUSAGE, ENOIMAGE. */
export function parseSource(text: string, store: ImageStore): CopyPlace {
  return elsewhere(text) ?? (ON_DISK.test(text) ? parseImageName(text) : locateImage(text, store));
}

/** Raises EUSAGE: for a path without a transport, since nothing says what is to be written there. */
export function parseTarget(text: string): CopyTarget {
  const other = elsewhere(text);
  if (other !== undefined) return other;
  if (text.startsWith(STORE)) return { transport: 'store', name: parseTagName(text.slice(STORE.length)) };
  if (ON_DISK.test(text)) return parseImageName(text) as Extract<CopyTarget, ImageName>;
  if (/^\.{0,2}\//.test(text) || /^(containers-storage|docker-daemon|ostree|sif|tarball|atomic):/.test(text))
    throw new LaminaError(
      'EUSAGE',
      `invalid destination ${quoted(text)}: it has no transport that is known`,
      {
        hint: HINT,
      },
    );
  return { transport: 'store', name: parseTagName(text) };
}

function elsewhere(text: string): Extract<CopyPlace, { transport: 'registry' | 'dir' }> | undefined {
  if (text.startsWith(REGISTRY))
    return {
      transport: 'registry',
      reference: withDefaultTag(parseReference(text.slice(REGISTRY.length))),
    };
  // As skopeo says it: the slashes are part of the transport.
  if (text.startsWith('docker:'))
    throw new LaminaError('EUSAGE', `invalid image name ${quoted(text)}: it does not begin with docker://`, {
      hint: HINT,
    });
  if (!text.startsWith(DIRECTORY)) return undefined;
  const path = text.slice(DIRECTORY.length);
  if (path === '') throw new LaminaError('EUSAGE', `invalid image name ${quoted(text)}: it has no path`);
  return { transport: 'dir', path };
}
