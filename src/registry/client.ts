/** Registries as one command sees them: their endpoints, and requests that prove who they come from. */
import { findCredentials } from './credentials.js';
import { findEndpoint, mirrorsOf } from './endpoint.js';
import type { Endpoint, ReadSource } from './endpoint.js';
import { HttpClient } from './http.js';
import type { Body, HttpRequest, HttpResponse, HttpTiming } from './http.js';
import { checkAllowed, domainRule, relocated, ruleFor } from './rules.js';
import type { RuleName } from './rules.js';
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
  readonly #auth: Authenticator;
  readonly #endpoints = new Map<string, Promise<Endpoint>>();

  readonly #settings: () => Promise<RegistrySettings>;

  constructor(options: ClientOptions = {}) {
    let settings = options.settings === undefined ? undefined : Promise.resolve(options.settings);
    this.#settings = () => (settings ??= readSettings(options.tlsVerify));
    this.http = new HttpClient('lamina', options.timing, options.certDir);
    const find = options.findCredentials ?? findCredentials;
    this.#auth = new Authenticator(this.http, this.#settings, ({ domain }, repository) =>
      find(domain, repository),
    );
  }

  /** Raises EBADIMAGE, EACCES. */
  settings(): Promise<RegistrySettings> {
    return this.#settings();
  }

  /**
   * The registry itself, for a repository of it or as a whole. Raises ENETWORK, EUSAGE, EREGISTRY where it is blocked, and what reading the
   * settings raises.
   */
  async endpoint(domain: string, path?: string): Promise<Endpoint> {
    const { rules = [] } = await this.settings();
    const rule = path === undefined ? domainRule(domain, rules) : ruleFor({ domain, path }, rules);
    if (path !== undefined) checkAllowed(rule, { domain, path });
    else if (rule?.isBlocked === true) checkAllowed(rule, { domain, path: '' });
    return this.#endpoint(domain, rule?.isInsecure === true);
  }

  /** Mirrors, then the place itself, or where that is said to lie. Raises as `endpoint`. */
  async readSources(name: RuleName): Promise<ReadSource[]> {
    const settings = await this.settings();
    const rule = ruleFor(name, settings.rules ?? []);
    checkAllowed(rule, name);
    const sources: ReadSource[] = [];
    for (const { location, isInsecure, takes } of rule?.mirrors ?? []) {
      const { domain, path } = relocated(name, rule!, location);
      sources.push({ endpoint: await this.#endpoint(domain, isInsecure), path, takes });
    }
    const { domain, path } = rule?.location === undefined ? name : relocated(name, rule, rule.location);
    for (const endpoint of mirrorsOf(domain, settings)) sources.push({ endpoint, path, takes: 'all' });
    sources.push({ endpoint: await this.#endpoint(domain, rule?.isInsecure === true), path, takes: 'all' });
    return sources;
  }

  async #endpoint(domain: string, isInsecure: boolean): Promise<Endpoint> {
    const key = `${domain} ${isInsecure}`;
    let found = this.#endpoints.get(key);
    if (found === undefined) {
      found = findEndpoint(domain, await this.settings(), this.http, isInsecure);
      this.#endpoints.set(key, found);
    }
    return found;
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
