/** `copy` into a repository. The tag, or the digest, comes last: until then nothing leads to what was sent. */
import { LaminaError } from '../../errors.js';
import { formatReference } from '../../oci/reference.js';
import type { Reference } from '../../oci/reference.js';
import type { RegistryClient } from '../../registry/client.js';
import { KnownBlobs } from '../../registry/known-blobs.js';
import { DEFAULT_UPLOADS } from '../../registry/push.js';
import { updateReferrers } from '../../registry/referrers.js';
import { UploadTarget } from '../../registry/upload.js';
import type { CopyDocument } from './document.js';
import type { CopyDestination } from './target.js';

/** @param from the repository that it comes from, where it is one; it is asked to mount where both are of one registry */
export function registryDestination(
  client: RegistryClient,
  reference: Reference,
  storeRoot: string,
  from: Reference | undefined,
): CopyDestination {
  const target = new UploadTarget(client, reference);
  const known = new KnownBlobs(storeRoot, reference.domain);
  const own = from?.domain === reference.domain && from.path !== reference.path ? [from.path] : [];
  const put = async (name: string, { mediaType, bytes, digest }: CopyDocument): Promise<void> => {
    const response = await target.putManifest(name, mediaType, bytes, digest);
    await updateReferrers(target, { mediaType, bytes, digest }, response);
  };
  const holds = async (digest: string): Promise<string | undefined> => {
    if (await target.hasBlob(digest)) {
      known.add(digest, reference.path);
      return 'Already exists';
    }
    for (const repository of new Set([...own, ...known.repositoriesWith(digest, reference)])) {
      // Who may not read there sends it.
      if (!(await target.mountBlob(digest, repository).catch(unlessDenied))) continue;
      known.add(digest, reference.path);
      return `Mounted from ${repository}`;
    }
    return undefined;
  };
  return {
    ...{ takesIndex: true, compresses: true, takesForeign: true, concurrency: DEFAULT_UPLOADS },
    holds,
    async putBlob({ descriptor: { digest, sizeBytes }, read }, { onProgress, onRetry }) {
      const there = await holds(digest);
      if (there !== undefined) return there;
      await target.putBlob({ digest, sizeBytes, read }, onProgress, onRetry);
      known.add(digest, reference.path);
      return 'Copied';
    },
    putDocument: (document) => put(document.digest, document),
    async finish(top) {
      if (reference.digest !== undefined && reference.digest !== top.digest)
        throw new LaminaError(
          'EDIGEST',
          `${formatReference(reference)} cannot lead to ${top.digest}, which the image has become`,
          { digest: top.digest, hint: 'Give the destination a tag instead.' },
        );
      await put(reference.digest ?? reference.tag!, top);
      known.save();
    },
    abandon: async () => {},
  };
}

function unlessDenied(error: unknown): false {
  if (error instanceof LaminaError && error.code === 'EAUTH') return false;
  throw error;
}
