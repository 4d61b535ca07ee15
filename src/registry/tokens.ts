/**
 * Proving who we are: Basic, and bearer tokens from a token server (distribution, docs/content/spec/auth: token.md, oauth.md, scope.md).
 * A challenge is remembered for its registry, so that only the first request to it is refused.
 */
import { LRUCache } from 'lru-cache';
import { LaminaError } from '../errors.js';
import { asObject, parseJson } from '../oci/json.js';
import { parseChallenges } from './challenge.js';
import type { Challenge } from './challenge.js';
import type { Credentials } from './credentials.js';
import type { Endpoint } from './endpoint.js';
import { parseUrl, readBody, shownUrl } from './http.js';
import type { HttpClient } from './http.js';
import { isInsecure } from './settings.js';
import type { RegistrySettings } from './settings.js';

/** `repository:NAME:pull,push`, `registry:catalog:*` */
export type Scope = string;

export function repositoryScope(path: string, actions: 'pull' | 'pull,push'): Scope {
  return `repository:${path}:${actions}`;
}

const CLIENT_ID = 'lamina';
const MAX_TOKEN_BYTES = 1 << 20;
/** Where a server does not say (token.md). */
const DEFAULT_EXPIRY_SEC = 60;
/** However long it would be good for: no command takes so long. */
const MAX_EXPIRY_SEC = 24 * 3600;
/** Given up that much before their end, since clocks differ and requests take time. */
const MARGIN_SEC = 10;

export class Authenticator {
  readonly #challenges = new Map<string, Challenge>();
  readonly #tokens = new LRUCache<string, string>({ max: 500 });
  readonly #pending = new Map<string, Promise<string>>();
  readonly #credentials = new Map<string, Promise<Credentials | undefined>>();

  constructor(
    private readonly http: HttpClient,
    private readonly settings: () => Promise<RegistrySettings>,
    /** Asked once for each registry and repository. */
    private readonly find: (
      endpoint: Endpoint,
      repository: string | undefined,
    ) => Promise<Credentials | undefined>,
  ) {}

  /** The header to send at once; undefined where nothing has been asked for yet. Raises EAUTH, ENETWORK. */
  async header(endpoint: Endpoint, scopes: readonly Scope[]): Promise<string | undefined> {
    const challenge = this.#challenges.get(endpoint.url.origin);
    return challenge === undefined ? undefined : this.#answer(endpoint, challenge, scopes);
  }

  /** After a 401: the header that may do better; undefined where there is none. `used` is what was refused. */
  async challenged(
    endpoint: Endpoint,
    header: string | undefined,
    scopes: readonly Scope[],
    used: string | undefined,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(header ?? '');
    const challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic');
    if (challenge === undefined) return undefined;
    this.#challenges.set(endpoint.url.origin, challenge);
    if (used !== undefined)
      for (const [key, token] of this.#tokens.entries())
        if (used === `Bearer ${token}`) this.#tokens.delete(key);
    const answer = await this.#answer(endpoint, challenge, scopes);
    return answer === used ? undefined : answer;
  }

  async #answer(
    endpoint: Endpoint,
    challenge: Challenge,
    scopes: readonly Scope[],
  ): Promise<string | undefined> {
    const credentials = await this.#credentialsFor(endpoint, scopes);
    if (challenge.scheme === 'basic') {
      if (credentials?.username === undefined || credentials.password === undefined) return undefined;
      return basic(credentials.username, credentials.password);
    }
    if (credentials?.registryToken !== undefined) return `Bearer ${credentials.registryToken}`;
    const own = challenge.parameters.get('scope');
    const wanted = scopes.length > 0 ? scopes : own ? own.split(' ') : [];
    // A token is shown to the registry that it was asked for, and to no other that names the same token server.
    const key = [
      ...[endpoint.url.origin, endpoint.domain],
      ...[challenge.parameters.get('realm'), challenge.parameters.get('service'), ...wanted],
    ].join('\n');
    const known = this.#tokens.get(key);
    if (known !== undefined) return `Bearer ${known}`;
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      pending = this.#fetchToken(endpoint, challenge, wanted, credentials)
        .then(({ token, expirySec }) => {
          this.#tokens.set(key, token, { ttl: Math.max(expirySec - MARGIN_SEC, 1) * 1000 });
          return token;
        })
        .finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    return `Bearer ${await pending}`;
  }

