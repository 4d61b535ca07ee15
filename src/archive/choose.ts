/**
 * Which image of an archive is meant: by name, number, digest or ID, then by platform. It never guesses between images of
 * different names. Names match as docker's do (`debian` is `docker.io/library/debian:latest`), or exactly as written, as
 * in containers-transports(5).
 */
import { LaminaError } from '../errors.js';
import { quoted } from '../oci/json.js';
import { formatPlatform, hostPlatform, platformRank, type Platform } from '../oci/platform.js';
import { formatReference, tryParseReference, withDefaultTag } from '../oci/reference.js';
import type { ArchivedImage, SelectOptions } from './image.js';

/** An image that could be meant. The getters may read the archive, and may raise. */
export interface Candidate {
  /** Names as the archive writes them. */
  readonly references: readonly string[];
  /** Further names it answers to: a bare tag, which alone says nothing to a person. */
  readonly otherNames: readonly string[];
  /** Place of its entry in the archive's own list, from 0; the platforms of one entry share it. */
  readonly position: number;
  readonly manifestDigest: string | undefined;
  /** Digests of the indexes that it was reached through. */
  readonly indexDigests: readonly string[];
  imageId(): string | undefined;
  platform(): Platform;
}

/** An image of a docker archive, in either of its layouts. */
export interface DockerImage extends Candidate {
  /** Equal for entries that describe one image; known without reading more. */
  readonly identity: string;
  load(): ArchivedImage;
}

const MIN_ID_DIGITS = 6;

/** Raises ENOIMAGE when none or several fit, EPLATFORM when none fits the platform. `name` is the archive. */
export function choose<T extends Candidate>(
  candidates: readonly T[],
  options: SelectOptions,
  name: string,
): T {
  const { reference, platform } = options;
  const named = reference === undefined ? candidates : matching(candidates, reference);
  const [first] = named;
  if (first === undefined) {
    throw new LaminaError(
      'ENOIMAGE',
      candidates.length === 0
        ? `${name} holds no image`
        : `${name} holds no image ${quoted(reference ?? '')}; it holds ${listed(candidates)}`,
      { path: name },
    );
  }
  if (platform === undefined && isOneImage(named)) return first;
  const wanted = platform ?? hostPlatform();
  const fitting = named
    .map((candidate) => ({ candidate, rank: platformRank(candidate.platform(), wanted) }))
    .filter((fit): fit is { candidate: T; rank: number } => fit.rank !== undefined);
  if (fitting.length === 0) {
    if (haveDifferentNames(named)) throw ambiguous(named, name);
    throw new LaminaError(
      'EPLATFORM',
      `${name} holds no image for ${formatPlatform(wanted)}; it holds ${platforms(named)}`,
      { path: name },
    );
  }
  const fits = fitting.map((fit) => fit.candidate);
  if (haveDifferentNames(fits)) throw ambiguous(fits, name);
  const bestRank = Math.min(...fitting.map((fit) => fit.rank));
  const best = fitting.filter((fit) => fit.rank === bestRank).map((fit) => fit.candidate);
  // Within one index the first of equal platforms is meant (image-spec image-index.md, platform).
  if (best.some((candidate) => candidate.position !== best[0]!.position) && !isOneImage(best))
    throw ambiguous(best, name);
  return best[0]!;
}

function matching<T extends Candidate>(candidates: readonly T[], reference: string): T[] {
  const position = /^@(\d+)$/.exec(reference)?.[1];
  if (position !== undefined)
    return candidates.filter((candidate) => candidate.position === Number(position));
  const exact = candidates.filter((candidate) =>
    [...candidate.references, ...candidate.otherNames].includes(reference),
  );
  if (exact.length > 0) return exact;
  const full = fullName(reference);
  const byName =
    full === undefined
      ? []
      : candidates.filter((candidate) => candidate.references.some((written) => fullName(written) === full));
  return byName.length > 0 ? byName : matchingDigest(candidates, reference);
}

function matchingDigest<T extends Candidate>(candidates: readonly T[], reference: string): T[] {
  // `NAME@DIGEST` means the digest, whatever the archive calls the image.
  const digest = /^(?:.*@)?(sha(?:256|512):[0-9a-f]+)$/.exec(reference)?.[1];
  if (digest !== undefined) {
    const byManifest = candidates.filter((candidate) =>
      [candidate.manifestDigest, ...candidate.indexDigests].includes(digest),
    );
    if (byManifest.length > 0) return byManifest;
  }
  const hex = /^(?:sha256:)?([0-9a-f]+)$/.exec(reference)?.[1];
  if (hex === undefined || hex.length < MIN_ID_DIGITS) return [];
  return candidates.filter((candidate) => candidate.imageId()?.startsWith(`sha256:${hex}`));
}

/** What docker would call it; undefined for a name that is no docker reference. */
function fullName(text: string): string | undefined {
  const reference = tryParseReference(text);
  return reference === undefined ? undefined : formatReference(withDefaultTag(reference));
}

function isOneImage(candidates: readonly Candidate[]): boolean {
  if (candidates.length === 1) return true;
  const digest = candidates[0]?.manifestDigest;
  if (digest !== undefined) return candidates.every((candidate) => candidate.manifestDigest === digest);
  const id = candidates[0]?.imageId();
  return id !== undefined && candidates.every((candidate) => candidate.imageId() === id);
}

function haveDifferentNames(candidates: readonly Candidate[]): boolean {
  const key = (candidate: Candidate): string => JSON.stringify([candidate.references, candidate.otherNames]);
  return candidates.some((candidate) => key(candidate) !== key(candidates[0]!)) && !isOneImage(candidates);
}

function ambiguous(candidates: readonly Candidate[], name: string): LaminaError {
  return new LaminaError('ENOIMAGE', `${name} holds several images: ${listed(candidates)}`, { path: name });
}

function listed(candidates: readonly Candidate[]): string {
  return few(
    candidates.map((candidate) => {
      const label = candidate.references[0] ?? candidate.otherNames[0] ?? `@${candidate.position}`;
      return quoted(label);
    }),
  );
}

function platforms(candidates: readonly Candidate[]): string {
  return few(candidates.map((candidate) => quoted(formatPlatform(candidate.platform()))));
}

function few(items: readonly string[]): string {
  const distinct = [...new Set(items)];
  const more = distinct.length > 20 ? ` and ${distinct.length - 20} more` : '';
  return distinct.slice(0, 20).join(', ') + more;
}
