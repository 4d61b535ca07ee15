/**
 * What the media types of image-spec (media-types.md) and Docker's image manifest v2, schema 2 mean to us. A type that is not
 * listed is refused: what it holds would have to be guessed.
 */
import { LaminaError } from '../errors.js';
import { quoted } from './json.js';

export type LayerCompression = 'none' | 'gzip' | 'zstd';

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

const OCI_NONDISTRIBUTABLE = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
const DOCKER_FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar';

/** Docker wrote `.gzip` from the start; `.zstd` and `+zstd` are what BuildKit and containers/image make of it. */
const LAYERS: ReadonlyMap<string, LayerCompression> = new Map([
  ...[OCI_LAYER, OCI_NONDISTRIBUTABLE].flatMap((base) => withSuffixes(base, '+')),
  ...[DOCKER_LAYER, DOCKER_FOREIGN].flatMap((base) => [
    ...withSuffixes(base, '.'),
    ...withSuffixes(base, '+').slice(1),
  ]),
]);

/** What a descriptor leads to, by its media type; undefined for all that is no image (signatures, charts, schema 1). */
export function documentKind(mediaType: string): 'index' | 'manifest' | undefined {
  switch (mediaType) {
    case OCI_INDEX:
    case DOCKER_INDEX:
      return 'index';
    case OCI_MANIFEST:
    case DOCKER_MANIFEST:
      return 'manifest';
    default:
      return undefined;
  }
}

/** How a layer of this type is said to be compressed. `what` names the layer. Raises EMEDIATYPE. */
export function layerCompression(mediaType: string, what: string): LayerCompression {
  const compression = LAYERS.get(mediaType);
  if (compression !== undefined) return compression;
  if (mediaType.endsWith('+encrypted')) {
    throw new LaminaError('EMEDIATYPE', `${what} is encrypted (${mediaType})`, {
      hint: 'Decrypt the image first, for example with: skopeo copy --decryption-key KEY',
    });
  }
  throw new LaminaError(
    'EMEDIATYPE',
    `${what} has the media type ${quoted(mediaType)}, which is no tar layer`,
  );
}

/** Raises EMEDIATYPE unless it is the type of an image's config. `what` names the manifest. */
export function requireConfigType(mediaType: string, what: string): void {
  if (mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG) return;
  throw new LaminaError(
    'EMEDIATYPE',
    `${what} does not describe a container image: its config has the media type ${quoted(mediaType)}`,
  );
}

function withSuffixes(base: string, separator: string): [string, LayerCompression][] {
  return [
    [base, 'none'],
    [`${base}${separator}gzip`, 'gzip'],
    [`${base}${separator}zstd`, 'zstd'],
  ];
}
