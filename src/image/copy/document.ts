/** Manifests and indexes as they are copied: byte by byte, whatever they describe. Source: image-spec manifest.md, image-index.md. */
import { LaminaError } from '../../errors.js';
import { parseDescriptor } from '../../oci/descriptor.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { hashBytes, parseDigest } from '../../oci/digest.js';
import { parseJsonObject, quoted } from '../../oci/json.js';
import { documentKind, OCI_INDEX, OCI_MANIFEST } from '../../oci/media-types.js';

export interface CopyDocument {
  mediaType: string;
  bytes: Buffer;
  /** Of the bytes. */
  digest: string;
}

/** What a manifest lists: its layers, bottom to top, then its config. It may describe no image at all. Raises EBADIMAGE. */
export function blobsOf({ bytes, digest }: CopyDocument): Descriptor[] {
  const object = parseJsonObject(bytes, `manifest ${digest}`);
  if (object.has('manifests')) throw object.bad('manifests', 'an image manifest must not have manifests');
  const config = object.optionalObject('config');
  if (config === undefined)
    throw new LaminaError('EMEDIATYPE', `manifest ${digest} is of an older kind, without a config`, {
      hint: 'Convert it first, for example with: skopeo copy --format oci',
    });
  return [...object.objects('layers').map(parseDescriptor), parseDescriptor(config)];
}

/** `changed` under its own digest, of the same algorithm. */
export function documentOf(before: CopyDocument, changed: object, mediaType: string): CopyDocument {
  const bytes = Buffer.from(JSON.stringify(changed));
  const { algorithm } = parseDigest(before.digest, 'manifest');
  return { mediaType, bytes, digest: hashBytes(algorithm, bytes) };
}

/** Raises EDIGEST unless the bytes are what led to them. */
export function checkDocument(bytes: Buffer, { digest, sizeBytes }: Descriptor, what: string): void {
  const found = hashBytes(parseDigest(digest, what).algorithm, bytes);
  if (found === digest && bytes.length === sizeBytes) return;
  throw new LaminaError(
    'EDIGEST',
    `${what} should have ${sizeBytes} bytes and the digest ${digest}, but has ${bytes.length} and ${found}`,
    { digest },
  );
}

/** The document's own, else what was said of it. Raises EMEDIATYPE. */
export function mediaTypeOf(bytes: Buffer, said: string, what: string): string {
  const object = parseJsonObject(bytes, what);
  const own = object.optionalString('mediaType') || said;
  const mediaType = own || (object.has('manifests') ? OCI_INDEX : OCI_MANIFEST);
  if (documentKind(mediaType) === undefined)
    throw new LaminaError(
      'EMEDIATYPE',
      `${what} has the media type ${quoted(mediaType)}, which is no manifest`,
    );
  return mediaType;
}
