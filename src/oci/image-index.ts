/**
 * Image indexes: OCI's (also a layout's index.json) and Docker's manifest list. Source: image-spec image-index.md. A document that could
 * be taken for a manifest as well is refused (CVE-2021-41190).
 */
import { parseDescriptor, type Descriptor } from './descriptor.js';
import { DEFAULT_MAX_JSON_BYTES, parseJsonObject, quoted } from './json.js';
import { documentKind, OCI_INDEX } from './media-types.js';

export interface ImageIndex {
  mediaType: string;
  manifests: readonly Descriptor[];
  annotations: ReadonlyMap<string, string>;
}

/** `what` names the document. Raises EBADIMAGE, ELIMIT. */
export function parseIndex(bytes: Buffer, what: string, maxBytes = DEFAULT_MAX_JSON_BYTES): ImageIndex {
  const object = parseJsonObject(bytes, what, maxBytes);
  const mediaType = object.optionalString('mediaType') ?? OCI_INDEX;
  if (documentKind(mediaType) !== 'index')
    throw object.bad('mediaType', `${quoted(mediaType)} is not an image index`);
  for (const key of ['config', 'layers', 'fsLayers'])
    if (object.has(key)) throw object.bad(key, 'an image index must not have it');
  return {
    mediaType,
    manifests: object.objects('manifests').map(parseDescriptor),
    annotations: object.stringMap('annotations'),
  };
}
