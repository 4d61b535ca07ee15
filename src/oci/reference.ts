/**
 * Docker references: `[domain/]path[:tag][@digest]`, in the familiar form people type (`ubuntu`) and the full form
 * (`docker.io/library/ubuntu`). Grammar and normalisation: distribution/reference, regexp.go and normalize.go.
 */
import { LaminaError } from '../errors.js';
import { isDigest } from './digest.js';
import { quoted } from './json.js';

export interface Reference {
  /** `docker.io`, `localhost:5000`, ... */
  domain: string;
  /** `library/ubuntu` */
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DOMAIN = 'index.docker.io';
const OFFICIAL = 'library/';
const MAX_NAME_LENGTH = 255;
/** Name, tag and a sha512 digest; the expressions below never see longer text. */
const MAX_LENGTH = MAX_NAME_LENGTH + 1 + 128 + 1 + 136;

const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;

/** Whether text is a tag, and so part of no path and no other name. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** In the full form, without adding a tag. Raises EUSAGE. */
export function parseReference(text: string): Reference {
  const invalid = (problem: string): LaminaError =>
    new LaminaError('EUSAGE', `invalid reference ${quoted(text)}: ${problem}`, {
      hint: 'Give it as NAME[:TAG][@DIGEST], for example debian:12.',
    });
  if (text.length > MAX_LENGTH) throw invalid('it is too long');
  if (/^[0-9a-f]{64}$/.test(text)) throw invalid('64 hex digits are an image ID, not a name');

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw invalid('its digest is malformed');
  const { domain, remainder } = splitDomain(at < 0 ? text : text.slice(0, at));
  const colon = remainder.indexOf(':');
  const path = colon < 0 ? remainder : remainder.slice(0, colon);
  const tag = colon < 0 ? undefined : remainder.slice(colon + 1);

  if (path.toLowerCase() !== path) throw invalid('the repository name must be lower case');
  if (!DOMAIN.test(domain) || !PATH.test(path)) throw invalid('the repository name is malformed');
  if (tag !== undefined && !TAG.test(tag)) throw invalid('its tag is malformed');
  if (domain.length + 1 + path.length > MAX_NAME_LENGTH)
    throw invalid(`the repository name is longer than ${MAX_NAME_LENGTH} characters`);
  return { domain, path, tag, digest };
}

/** The same, or undefined where parseReference raises. */
export function tryParseReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (error instanceof LaminaError && error.code === 'EUSAGE') return undefined;
    throw error;
  }
}

/** With the tag `latest` where there is neither a tag nor a digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: 'latest' }
    : reference;
}

/** `docker.io/library/ubuntu:24.04` */
export function formatReference(reference: Reference): string {
  return `${reference.domain}/${reference.path}${suffix(reference)}`;
}

/** `ubuntu:24.04`: what docker shows. */
export function familiarReference(reference: Reference): string {
  const { domain, path } = reference;
  if (domain !== DEFAULT_DOMAIN) return formatReference(reference);
  const name = path.startsWith(OFFICIAL) ? path.slice(OFFICIAL.length) : path;
  return `${name.includes('/') ? path : name}${suffix(reference)}`;
}

function suffix({ tag, digest }: Reference): string {
  return `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

function splitDomain(name: string): { domain: string; remainder: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(0, slash));
  let domain = DEFAULT_DOMAIN;
  let remainder = name;
  // An upper-case first part cannot be a path, so it can only be meant as a domain.
  if (slash >= 0 && (first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first)) {
    domain = first === LEGACY_DOMAIN ? DEFAULT_DOMAIN : first;
    remainder = name.slice(slash + 1);
  }
  if (domain === DEFAULT_DOMAIN && !remainder.includes('/')) remainder = OFFICIAL + remainder;
  return { domain, remainder };
}
