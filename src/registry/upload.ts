/**
 * Blobs and manifests into a repository (distribution-spec, Push). A large blob goes in one PATCH; when that is cut, the registry is asked how
 * far it came, and the rest follows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LaminaError } from '../errors.js';
import { familiarReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';
import type { RegistryClient, RegistryRequest } from './client.js';
import type { Endpoint } from './endpoint.js';
import { unexpected } from './failure.js';
import { DEFAULT_RETRIES, isCut, parseUrl, retryAfterMs } from './http.js';
import type { HttpResponse } from './http.js';
import { repositoryScope } from './tokens.js';
import type { Scope } from './tokens.js';

export interface BlobSource {
  digest: string;
  sizeBytes: number;
  /** The bytes from one on, as often as asked. */
  read: (from: number) => AsyncIterable<Buffer>;
}

/** Up to here a blob goes in one PUT, and anew after a cut. */
const MONOLITHIC_BYTES = 4 << 20;

export class UploadTarget {
  readonly #scopes: Scope[];
  #endpoint: Endpoint | undefined;

  constructor(
    readonly client: RegistryClient,
    readonly name: Pick<Reference, 'domain' | 'path'>,
  ) {
    this.#scopes = [repositoryScope(name.path, 'pull,push')];
  }

  get #doing(): string {
    return `cannot push to ${familiarReference({ ...this.name, tag: undefined, digest: undefined })}`;
  }

  /** Raises EAUTH, EREGISTRY, ENETWORK; so do all below. */
  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#request({ method: 'HEAD', url: `v2/${this.name.path}/blobs/${digest}` });
    response.drop();
    if (response.status === 200) return true;
    if (response.status === 404) return false;
    throw await unexpected(response, this.#doing);
  }

  /** From a repository of the same registry, without sending it. False when the registry has it no more, or may not. */
  async mountBlob(digest: string, from: string): Promise<boolean> {
    const query = new URLSearchParams({ mount: digest, from });
    const response = await this.#request({
      method: 'POST',
      url: `v2/${this.name.path}/blobs/uploads/?${query.toString()}`,
      headers: { 'content-length': '0' },
      scopes: [...this.#scopes, repositoryScope(from, 'pull')],
    });
    response.drop();
    if (response.status === 201) return true;
    // It has begun an upload instead, which is not used.
    const location = response.status === 202 ? locationOf(response) : undefined;
    if (location?.origin === response.url.origin)
      await this.#request({ method: 'DELETE', url: location, retries: 0 }).then(
        (answer) => answer.drop(),
        () => {},
      );
    return false;
  }

  /** `onProgress` is told how many bytes the registry may have; `onRetry` of a wait. */
  async putBlob(
    blob: BlobSource,
    onProgress: (bytes: number) => void = () => {},
    onRetry: (seconds: number) => void = () => {},
  ): Promise<void> {
    const { http } = this.client;
    let location: URL | undefined;
    let offset = 0;
    /** As far as the registry has ever said that it came: only more than that is progress. */
    let farthest = 0;
    for (let failures = 0; ;) {
      try {
        if (location === undefined) {
          location = await this.#begin(blob.digest);
          offset = 0;
        }
        if (blob.sizeBytes <= MONOLITHIC_BYTES) {
          await this.#commit(location, blob, onProgress);
        } else {
          location = await this.#patch(location, blob, offset, onProgress);
          offset = blob.sizeBytes;
          await this.#commit(location, undefined, onProgress, blob.digest);
        }
        return;
      } catch (error) {
        if (!isRetried(error, http.timing.maxWaitMs) || failures >= DEFAULT_RETRIES) throw error;
        const backOffMs = http.backOff(failures++);
        const waitMs = (error instanceof UploadRefusal ? error.waitMs : undefined) ?? backOffMs;
        onRetry(Math.ceil(waitMs / 1000));
        await sleep(waitMs);
        const reached =
          location === undefined ? undefined : await this.#progressOf(location).catch(() => undefined);
        // The blob may have been finished by what seemed to fail.
        if (reached === undefined && (await this.hasBlob(blob.digest).catch(() => false))) return;
        const isUsable =
          reached !== undefined && reached.offset <= blob.sizeBytes && blob.sizeBytes > MONOLITHIC_BYTES;
        if (isUsable && reached.offset > farthest) {
          farthest = reached.offset;
          failures = 0;
        }
        location = isUsable ? reached.location : undefined;
        offset = isUsable ? reached.offset : 0;
      }
    }
  }

  /** Returns the digest that the registry gives it, which is checked. Also raises EDIGEST. */
  async putManifest(
    reference: string,
    mediaType: string,
    bytes: Buffer,
    digest: string,
  ): Promise<HttpResponse> {
    const response = await this.#request({
      method: 'PUT',
      url: `v2/${this.name.path}/manifests/${reference}`,
      headers: { 'content-type': mediaType },
      body: bytes,
    });
    if (response.status !== 201 && response.status !== 200 && response.status !== 202)
      throw await unexpected(response, this.#doing);
    response.drop();
    const found = response.headers['docker-content-digest'];
    if (found !== undefined && found.startsWith(digest.slice(0, digest.indexOf(':'))) && found !== digest)
      throw new LaminaError('EDIGEST', `the registry took the manifest ${digest} for ${found}`, { digest });
    return response;
  }

  async #begin(digest: string): Promise<URL> {
    const other = digest.startsWith('sha256:')
      ? ''
      : `?digest-algorithm=${digest.slice(0, digest.indexOf(':'))}`;
    const response = await this.#request({
      method: 'POST',
      url: `v2/${this.name.path}/blobs/uploads/${other}`,
      headers: { 'content-length': '0' },
    });
    if (response.status !== 202) throw await unexpected(response, this.#doing);
    response.drop();
    return this.#location(response);
  }

  async #patch(
    location: URL,
    blob: BlobSource,
    from: number,
    onProgress: (bytes: number) => void,
  ): Promise<URL> {
    const response = await this.#request({
      method: 'PATCH',
      url: location,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(blob.sizeBytes - from),
        // Registries of all ages take the first without.
        ...(from > 0 ? { 'content-range': `${from}-${blob.sizeBytes - 1}` } : {}),
      },
      body: () => counted(blob, from, onProgress),
      retries: 0,
    });
    if (response.status !== 202 && response.status !== 204)
      throw retried(await unexpected(response, this.#doing), response);
    response.drop();
    return this.#location(response);
  }

  /** With all of the blob, or after all of it. */
  async #commit(
    location: URL,
    blob: BlobSource | undefined,
    onProgress: (bytes: number) => void,
    digest = blob?.digest ?? '',
  ): Promise<void> {
    const url = new URL(location);
    url.searchParams.set('digest', digest);
    const response = await this.#request({
      method: 'PUT',
      url,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob?.sizeBytes ?? 0) },
      ...(blob === undefined ? {} : { body: () => counted(blob, 0, onProgress) }),
      retries: 0,
    });
    if (response.status !== 201 && response.status !== 204)
      throw retried(await unexpected(response, this.#doing), response);
    response.drop();
  }

  /** How far an upload has come; undefined when there is none any more. */
  async #progressOf(location: URL): Promise<{ location: URL; offset: number } | undefined> {
    const response = await this.#request({ method: 'GET', url: location, retries: 2 });
    response.drop();
    if (response.status !== 204 && response.status !== 202) return undefined;
    const last = /^(?:bytes=)?0-(\d+)$/.exec(response.headers['range'] ?? '')?.[1];
    // `0-0` says nothing or one byte; it is taken for nothing.
    const offset = last === undefined || last === '0' ? 0 : Number(last) + 1;
    return { location: locationOf(response) ?? location, offset };
  }

  #location(response: HttpResponse): URL {
    const location = locationOf(response);
    if (location === undefined)
      throw new LaminaError('EREGISTRY', `${this.#doing}: the registry does not say where to`);
    if (location.protocol === 'http:' && response.url.protocol === 'https:' && !this.#endpoint!.isUnverified)
      throw new LaminaError('ENETWORK', `${this.#doing}: it would go to ${location.origin} without TLS`, {
        hint: 'If you trust the network, allow it with --tls-verify=false.',
      });
    return location;
  }

  async #request(request: Omit<RegistryRequest, 'scopes'> & { scopes?: Scope[] }): Promise<HttpResponse> {
    this.#endpoint ??= await this.client.endpoint(this.name.domain, this.name.path);
    return this.client.request(this.#endpoint, { scopes: this.#scopes, ...request });
  }
}

