/**
 * Checkpoint indexes in a registry: a manifest that refers to that of the image (OCI 1.1, subject), with two blobs for each layer that has
 * an index. Nothing in the image's own manifest vouches for it: who may push to the repository may put one there. What a mount shows by it
 * is therefore held against the layers when they have come.
 */
import { LaminaError } from '../../errors.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { hashBytes, verifyBytes } from '../../oci/digest.js';
import { parseDescriptor } from '../../oci/descriptor.js';
import { parseJsonObject } from '../../oci/json.js';
import { OCI_MANIFEST } from '../../oci/media-types.js';
import type { BlobSource, UploadTarget } from '../upload.js';
import { readBody } from '../http.js';
import { listReferrers, updateReferrers } from '../referrers.js';
import type { Repository } from '../repository.js';

export const INDEX_ARTIFACT = 'application/vnd.laminafs.lazy-index.v1';
const INDEX_TYPE = 'application/vnd.laminafs.lazy-index.checkpoints.v1+gzip';
const WINDOWS_TYPE = 'application/vnd.laminafs.lazy-index.windows.v1';
/** On both blobs: the layer that they are of. */
const LAYER_ANNOTATION = 'org.laminafs.layer.digest';
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const EMPTY = Buffer.from('{}');
const MAX_INDEX_BYTES = 256 << 20;

export interface LayerIndex {
  layerDigest: string;
  index: Buffer;
  windows: Buffer;
}

/** Raises as pushing does. */
export async function pushIndexes(
  target: UploadTarget,
  subject: { mediaType: string; digest: string; sizeBytes: number },
  indexes: readonly LayerIndex[],
): Promise<{ digest: string }> {
  const layers = [];
  const blobs = indexes.flatMap(({ layerDigest, index, windows }) => [
    { layerDigest, bytes: index, mediaType: INDEX_TYPE },
    ...(windows.length === 0 ? [] : [{ layerDigest, bytes: windows, mediaType: WINDOWS_TYPE }]),
  ]);
  for (const { layerDigest, bytes, mediaType } of blobs) {
    const digest = hashBytes('sha256', bytes);
    await putBytes(target, digest, bytes);
    layers.push({ mediaType, digest, size: bytes.length, annotations: { [LAYER_ANNOTATION]: layerDigest } });
  }
  const empty = hashBytes('sha256', EMPTY);
  await putBytes(target, empty, EMPTY);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: INDEX_ARTIFACT,
      config: { mediaType: EMPTY_TYPE, digest: empty, size: EMPTY.length, data: EMPTY.toString('base64') },
      layers,
      subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.sizeBytes },
    }),
  );
  const digest = hashBytes('sha256', bytes);
  const response = await target.putManifest(digest, OCI_MANIFEST, bytes, digest);
  await updateReferrers(target, { mediaType: OCI_MANIFEST, bytes, digest }, response);
  return { digest };
}

async function putBytes(target: UploadTarget, digest: string, bytes: Buffer): Promise<void> {
  if (await target.hasBlob(digest)) return;
  const blob: BlobSource = {
    digest,
    sizeBytes: bytes.length,
    async *read(from) {
      yield bytes.subarray(from);
    },
  };
  await target.putBlob(blob);
}

export interface FoundIndex {
  index: Descriptor;
  /** undefined for a plain layer. */
  windows: Descriptor | undefined;
}

/** By layer digest, the indexes that a repository has for the image with this manifest. Of several artifacts the last that has one counts. Raises what reading raises. */
export async function findIndexes(
  repository: Repository,
  manifestDigest: string,
): Promise<Map<string, FoundIndex>> {
  const found = new Map<string, FoundIndex>();
  for (const { digest } of await listReferrers(repository, manifestDigest, INDEX_ARTIFACT)) {
    const { bytes } = await repository.manifest(digest);
    const object = parseJsonObject(bytes, `manifest ${digest}`);
    if (object.optionalObject('subject')?.string('digest') !== manifestDigest) continue;
    const layers = object.objects('layers').map(parseDescriptor);
    for (const index of layers) {
      const layer = index.annotations.get(LAYER_ANNOTATION);
      if (index.mediaType !== INDEX_TYPE || layer === undefined) continue;
      const windows = layers.find(
        ({ mediaType, annotations }) =>
          mediaType === WINDOWS_TYPE && annotations.get(LAYER_ANNOTATION) === layer,
      );
      found.set(layer, { index, windows });
    }
  }
  return found;
}

/** The bytes of an index, verified. Raises EDIGEST, ELIMIT and what reading raises. */
export async function readIndex(repository: Repository, { digest, sizeBytes }: Descriptor): Promise<Buffer> {
  if (sizeBytes > MAX_INDEX_BYTES)
    throw new LaminaError('ELIMIT', `index ${digest} is larger than ${MAX_INDEX_BYTES} bytes`, { digest });
  const bytes = await readBody(await repository.blob(digest), sizeBytes);
  verifyBytes(bytes, digest, `index ${digest}`);
  return bytes;
}
