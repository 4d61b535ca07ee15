/** One repository of a registry, to read from (distribution-spec, Pull and Content Discovery). */
import { LaminaError } from '../errors.js';
import { hashBytes, isDigest } from '../oci/digest.js';
import { checkJsonSize, DEFAULT_MAX_JSON_BYTES, parseJsonObject, quoted } from '../oci/json.js';
import { DOCKER_INDEX, DOCKER_MANIFEST, documentKind, OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.js';
import { familiarReference, isTag } from '../oci/reference.js';
import type { RegistryClient, RegistryRequest } from './client.js';
import type { ReadSource } from './endpoint.js';
import { errorCode, readFailure, unexpected } from './failure.js';
import { parseUrl, readBody } from './http.js';
import type { HttpResponse } from './http.js';
import type { RuleName } from './rules.js';
import { repositoryScope } from './tokens.js';

export interface RemoteDocument {
  bytes: Buffer;
  mediaType: string;
  /** Of the bytes, verified. */
  digest: string;
}

type ReadRequest = Omit<RegistryRequest, 'scopes' | 'url'> & {
  /** Of the repository's path there; a URL that a registry gave is that registry's. */
  url: URL | ((path: string) => string);
  /** Mirrors may serve one of the two only. */
  takes?: ReadSource['takes'];
};

const ACCEPTED = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(', ');
const MAX_TAG_PAGES = 1000;
const MAX_TAGS = 100_000;
/** Of a foreign layer. */
const MAX_URLS = 8;

export class Repository {
  #sources: ReadSource[] | undefined;

  constructor(
    readonly client: RegistryClient,
    /** A tag or a digest counts where the registry's settings speak of one. */
    readonly name: RuleName,
  ) {}

  get #shown(): string {
    return familiarReference({ ...this.name, tag: undefined, digest: undefined });
  }

  /**
   * By tag or digest. Raises EREGISTRY in docker's words when it is not there, EAUTH when it may not be seen, EDIGEST when it is not
   * what was promised, EBADIMAGE, ENETWORK.
   */
  async manifest(reference: string): Promise<RemoteDocument> {
    const response = await this.#read(
      {
        ...{ method: 'GET', headers: { accept: ACCEPTED } },
        url: (path) => `v2/${path}/manifests/${reference}`,
        takes: isDigest(reference) ? 'digest-only' : 'tag-only',
      },
      (answer) => this.#manifestError(answer, reference),
    );
    const what = `manifest ${this.#shown}${isDigest(reference) ? '@' : ':'}${reference}`;
    checkJsonSize(Number(response.headers['content-length'] ?? 0), what, DEFAULT_MAX_JSON_BYTES);
    const bytes = await readBody(response, DEFAULT_MAX_JSON_BYTES);
    const digest = verified(bytes, reference, response.headers['docker-content-digest'], what);
    return { bytes, digest, mediaType: documentType(bytes, response.headers['content-type'], what) };
  }

  /**
   * Its body is the blob, or what follows `from`, up to `end`, which is not included; 200 means the whole, 206 the part. Raises EREGISTRY, EAUTH,
   * ENETWORK.
   */
  async blob(
    digest: string,
    from = 0,
    urls: readonly string[] = [],
    onRetry: (seconds: number) => void = () => {},
    end?: number,
  ): Promise<HttpResponse> {
    const isPart = from > 0 || end !== undefined;
    const headers = {
      accept: '*/*',
      ...(isPart ? { range: `bytes=${from}-${end === undefined ? '' : end - 1}` } : {}),
    };
    try {
      return await this.#read(
        { method: 'GET', url: (path) => `v2/${path}/blobs/${digest}`, headers, onRetry },
        (answer) => unexpected(answer, `cannot fetch ${digest} of ${this.#shown}`),
      );
    } catch (error) {
      // Only what is not there is looked for elsewhere.
      if (!(error instanceof LaminaError) || error.code !== 'EREGISTRY') throw error;
      // A foreign layer lies where its manifest says, and perhaps nowhere else (image-spec descriptor.md, urls).
      for (const text of urls.slice(0, MAX_URLS)) {
        const url = parseUrl(text);
        if (url === undefined || !/^https?:$/.test(url.protocol)) continue;
        const response = await this.client.http.send({ method: 'GET', url, headers });
        if (response.status === 200 || response.status === 206) return response;
        response.drop();
      }
      throw error;
    }
  }

  /** A config or another document, verified. Raises as `blob`, EDIGEST, ELIMIT. */
  async document(digest: string, sizeBytes: number): Promise<Buffer> {
    checkJsonSize(sizeBytes, digest, DEFAULT_MAX_JSON_BYTES);
    const response = await this.#read(
      { method: 'GET', url: (path) => `v2/${path}/blobs/${digest}` },
      (answer) => unexpected(answer, `cannot fetch ${digest} of ${this.#shown}`),
    );
    const bytes = await readBody(response, DEFAULT_MAX_JSON_BYTES);
    if (bytes.length !== sizeBytes)
      throw new LaminaError(
        'EDIGEST',
        `${digest} of ${this.#shown} has ${bytes.length} bytes, not ${sizeBytes}`,
        { digest },
      );
    verified(bytes, digest, undefined, `${digest} of ${this.#shown}`);
    return bytes;
  }

  /** What the registry itself lists as referring to a manifest (an index); undefined where it keeps no such list. Raises EAUTH, ENETWORK. */
  async referrersIndex(digest: string, artifactType: string): Promise<Buffer | undefined> {
    const query = new URLSearchParams({ artifactType });
    try {
      const response = await this.#read(
        {
          method: 'GET',
          url: (path) => `v2/${path}/referrers/${digest}?${query.toString()}`,
          headers: { accept: OCI_INDEX },
        },
        (answer) => unexpected(answer, `cannot list what refers to ${digest} of ${this.#shown}`),
      );
      return await readBody(response, DEFAULT_MAX_JSON_BYTES);
    } catch (error) {
      if (error instanceof LaminaError && error.code === 'EREGISTRY') return undefined;
      throw error;
    }
  }

  /** All tags, in the registry's order. Raises EREGISTRY, EAUTH, ENETWORK. */
  async tags(): Promise<string[]> {
    const tags: string[] = [];
    let url: URL | ReadRequest['url'] | undefined = (path: string) => `v2/${path}/tags/list`;
    for (let page = 0; url !== undefined; page++) {
      if (page > MAX_TAG_PAGES)
        throw new LaminaError('EREGISTRY', `${this.#shown} has too many pages of tags`);
      const response: HttpResponse = await this.#read({ method: 'GET', url }, (answer) =>
        this.#nameError(answer),
      );
      const bytes = await readBody(response, DEFAULT_MAX_JSON_BYTES);
      for (const tag of parseJsonObject(bytes, `tags of ${this.#shown}`).strings('tags')) {
        // It is going to be part of URLs and of names.
        if (!isTag(tag))
          throw new LaminaError('EREGISTRY', `${this.#shown} lists ${quoted(tag)}, which is no tag`);
        tags.push(tag);
      }
      if (tags.length > MAX_TAGS)
        throw new LaminaError('ELIMIT', `${this.#shown} has more than ${MAX_TAGS} tags`);
      url = nextPage(response);
    }
    return tags;
  }

  /** From the first source that has it; the last one's refusal is what counts. */
  async #read(
    { url, takes, ...request }: ReadRequest,
    failure: (response: HttpResponse) => Promise<LaminaError>,
  ): Promise<HttpResponse> {
    this.#sources ??= await this.client.readSources(this.name);
    const sources = this.#sources.filter(
      (source) =>
        (takes === undefined || source.takes === 'all' || source.takes === takes) &&
        // What one has begun to list, no other goes on with.
        (typeof url === 'function' || source.endpoint.url.origin === url.origin),
    );
    const last = sources.length - 1;
    for (const [index, { endpoint, path }] of sources.entries()) {
      const scopes = [repositoryScope(path, 'pull')];
      let response: HttpResponse;
      try {
        const whole = typeof url === 'function' ? url(path) : url;
        response = await this.client.request(endpoint, { ...request, url: whole, scopes });
      } catch (error) {
        if (index === last) throw error;
        continue;
      }
      if (response.status === 200 || response.status === 206) return response;
      if (index === last) throw await failure(response);
      response.drop();
    }
    throw new LaminaError('EREGISTRY', `${this.name.domain} has no endpoint`);
  }

  async #manifestError(response: HttpResponse, reference: string): Promise<LaminaError> {
    const failure = await readFailure(response);
    const isDenied = errorCode(failure) === 'EAUTH' || failure.code === 'NAME_UNKNOWN';
    if (isDenied) return this.#accessDenied(failure.text);
    const full = `${this.#shown}${isDigest(reference) ? '@' : ':'}${reference}`;
    if (failure.status === 404)
      return new LaminaError(
        'EREGISTRY',
        `manifest for ${full} not found: ${failure.code === undefined ? 'manifest unknown' : failure.text}`,
        {
          hint: 'Check the name and the tag.',
        },
      );
    return new LaminaError('EREGISTRY', `cannot pull ${full}: ${failure.text}`);
  }

  async #nameError(response: HttpResponse): Promise<LaminaError> {
    const failure = await readFailure(response);
    return errorCode(failure) === 'EAUTH' || failure.status === 404
      ? this.#accessDenied(failure.text)
      : new LaminaError('EREGISTRY', `cannot list the tags of ${this.#shown}: ${failure.text}`);
  }

  #accessDenied(text: string): LaminaError {
    return new LaminaError(
      'EAUTH',
      `pull access denied for ${this.#shown}, repository does not exist or may require 'docker login': ${text}`,
      { hint: `Check the name, or log in with: lamina login ${this.name.domain}` },
    );
  }
}

