/**
 * Digests: `algorithm:hex`, as the image-spec (descriptor.md, Digests) registers them. A digest from outside is checked
 * here before it becomes part of a path, so that no other spelling than lower-case hex of the right length gets through.
 */
import { createHash } from 'node:crypto';
import { LaminaError } from '../errors.js';
import { quoted } from './json.js';

export type DigestAlgorithm = 'sha256' | 'sha512';

export interface Digest {
  algorithm: DigestAlgorithm;
  /** Lower case, 64 or 128 digits. */
  hex: string;
}

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };

/** True for `sha256:` and `sha512:` with the right number of lower-case hex digits. */
export function isDigest(text: string): boolean {
  return splitDigest(text) !== undefined;
}

/** `where` says in what the digest stands, for the message. Raises EBADIMAGE when malformed or of an unknown algorithm. */
export function parseDigest(text: string, where: string): Digest {
  const digest = splitDigest(text);
  if (digest !== undefined) return digest;
  throw new LaminaError(
    'EBADIMAGE',
    `${where}: ${quoted(text)} is not a digest of the form sha256:HEX or sha512:HEX`,
  );
}

/** Digest of bytes held in memory. */
export function hashBytes(algorithm: DigestAlgorithm, bytes: Uint8Array): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Raises EDIGEST unless `bytes` have that (well-formed) digest. `what` names them in the message. */
export function verifyBytes(bytes: Uint8Array, digest: string, what: string): void {
  const found = hashBytes(parseDigest(digest, what).algorithm, bytes);
  if (found !== digest) {
    throw new LaminaError('EDIGEST', `${what} should have the digest ${digest} but has ${found}`, {
      digest,
      path: what,
    });
  }
}

/**
 * The chain ID of each layer, bottom to top: what the layers up to it make together (image-spec config.md, Layer ChainID). The
 * first is its diffId itself; all others are sha256, whatever the diffIds' algorithm.
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : hashBytes('sha256', Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

function splitDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, Math.max(0, colon));
  const hex = text.slice(colon + 1);
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return undefined;
  return hex.length === HEX_LENGTH[algorithm] && /^[0-9a-f]+$/.test(hex) ? { algorithm, hex } : undefined;
}
