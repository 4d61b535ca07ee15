/**
 * How an image in an archive is named on the command line: skopeo's transports (containers-transports(5)), or a path alone.
 * Transports cut at the first colon, as skopeo does; a bare path may hold colons, so there the disk decides.
 */
import { existsSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { quoted } from '../oci/json.js';
import type { ArchiveForm } from './image.js';

export interface ImageName {
  /** undefined: to be detected. */
  transport: ArchiveForm | undefined;
  path: string;
  /** A reference as `SelectOptions.reference` takes it. */
  reference: string | undefined;
}

const TRANSPORTS: readonly ArchiveForm[] = ['docker-archive', 'oci', 'oci-archive'];
const FOREIGN = /^(docker|docker-daemon|containers-storage|dir|ostree|sif|tarball|atomic):/;

/** Looks at the disk, but only to tell where the path ends. Raises EUSAGE. */
export function parseImageName(text: string): ImageName {
  if (text === '') throw invalid(text, 'it is empty');
  for (const transport of TRANSPORTS) {
    if (!text.startsWith(`${transport}:`)) continue;
    const { path, reference } = splitPath(text.slice(transport.length + 1));
    if (path === '') throw invalid(text, 'it has no path');
    return { transport, path, reference };
  }
  if (existsSync(text)) return { transport: undefined, path: text, reference: undefined };
  const foreign = FOREIGN.exec(text)?.[1];
  if (foreign !== undefined)
    throw new LaminaError('EUSAGE', `${quoted(text)}: the transport ${foreign} is not supported`, {
      hint: 'Copy the image to an archive first, for example with: skopeo copy SOURCE oci-archive:FILE',
    });
  const { path, reference } = splitPath(text);
  return existsSync(path)
    ? { transport: undefined, path, reference }
    : { transport: undefined, path: text, reference: undefined };
}

/** At the first colon after something that exists, else at the first colon. */
function splitPath(text: string): { path: string; reference: string | undefined } {
  const first = text.indexOf(':');
  let colon = first;
  while (colon > 0 && !existsSync(text.slice(0, colon))) colon = text.indexOf(':', colon + 1);
  if (colon <= 0) colon = existsSync(text) ? -1 : first;
  if (colon < 0) return { path: text, reference: undefined };
  return { path: text.slice(0, colon), reference: text.slice(colon + 1) || undefined };
}

function invalid(text: string, problem: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid image name ${quoted(text)}: ${problem}`, {
    hint: 'Give a path, or docker-archive:PATH[:REF], oci:PATH[:REF] or oci-archive:PATH[:REF].',
  });
}
