/** Registries as one command sees them: their endpoints, and requests that prove who they come from. */
import { findCredentials } from './credentials.js';
import { findEndpoint, mirrorsOf } from './endpoint.js';
import type { Endpoint } from './endpoint.js';
import { HttpClient } from './http.js';
import type { Body, HttpRequest, HttpResponse, HttpTiming } from './http.js';
import { readSettings } from './settings.js';
import type { RegistrySettings } from './settings.js';
import { Authenticator } from './tokens.js';
import type { Scope } from './tokens.js';

export interface RegistryRequest {
  method: HttpRequest['method'];
  /** Below the endpoint (`v2/...`), or a whole URL. */
  url: string | URL;
  scopes: readonly Scope[];
  headers?: Readonly<Record<string, string>>;
  body?: Body;
  retries?: number;
  onRetry?: (seconds: number) => void;
}

export interface ClientOptions {
  /** false allows plain http and any certificate, true neither; undefined: docker's rules. */
  tlsVerify?: boolean;
  /** Directory of certificates to use, instead of those under certs.d (containers-certs.d(5)). */
  certDir?: string;
  settings?: RegistrySettings;
  timing?: Partial<HttpTiming>;
  findCredentials?: typeof findCredentials;
}

export class RegistryClient {
  readonly http: HttpClient;
  readonly settings: RegistrySettings;
  readonly #auth: Authenticator;
  readonly #endpoints = new Map<string, Promise<Endpoint>>();

  constructor(options: ClientOptions = {}) {
    this.settings = options.settings ?? readSettings(options.tlsVerify);
    this.http = new HttpClient('lamina', options.timing, options.certDir);
    const find = options.findCredentials ?? findCredentials;
    this.#auth = new Authenticator(this.http, this.settings, ({ domain }, repository) =>
      find(domain, repository),
    );
  }

  /** Raises ENETWORK, EUSAGE. */
  endpoint(domain: string): Promise<Endpoint> {
    let found = this.#endpoints.get(domain);
    if (found === undefined) {
      found = findEndpoint(domain, this.settings, this.http);
      this.#endpoints.set(domain, found);
    }
    return found;
  }

  /** Mirrors, then the registry itself. */
  async readEndpoints(domain: string): Promise<Endpoint[]> {
    return [...mirrorsOf(domain, this.settings), await this.endpoint(domain)];
  }

  /** Any status is an answer, also a 401 when there is nothing better to show. Raises ENETWORK, EAUTH (of the token server). */
  async request(endpoint: Endpoint, request: RegistryRequest): Promise<HttpResponse> {
    const url = typeof request.url === 'string' ? new URL(request.url, endpoint.url) : request.url;
    // An upload may be continued elsewhere; who is not the registry is shown nothing.
    const isOwn = url.origin === endpoint.url.origin;
    const send = (authorization: string | undefined): Promise<HttpResponse> => {
      const { method, body, retries, onRetry } = request;
      return this.http.send({
        method,
        url,
        headers: { ...request.headers, ...(authorization === undefined ? {} : { authorization }) },
        isUnverified: endpoint.isUnverified,
        ...(body === undefined ? {} : { body }),
        ...(retries === undefined ? {} : { retries }),
        ...(onRetry === undefined ? {} : { onRetry }),
      });
    };
    if (!isOwn) return send(undefined);
    const used = await this.#auth.header(endpoint, request.scopes);
    const response = await send(used);
    if (response.status !== 401) return response;
    const better = await this.#auth.challenged(
      endpoint,
      response.headers['www-authenticate'],
      request.scopes,
      used,
    );
    if (better === undefined) return response;
    response.drop();
    return send(better);
  }

  async close(): Promise<void> {
    await this.http.close();
  }
}
