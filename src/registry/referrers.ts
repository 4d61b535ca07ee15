/** A manifest that says something about another (its subject): registries that know no referrers are told by a tag (distribution-spec, Pushing Manifests with Subject). */
import type { Descriptor } from '../oci/descriptor.js';
import { hashBytes } from '../oci/digest.js';
import { parseIndex } from '../oci/image-index.js';
import { parseJsonObject } from '../oci/json.js';
import { OCI_INDEX } from '../oci/media-types.js';
import type { HttpResponse } from './http.js';
import { Repository } from './repository.js';
import type { UploadTarget } from './upload.js';

interface PushedDocument {
  mediaType: string;
  bytes: Buffer;
  digest: string;
}

/** `sha256-<hex>`: the tag under which the referrers of a digest are listed. */
export function referrersTag(digest: string): string {
  const [algorithm = '', encoded = ''] = digest.split(':');
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`.replace(/[^\w.-]/g, '-');
}

/**
 * What of a type refers to a manifest, as the registry lists it or, where it keeps no list, a tag does. Raises EBADIMAGE, EAUTH, ENETWORK.
 */
export async function listReferrers(
  repository: Repository,
  digest: string,
  artifactType: string,
): Promise<Descriptor[]> {
  // Side by side: the second is for registries that know nothing of the first.
  const [listed, tagged] = await Promise.all([
    repository.referrersIndex(digest, artifactType),
    repository.manifest(referrersTag(digest)).catch((error: { code?: string }) => {
      if (error.code === 'EREGISTRY' || error.code === 'EAUTH') return undefined;
      throw error;
    }),
  ]);
  const bytes = listed ?? tagged?.bytes;
  if (bytes === undefined) return [];
  return parseIndex(bytes, `referrers of ${digest}`).manifests.filter(
    (one) => one.artifactType === artifactType,
  );
}

/** After a manifest was put: adds it to its subject's list where the registry did not. Raises as pushing does. */
export async function updateReferrers(
  target: UploadTarget,
  { mediaType, bytes, digest }: PushedDocument,
  response: HttpResponse,
): Promise<void> {
  const object = parseJsonObject(bytes, `manifest ${digest}`);
  const subject = object.optionalObject('subject')?.string('digest');
  if (subject === undefined || response.headers['oci-subject'] !== undefined) return;
  const tag = referrersTag(subject);
  const manifests = await listed(target, tag);
  if (manifests.some((other) => other['digest'] === digest)) return;
  const artifactType =
    object.optionalString('artifactType') || object.optionalObject('config')?.optionalString('mediaType');
  const annotations = Object.fromEntries(object.stringMap('annotations'));
  manifests.push({
    ...{ mediaType, digest, size: bytes.length },
    ...(artifactType ? { artifactType } : {}),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  });
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  await target.putManifest(tag, OCI_INDEX, index, hashBytes('sha256', index));
}

async function listed(target: UploadTarget, tag: string): Promise<Record<string, unknown>[]> {
  const document = await new Repository(target.client, target.name)
    .manifest(tag)
    .catch((error: { code?: string }) => {
      if (error.code === 'EREGISTRY' || error.code === 'EAUTH') return undefined;
      throw error;
    });
  if (document === undefined) return [];
  parseIndex(document.bytes, `referrers ${tag}`);
  return (JSON.parse(document.bytes.toString('utf8')) as { manifests: Record<string, unknown>[] }).manifests;
}