/** Raises EDIGEST unless the bytes are what was asked for and what the registry says of them. */
function verified(bytes: Buffer, reference: string, header: string | undefined, what: string): string {
  const promises = [
    isDigest(reference) ? reference : undefined,
    header !== undefined && isDigest(header) ? header : undefined,
  ];
  for (const promised of promises) {
    if (promised === undefined) continue;
    const found = hashBytes(promised.startsWith('sha512:') ? 'sha512' : 'sha256', bytes);
    if (found !== promised)
      throw new LaminaError('EDIGEST', `${what} should have the digest ${promised} but has ${found}`, {
        digest: promised,
      });
  }
  return promises.find((promised) => promised !== undefined) ?? hashBytes('sha256', bytes);
}

/** What the document says of itself, else what the registry says; when both do, they must agree (CVE-2021-41190). */
function documentType(bytes: Buffer, contentType: string | undefined, what: string): string {
  const said = contentType?.split(';')[0]?.trim() ?? '';
  const own = parseJsonObject(bytes, what).optionalString('mediaType') ?? '';
  if (own !== '' && documentKind(said) !== undefined && said !== own)
    throw new LaminaError('EBADIMAGE', `${what} is sent as ${quoted(said)}, but calls itself ${quoted(own)}`);
  return own || (documentKind(said) === undefined ? OCI_MANIFEST : said);
}

/** RFC 8288. */
export function nextPage(response: HttpResponse): URL | undefined {
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(response.headers['link'] ?? '')?.[1];
  const url = target === undefined ? undefined : parseUrl(target, response.url);
  return url?.origin === response.url.origin ? url : undefined;
}
