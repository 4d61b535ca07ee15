/** Descriptors: how OCI documents point at content. Source: image-spec descriptor.md. */
import { parseDigest } from './digest.js';
import type { JsonObject } from './json.js';
import { platformFromJson, type Platform } from './platform.js';

export interface Descriptor {
  /** Empty where the document does not say. */
  mediaType: string;
  /** Well-formed. */
  digest: string;
  sizeBytes: number;
  urls: readonly string[];
  annotations: ReadonlyMap<string, string>;
  platform: Platform | undefined;
  artifactType: string | undefined;
}

/** Raises EBADIMAGE. */
export function parseDescriptor(object: JsonObject): Descriptor {
  const digest = object.string('digest');
  parseDigest(digest, `${object.where}, digest`);
  const platform = object.optionalObject('platform');
  return {
    mediaType: object.optionalString('mediaType') ?? '',
    digest,
    sizeBytes: object.sizeBytes('size'),
    urls: object.strings('urls'),
    annotations: object.stringMap('annotations'),
    platform: platform === undefined ? undefined : platformFromJson(platform),
    artifactType: object.optionalString('artifactType') || undefined,
  };
}
