/** Every blob against its digest, and every entry of the index against the blobs that it leads to. */
import { createHash } from 'node:crypto';
import { closeSync, rmSync } from 'node:fs';
import { LaminaError } from '../../errors.js';
import { parseConfig } from '../../oci/config.js';
import { parseIndex } from '../../oci/image-index.js';
import { parseManifest } from '../../oci/manifest.js';
import { documentKind } from '../../oci/media-types.js';
import { familiarReference } from '../../oci/reference.js';
import type { BlobStore } from '../../store/blobs.js';
import type { ImageStore } from '../../store/image-store.js';
import { containerNeeds, neededBy } from '../../store/needed.js';
import type { IndexEntry } from '../../store/store-index.js';
import { readSource } from '../../tar/source.js';
import type { ByteSource } from '../../tar/source.js';
import type { Checked, Finding } from './finding.js';

export async function checkBlobs(
  store: ImageStore,
  entries: readonly IndexEntry[],
  checked: Checked,
): Promise<Finding[]> {
  const damaged = new Map<string, string>();
  for (const digest of store.blobs.list()) {
    const sizeBytes = await sizeIfRight(store.blobs, digest);
    if (sizeBytes === undefined) damaged.set(digest, 'its content has another digest');
    checked.blobs++;
    checked.bytes += sizeBytes ?? 0;
  }
  const dropped = entries.flatMap((entry) => {
    const what = whatIsWrong(store.blobs, entry, damaged);
    return what === undefined ? [] : [{ entry, what }];
  });
  const findings: Finding[] = dropped.map(({ entry, what }) => ({
    kind: 'damage',
    subject: nameOf(entry),
    what,
    repair: 'its entry is taken out of the index; load or pull the image again',
    apply: (draft) => draft.remove(({ json }) => JSON.stringify(json) === JSON.stringify(entry.json)),
  }));
  const held = new Set(
    containerNeedsOrNone(store.root).flatMap((digest) => documentDigests(store.blobs, digest)),
  );
  for (const [digest, what] of damaged)
    findings.push({
      kind: 'damage',
      subject: `blob ${digest}`,
      what,
      // A container may still be able to use most of it.
      ...(held.has(digest)
        ? {}
        : { repair: 'it is removed', apply: () => rmSync(store.blobs.pathOf(digest), { force: true }) }),
    });
  findings.push(...orphans(store, entries, damaged));
  return findings;
}

/** undefined when its bytes are others. Gone meanwhile is no damage: whoever needs it is asked later. */
async function sizeIfRight(blobs: BlobStore, digest: string): Promise<number | undefined> {
  let source: ByteSource;
  try {
    source = blobs.open(digest);
  } catch (error) {
    if (error instanceof LaminaError && error.code === 'EBLOB') return 0;
    throw error;
  }
  try {
    return hashOf(source, digest.slice(0, digest.indexOf(':'))) === digest ? source.sizeBytes : undefined;
  } finally {
    closeSync(source.fd);
  }
}

/** Of the whole source, as a digest. */
export function hashOf(source: ByteSource, algorithm: string): string {
  const hash = createHash(algorithm);
  const chunk = Buffer.allocUnsafe(1 << 20);
  for (let position = 0, count = 0; position < source.sizeBytes; position += count) {
    count = readSource(source, chunk, position);
    hash.update(chunk.subarray(0, count));
  }
  return `${algorithm}:${hash.digest('hex')}`;
}

/** Of what an entry leads to: documents that can be read, and blobs of the size that they promise. */
function whatIsWrong(
  blobs: BlobStore,
  { descriptor }: IndexEntry,
  damaged: ReadonlyMap<string, string>,
): string | undefined {
  const check = ({ digest, sizeBytes }: { digest: string; sizeBytes: number }): string | undefined => {
    const found = blobs.sizeOf(digest);
    if (found === undefined) return `the store lacks its blob ${digest}`;
    if (damaged.has(digest)) return `its blob ${digest} is damaged`;
    return found === sizeBytes ? undefined : `its blob ${digest} has ${found} bytes, not ${sizeBytes}`;
  };
  const visit = (at: IndexEntry['descriptor'], depth: number): string | undefined => {
    const wrong = check(at);
    const kind = documentKind(at.mediaType);
    if (wrong !== undefined || kind === undefined || depth > 8) return wrong;
    const bytes = blobs.document(at.digest);
    if (kind === 'index') {
      // Another tool may have put some of its images here alone.
      const { manifests } = parseIndex(bytes, `index ${at.digest}`);
      return first(
        manifests.filter(({ digest }) => blobs.has(digest)),
        (child) => visit(child, depth + 1),
      );
    }
    const manifest = parseManifest(bytes, `manifest ${at.digest}`);
    const part = first([manifest.config, ...manifest.layers], check);
    if (part !== undefined) return part;
    parseConfig(blobs.document(manifest.config.digest), `config ${manifest.config.digest}`);
    return undefined;
  };
  try {
    return visit(descriptor, 0);
  } catch (error) {
    if (!(error instanceof LaminaError)) throw error;
    // No image: an artifact of another tool, which is kept.
    return error.code === 'EMEDIATYPE' ? undefined : error.message;
  }
}

function first<T>(items: readonly T[], wrong: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const what = wrong(item);
    if (what !== undefined) return what;
  }
  return undefined;
}

function orphans(
  store: ImageStore,
  entries: readonly IndexEntry[],
  damaged: ReadonlyMap<string, string>,
): Finding[] {
  let needed: ReadonlySet<string>;
  try {
    needed = neededBy(store, entries).blobs;
  } catch (error) {
    // What cannot be read is said already; what it needs nobody knows.
    if (error instanceof LaminaError) return [];
    throw error;
  }
  return store.blobs
    .list()
    .filter((digest) => !needed.has(digest) && !damaged.has(digest))
    .map((digest) => ({
      kind: 'leftover',
      subject: `blob ${digest}`,
      what: 'no image and no container needs it',
      repair: 'it is removed',
      apply: (draft) => draft.collectAfterwards(),
    }));
}

function containerNeedsOrNone(root: string): string[] {
  try {
    return containerNeeds(root).flatMap(({ manifestDigest }) => manifestDigest ?? []);
  } catch {
    return [];
  }
}

function documentDigests(blobs: BlobStore, digest: string): string[] {
  try {
    return [
      digest,
      ...(blobs
        .document(digest)
        .toString('utf8')
        .match(/sha(?:256|512):[0-9a-f]+/g) ?? []),
    ];
  } catch {
    return [digest];
  }
}

function nameOf({ name, otherName, descriptor }: IndexEntry): string {
  return `image ${name === undefined ? (otherName ?? descriptor.digest) : familiarReference(name)}`;
}