  #credentialsFor(endpoint: Endpoint, scopes: readonly Scope[]): Promise<Credentials | undefined> {
    const repository = /^repository:(.*):[^:]*$/.exec(scopes[0] ?? '')?.[1];
    const key = `${endpoint.domain} ${repository ?? ''}`;
    let found = this.#credentials.get(key);
    if (found === undefined) {
      found = this.find(endpoint, repository);
      this.#credentials.set(key, found);
    }
    return found;
  }

  async #fetchToken(
    endpoint: Endpoint,
    { parameters }: Challenge,
    scopes: readonly Scope[],
    credentials: Credentials | undefined,
  ): Promise<{ token: string; expirySec: number }> {
    const { url, isUnverified } = tokenServer(endpoint, parameters.get('realm'), await this.settings());
    if (credentials !== undefined) requireTls(url, isUnverified);
    const granted = await requestToken(this.http, url, isUnverified, {
      service: parameters.get('service'),
      scopes,
      credentials,
      isOffline: false,
    });
    return granted;
  }
}

export interface TokenServer {
  url: URL;
  isUnverified: boolean;
}

/**
 * Whom a registry sends us to. What may be insecure of the registry need not be so of another host that it names: there the settings
 * decide. Raises EAUTH.
 */
export function tokenServer(
  endpoint: Endpoint,
  realm: string | undefined,
  settings: RegistrySettings,
): TokenServer {
  const url = parseUrl(realm ?? '');
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new LaminaError('EAUTH', `${endpoint.domain} names no token server that could be asked`, {
      hint: '',
    });
  const isSame = endpoint.isUnverified && url.hostname === endpoint.url.hostname;
  return { url, isUnverified: isSame || isInsecure(url.host, settings) };
}

/** Raises EAUTH where a secret would go over the network as it is. */
export function requireTls(url: URL, isUnverified: boolean): void {
  if (url.protocol === 'https:' || isUnverified) return;
  throw new LaminaError('EAUTH', `the token server ${shownUrl(url)} would be sent a password without TLS`, {
    hint: `If you trust the network, name ${url.host} among the insecure registries.`,
  });
}

export interface TokenRequest {
  service: string | undefined;
  scopes: readonly Scope[];
  credentials: Credentials | undefined;
  /** Asks for a refresh token as well. */
  isOffline: boolean;
}

export interface GrantedToken {
  token: string;
  expirySec: number;
  refreshToken: string | undefined;
}

/** By oauth2's POST where there is an identity token, by GET otherwise. Raises EAUTH, EREGISTRY, ENETWORK. */
export async function requestToken(
  http: HttpClient,
  realm: URL,
  isUnverified: boolean,
  { service, scopes, credentials, isOffline }: TokenRequest,
): Promise<GrantedToken> {
  const url = new URL(realm);
  const identity = credentials?.identityToken;
  const answer = await (identity === undefined ? get() : post(identity));
  const bytes = await readBody(answer, MAX_TOKEN_BYTES);
  if (answer.status === 401 || answer.status === 403 || answer.status === 400)
    throw new LaminaError(
      'EAUTH',
      `${shownUrl(realm)}: ${credentials === undefined ? 'authentication required' : 'incorrect username or password'}`,
    );
  if (answer.status !== 200)
    throw new LaminaError(
      'EREGISTRY',
      `the token server ${shownUrl(realm)} answers with status ${answer.status}`,
    );
  const object = asObject(parseJson(bytes, `answer of ${shownUrl(realm)}`), `answer of ${shownUrl(realm)}`);
  const token = object.optionalString('token') || object.optionalString('access_token');
  // What is no text of a header would be an error that shows it.
  if (!token || !/^[\x21-\x7e]+$/.test(token))
    throw new LaminaError('EAUTH', `the token server ${shownUrl(realm)} gives no token`);
  return {
    token,
    expirySec: Math.min(
      Math.floor(object.optionalNumber('expires_in') || DEFAULT_EXPIRY_SEC),
      MAX_EXPIRY_SEC,
    ),
    refreshToken: object.optionalString('refresh_token'),
  };

  function get() {
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    if (isOffline) {
      url.searchParams.set('offline_token', 'true');
      url.searchParams.set('client_id', CLIENT_ID);
    }
    const { username, password } = credentials ?? {};
    if (username !== undefined) url.searchParams.set('account', username);
    const headers =
      username === undefined || password === undefined ? {} : { authorization: basic(username, password) };
    return http.send({ method: 'GET', url, headers, isUnverified });
  }

  function post(refreshToken: string) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      client_id: CLIENT_ID,
    });
    if (service !== undefined) form.set('service', service);
    if (scopes.length > 0) form.set('scope', scopes.join(' '));
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return http.send({ method: 'POST', url, headers, body: Buffer.from(form.toString()), isUnverified });
  }
}

export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
