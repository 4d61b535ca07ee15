/**
 * The store's `index.json`: which images it holds, and what they are called. An image-spec image index (image-index.md), so that other
 * tools read it; what they wrote into it and we do not understand is kept. An image with several names has an entry for each;
 * one without a name has an entry without one, because nothing else keeps it.
 */
import { LaminaError } from '../errors.js';
import { IMAGE_NAME, REF_NAME } from '../oci/annotations.js';
import { parseDescriptor } from '../oci/descriptor.js';
import type { Descriptor } from '../oci/descriptor.js';
import { asObject, parseJson } from '../oci/json.js';
import { OCI_INDEX } from '../oci/media-types.js';
import type { Platform } from '../oci/platform.js';
import { familiarReference, formatReference, tryParseReference, withDefaultTag } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';

/** Config digest of the image that this one was made from here. */
const PARENT = 'dev.laminafs.image.parent';
/** What the build step that made it depends on, as one digest: a build finds it again by that. */
const BUILD_KEY = 'dev.laminafs.image.build';
/** When it got this name, ISO 8601. */
const TAGGED = 'dev.laminafs.image.tagged';

/** A line of the index. Its fields are checked; `json` is what stands in the file. */
export interface IndexEntry {
  descriptor: Descriptor;
  /** In full, with a tag or a digest. */
  name: Reference | undefined;
  /** A name that another tool gave it and that is no reference: it keeps the image, but does not find it. */
  otherName: string | undefined;
  parent: string | undefined;
  buildKey: string | undefined;
  taggedAt: string | undefined;
  json: Readonly<Record<string, unknown>>;
}

export interface NewEntry {
  mediaType: string;
  digest: string;
  sizeBytes: number;
  platform: Platform | undefined;
  name?: Reference;
  parent?: string;
  buildKey?: string;
  taggedAt?: string;
}

/** No file is an empty index. A larger one than `maxBytes` raises ELIMIT, a malformed one EBADIMAGE. */
export function parseStoreIndex(bytes: Buffer | undefined, file: string): IndexEntry[] {
  if (bytes === undefined) return [];
  const index = asObject(parseJson(bytes, file, MAX_INDEX_BYTES), file);
  return index.array('manifests').map((json, position) => {
    const descriptor = parseDescriptor(asObject(json, `${file}, manifests[${position}]`));
    const { annotations } = descriptor;
    const written = annotations.get(IMAGE_NAME) ?? annotations.get(REF_NAME);
    const reference = written === undefined ? undefined : tryParseReference(written);
    return {
      descriptor,
      name: reference === undefined ? undefined : withDefaultTag(reference),
      otherName: reference === undefined ? written : undefined,
      parent: annotations.get(PARENT),
      buildKey: annotations.get(BUILD_KEY),
      taggedAt: annotations.get(TAGGED),
      json: json as Record<string, unknown>,
    };
  });
}

/** Room for some hundred thousand names. */
const MAX_INDEX_BYTES = 128 * 1024 * 1024;

export function formatStoreIndex(entries: readonly IndexEntry[]): Buffer {
  const manifests = entries.map(({ json }) => json);
  return Buffer.from(`${JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })}\n`);
}

/**
 * A line for an image. Its ref.name is the name as people type it, with its tag: what `skopeo copy oci:STORE:NAME` and
 * `umoci --image STORE:NAME` look for. The name, when there is one, must have a tag or a digest.
 */
export function makeEntry(entry: NewEntry): IndexEntry {
  const { mediaType, digest, sizeBytes, platform, name, parent, buildKey, taggedAt } = entry;
  if (name !== undefined && name.tag === undefined && name.digest === undefined)
    throw new LaminaError('EUSAGE', `${formatReference(name)} has neither a tag nor a digest`);
  const annotations: Record<string, string> = {
    ...(name === undefined
      ? {}
      : { [IMAGE_NAME]: formatReference(name), [REF_NAME]: familiarReference(name) }),
    ...(parent === undefined ? {} : { [PARENT]: parent }),
    ...(buildKey === undefined ? {} : { [BUILD_KEY]: buildKey }),
    ...(taggedAt === undefined ? {} : { [TAGGED]: taggedAt }),
  };
  const json = {
    mediaType,
    digest,
    size: sizeBytes,
    ...(platform === undefined ? {} : { platform: platformJson(platform) }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
  return {
    descriptor: parseDescriptor(asObject(json, 'new entry')),
    name,
    otherName: undefined,
    parent,
    buildKey,
    taggedAt,
    json,
  };
}

/** The same image under another name, or under none. What other tools annotated it with stays. */
export function renamedEntry(entry: IndexEntry, name: Reference | undefined, taggedAt?: string): IndexEntry {
  const annotations = { ...(entry.json['annotations'] as Record<string, string> | undefined) };
  for (const key of [IMAGE_NAME, REF_NAME, TAGGED]) delete annotations[key];
  if (name !== undefined) {
    annotations[IMAGE_NAME] = formatReference(name);
    annotations[REF_NAME] = familiarReference(name);
  }
  if (taggedAt !== undefined) annotations[TAGGED] = taggedAt;
  const json: Record<string, unknown> = { ...entry.json, annotations };
  if (Object.keys(annotations).length === 0) delete json['annotations'];
  const descriptor = parseDescriptor(asObject(json, 'entry'));
  return { ...entry, descriptor, name, otherName: undefined, taggedAt, json };
}

function platformJson({ os, architecture, variant, osVersion }: Platform): Record<string, string> {
  return {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
  };
}
