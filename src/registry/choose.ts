/** Which image of a repository a reference means: through indexes, nested ones too, to the manifest for a platform. */
import { LaminaError } from '../errors.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseIndex } from '../oci/image-index.js';
import { parseManifest } from '../oci/manifest.js';
import type { Manifest } from '../oci/manifest.js';
import { documentKind } from '../oci/media-types.js';
import { formatPlatform, hostPlatform, platformRank } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';
import { printable } from './printable.js';
import type { RemoteDocument, Repository } from './repository.js';

export interface ChosenImage {
  /** What the reference itself leads to: what a registry calls its digest. */
  top: RemoteDocument;
  document: RemoteDocument;
  manifest: Manifest;
}

const MAX_DEPTH = 8;
/** Platforms in a message. */
const MAX_SHOWN = 20;

/** Raises EPLATFORM in docker's words, and what `Repository.manifest` raises. */
export async function chooseImage(
  repository: Pick<Repository, 'manifest'>,
  reference: string,
  platform: Platform | undefined,
): Promise<ChosenImage> {
  const top = await repository.manifest(reference);
  let document = top;
  for (let depth = 0; documentKind(document.mediaType) === 'index'; depth++) {
    if (depth > MAX_DEPTH)
      throw new LaminaError('ELIMIT', `indexes are nested more than ${MAX_DEPTH} deep in ${reference}`);
    const { manifests } = parseIndex(document.bytes, `index ${document.digest}`);
    const wanted = platform ?? hostPlatform();
    const best = bestOf(manifests, wanted);
    if (best === undefined)
      throw new LaminaError(
        'EPLATFORM',
        `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries`,
        { hint: `It has: ${platformsOf(manifests) || 'none'}. Choose one with --platform.` },
      );
    document = await repository.manifest(best.digest);
    if (document.bytes.length !== best.sizeBytes)
      throw new LaminaError(
        'EDIGEST',
        `manifest ${best.digest} has ${document.bytes.length} bytes, not ${best.sizeBytes}`,
        {
          digest: best.digest,
        },
      );
  }
  return { top, document, manifest: parseManifest(document.bytes, `manifest ${document.digest}`) };
}

/** The best for the platform; what says nothing of its platform may be an index of others, and is tried last. */
function bestOf(descriptors: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  let best: { descriptor: Descriptor; rank: number } | undefined;
  for (const descriptor of descriptors) {
    const { mediaType, platform } = descriptor;
    if (documentKind(mediaType) === undefined || platform?.os === 'unknown') continue;
    const rank = platform === undefined ? Number.MAX_SAFE_INTEGER : platformRank(platform, wanted);
    if (rank !== undefined && (best === undefined || rank < best.rank)) best = { descriptor, rank };
  }
  return best?.descriptor;
}

function platformsOf(descriptors: readonly Descriptor[]): string {
  const shown = descriptors.flatMap(({ platform }) =>
    platform === undefined || platform.os === 'unknown' ? [] : [printable(formatPlatform(platform))],
  );
  return [...new Set(shown)].slice(0, MAX_SHOWN).join(', ');
}
