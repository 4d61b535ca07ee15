/**
 * Image manifests: OCI's and Docker's schema 2, which have the same shape. Source: image-spec manifest.md. A document that could be
 * taken for an index as well is refused (CVE-2021-41190): two readers must not see two images under one digest.
 */
import { LaminaError } from '../errors.js';
import { parseDescriptor, type Descriptor } from './descriptor.js';
import { DEFAULT_MAX_JSON_BYTES, parseJsonObject, quoted } from './json.js';
import { documentKind, OCI_MANIFEST, requireConfigType } from './media-types.js';

export interface Manifest {
  mediaType: string;
  config: Descriptor;
  /** Bottom to top. */
  layers: readonly Descriptor[];
  annotations: ReadonlyMap<string, string>;
  /** The manifest that this one says something about, where it does. */
  subject: Descriptor | undefined;
}

/** `what` names the document. Raises EBADIMAGE, EMEDIATYPE when it describes something else than an image, ELIMIT. */
export function parseManifest(bytes: Buffer, what: string, maxBytes = DEFAULT_MAX_JSON_BYTES): Manifest {
  const object = parseJsonObject(bytes, what, maxBytes);
  const mediaType = object.optionalString('mediaType') ?? OCI_MANIFEST;
  if (object.has('manifests')) throw object.bad('manifests', 'an image manifest must not have manifests');
  if (object.optionalNumber('schemaVersion') === 1 || object.has('fsLayers')) {
    throw new LaminaError('EMEDIATYPE', `${what} is a manifest of schema 1`, {
      hint: 'Convert it first, for example with: skopeo copy --format oci',
    });
  }
  if (documentKind(mediaType) !== 'manifest')
    throw object.bad('mediaType', `${quoted(mediaType)} is not an image manifest`);
  const config = parseDescriptor(object.object('config'));
  requireConfigType(config.mediaType, what);
  const subject = object.optionalObject('subject');
  return {
    mediaType,
    config,
    layers: object.objects('layers').map(parseDescriptor),
    annotations: object.stringMap('annotations'),
    subject: subject === undefined ? undefined : parseDescriptor(subject),
  };
}
