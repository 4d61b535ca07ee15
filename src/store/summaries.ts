/**
 * What a list of images shows of each, in one file (`summaries.json`, derived): reading a thousand manifests and configs takes longer
 * than docker takes to print them. What a manifest's digest leads to never changes, so that a summary is never out of date; one that is
 * missing is made again from the blobs.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isDigest } from '../oci/digest.js';
import { temporaryName } from './files.js';
import type { StoredImage } from './stored-image.js';

export interface ImageSummary {
  /** Config digest. */
  imageId: string;
  createdMs: number;
  labels: Readonly<Record<string, string>>;
  /** Content of its layers; undefined while some layer has not been looked into. */
  sizeBytes?: number;
}

const FILE = 'summaries.json';
const VERSION = 1;
/** How many of images that have gone may stay: writing all takes longer than reading them. */
const MAX_SURPLUS = 50;

/** By manifest digest. Empty when the file is missing, damaged or of another version. */
export function readSummaries(root: string): Map<string, ImageSummary> {
  try {
    const { version, images } = JSON.parse(readFileSync(path.join(root, FILE), 'utf8')) as {
      version?: number;
      images?: Record<string, ImageSummary>;
    };
    if (version !== VERSION) return new Map();
    return new Map(Object.entries(images ?? {}).filter(([, summary]) => isWhole(summary)));
  } catch {
    return new Map();
  }
}

function isWhole(summary: ImageSummary | null): boolean {
  return (
    summary !== null &&
    isDigest(String(summary.imageId)) &&
    Number.isFinite(summary.createdMs) &&
    typeof summary.labels === 'object' &&
    summary.labels !== null
  );
}

/**
 * Only a help for the next reader: it is not synced, and a store that cannot take it works without. What is there already (`existing`) is
 * left as it is while it has them all, and not many more.
 */
export function writeSummaries(
  root: string,
  images: readonly StoredImage[],
  existing: ReadonlyMap<string, ImageSummary>,
): void {
  const digests = images.flatMap(({ manifestDigests }) => manifestDigests);
  const isThere = digests.every((digest) => existing.get(digest)?.sizeBytes !== undefined);
  if (isThere && existing.size <= digests.length + MAX_SURPLUS) return;
  const summaries = images.flatMap((image) => {
    try {
      return image.manifestDigests.map((digest) => [digest, image.summary()] as const);
    } catch {
      // Damaged: whoever uses it is told.
      return [];
    }
  });
  const temporary = path.join(root, 'tmp', temporaryName());
  try {
    writeFileSync(temporary, JSON.stringify({ version: VERSION, images: Object.fromEntries(summaries) }), {
      flag: 'wx',
      // It says no more than index and blobs do.
      mode: 0o644,
    });
    renameSync(temporary, path.join(root, FILE));
  } catch {
    rmSync(temporary, { force: true });
  }
}
