/**
 * Manifests in which something changed on the way: layers that were compressed, or the format, OCI's or docker's (image manifest v2, schema 2).
 * The two have one shape and differ in media types and annotations.
 */
import { LaminaError } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import {
  DOCKER_CONFIG,
  DOCKER_INDEX,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  layerCompression,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  requireConfigType,
} from '../../oci/media-types.js';
import { documentOf } from './document.js';
import type { CopyDocument } from './document.js';

export type ManifestFormat = 'oci' | 'docker';

interface JsonDescriptor {
  mediaType?: string;
  digest: string;
  size: number;
  annotations?: unknown;
}

/** @param changed by digest, what layers have become. Raises EMEDIATYPE for what the format has no name for. */
export function convertManifest(
  document: CopyDocument,
  changed: ReadonlyMap<string, Descriptor>,
  format: ManifestFormat | undefined,
): CopyDocument {
  const wanted = format === undefined ? document.mediaType : MANIFESTS[format];
  if (changed.size === 0 && wanted === document.mediaType) return document;
  const json = JSON.parse(document.bytes.toString('utf8')) as Record<string, unknown> & {
    mediaType?: string;
    config: JsonDescriptor;
    layers: JsonDescriptor[];
  };
  for (const layer of json.layers) {
    const sent = changed.get(layer.digest);
    if (sent !== undefined)
      Object.assign(layer, { mediaType: sent.mediaType, digest: sent.digest, size: sent.sizeBytes });
    if (format !== undefined) layer.mediaType = layerType(layer, format);
  }
  if (format !== undefined) {
    requireConfigType(json.config.mediaType ?? '', `manifest ${document.digest}`);
    json.config.mediaType = format === 'oci' ? OCI_CONFIG : DOCKER_CONFIG;
  }
  // Docker's has no annotations.
  if (format === 'docker')
    for (const object of [json, json.config, ...json.layers] as { annotations?: unknown }[])
      delete object.annotations;
  if (format !== undefined) json.mediaType = wanted;
  return documentOf(document, json, wanted);
}

/** @param copied by digest, what was listed and is now there */
export function convertIndex(
  document: CopyDocument,
  copied: ReadonlyMap<string, CopyDocument>,
  format: ManifestFormat | undefined,
): CopyDocument {
  const wanted = format === undefined ? document.mediaType : format === 'oci' ? OCI_INDEX : DOCKER_INDEX;
  const isSame = [...copied].every(([digest, { digest: now }]) => digest === now);
  if (isSame && wanted === document.mediaType) return document;
  const json = JSON.parse(document.bytes.toString('utf8')) as Record<string, unknown> & {
    manifests: JsonDescriptor[];
  };
  for (const entry of json.manifests) {
    const now = copied.get(entry.digest);
    if (now === undefined) continue;
    Object.assign(entry, { mediaType: now.mediaType, digest: now.digest, size: now.bytes.length });
  }
  if (format === 'docker')
    for (const object of [json, ...json.manifests] as { annotations?: unknown }[]) delete object.annotations;
  json['mediaType'] = wanted;
  return documentOf(document, json, wanted);
}

const MANIFESTS: Record<ManifestFormat, string> = { oci: OCI_MANIFEST, docker: DOCKER_MANIFEST };

function layerType({ mediaType = '', digest }: JsonDescriptor, format: ManifestFormat): string {
  const compression = layerCompression(mediaType, `layer ${digest}`);
  const isForeign = /foreign|nondistributable/.test(mediaType);
  if (format === 'oci') {
    const base = isForeign ? 'application/vnd.oci.image.layer.nondistributable.v1.tar' : OCI_LAYER;
    return compression === 'none' ? base : `${base}+${compression}`;
  }
  if (compression === 'zstd')
    throw new LaminaError(
      'EMEDIATYPE',
      `layer ${digest} is compressed with zstd, which docker's format lacks`,
      {
        digest,
        hint: 'Copy it with --format oci, or without --format.',
      },
    );
  const base = isForeign ? 'application/vnd.docker.image.rootfs.foreign.diff.tar' : DOCKER_LAYER;
  return compression === 'none' ? base : `${base}.gzip`;
}