function locationOf(response: HttpResponse): URL | undefined {
  const { location } = response.headers;
  const url = location === undefined ? undefined : parseUrl(location, response.url);
  if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined;
  // A registry behind a proxy that does not tell it so takes itself for one without TLS.
  if (url.protocol === 'http:' && url.host === response.url.host) url.protocol = response.url.protocol;
  return url;
}

async function* counted(
  blob: BlobSource,
  from: number,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let position = from;
  for await (const chunk of blob.read(from)) {
    yield chunk;
    position += chunk.length;
    onProgress(position);
  }
}

/** Refused for an upload's state, not for the blob: it can be gone on with, or begun anew. */
class UploadRefusal extends LaminaError {
  constructor(
    { code, message, hint }: LaminaError,
    /** As the registry asks; undefined where it asks for nothing. */
    readonly waitMs: number | undefined,
  ) {
    super(code, message, { hint });
  }
}

function retried(error: LaminaError, { status, headers }: HttpResponse): LaminaError {
  const isState = [404, 408, 416, 429, 500, 502, 503, 504].includes(status);
  return isState ? new UploadRefusal(error, retryAfterMs(headers['retry-after'])) : error;
}

function isRetried(error: unknown, maxWaitMs: number): boolean {
  return error instanceof UploadRefusal ? (error.waitMs ?? 0) <= maxWaitMs : isCut(error);
}
