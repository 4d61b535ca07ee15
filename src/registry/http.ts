/**
 * HTTP as registries need it: streams both ways, redirects that do not carry secrets to other hosts, and patience with servers that are
 * busy. Statuses are answers here, not errors; what raises is the network (ENETWORK).
 */
import { clearTimeout, setTimeout } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { LaminaError } from '../errors.js';
import { proxyFor } from './proxy.js';
import { hostCertificates, namedCertificates, systemAuthorities } from './tls.js';
import type { Dispatcher } from './undici.js';

export type Body = Buffer | (() => AsyncIterable<Buffer>);

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  /** Names in lower case. */
  headers?: Readonly<Record<string, string>>;
  /** A function makes the body anew for each attempt. */
  body?: Body;
  /** Whether any certificate will do. */
  isUnverified?: boolean;
  /** Attempts beyond the first, for what may be asked twice; 0 where the caller has its own way to go on. */
  retries?: number;
  /** Told before a wait. */
  onRetry?: (seconds: number) => void;
}

export interface HttpResponse {
  status: number;
  /** Names in lower case; of several the first. */
  headers: Readonly<Record<string, string | undefined>>;
  /** To be read to its end, or given up by `drop`. */
  body: AsyncIterable<Buffer>;
  /** After redirects. */
  url: URL;
  drop(): void;
}

export interface HttpTiming {
  connectMs: number;
  /** Without a byte. */
  idleMs: number;
  /** First wait before another attempt; doubles with each. */
  backOffMs: number;
  /** A server that asks for more than this is not waited for. */
  maxWaitMs: number;
}

const DEFAULT_TIMING: HttpTiming = { connectMs: 15_000, idleMs: 60_000, backOffMs: 500, maxWaitMs: 120_000 };
const MAX_REDIRECTS = 10;
export const DEFAULT_RETRIES = 5;
const BUSY = new Set([408, 429, 500, 502, 503, 504]);

export class HttpClient {
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();
  readonly timing: HttpTiming;

  constructor(
    private readonly userAgent: string,
    timing: Partial<HttpTiming> = {},
    private readonly certDir?: string,
  ) {
    this.timing = { ...DEFAULT_TIMING, ...timing };
  }

  /** Follows redirects of GET and HEAD; waits and tries again when the server is busy. Raises ENETWORK. */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const retries = request.retries ?? DEFAULT_RETRIES;
    for (let attempt = 0; ; attempt++) {
      let waitMs = this.backOff(attempt);
      try {
        const response = await this.#follow(request);
        if (!BUSY.has(response.status) || attempt >= retries) return response;
        waitMs = retryAfterMs(response.headers['retry-after']) ?? waitMs;
        if (waitMs > this.timing.maxWaitMs) return response;
        response.drop();
      } catch (error) {
        if (attempt >= retries || !isTransient(error)) throw error;
      }
      await this.wait(waitMs, request.onRetry);
    }
  }

  /** Before another attempt after `failures` (from 0), with some chance in it so that clients do not come back all at once. */
  backOff(failures: number): number {
    return this.timing.backOffMs * 2 ** Math.min(failures, 6) * (0.75 + Math.random() / 2);
  }

  async wait(ms: number, onRetry: HttpRequest['onRetry']): Promise<void> {
    onRetry?.(Math.ceil(ms / 1000));
    await sleep(ms);
  }

  /** Ends connections that are kept open. */
  async close(): Promise<void> {
    const dispatchers = await Promise.allSettled(this.#dispatchers.values());
    this.#dispatchers.clear();
    for (const result of dispatchers) if (result.status === 'fulfilled') await result.value.destroy();
  }

  async #follow(request: HttpRequest): Promise<HttpResponse> {
    let { url } = request;
    let headers = { ...request.headers };
    for (let count = 0; ; count++) {
      const response = await this.#once({ ...request, url, headers });
      const { location } = response.headers;
      const isRedirect = [301, 302, 303, 307, 308].includes(response.status) && location !== undefined;
      if (!isRedirect || (request.method !== 'GET' && request.method !== 'HEAD')) return response;
      response.drop();
      const next = parseUrl(location, url);
      if (next === undefined || (next.protocol !== 'http:' && next.protocol !== 'https:'))
        throw new LaminaError('EREGISTRY', `${shownUrl(url)} redirects to what is no URL`);
      if (count >= MAX_REDIRECTS)
        throw new LaminaError('EREGISTRY', `${shownUrl(request.url)} redirects too often`);
      if (url.protocol === 'https:' && next.protocol === 'http:' && request.isUnverified !== true)
        throw new LaminaError(
          'ENETWORK',
          `${shownUrl(url)} redirects from https to http, to ${shownUrl(next)}`,
          {
            hint: 'If you trust the network, allow it with --tls-verify=false.',
          },
        );
      // What is meant for one server is not shown to another.
      if (next.origin !== url.origin) {
        headers = { ...headers };
        for (const name of ['authorization', 'cookie', 'proxy-authorization']) delete headers[name];
      }
      url = next;
    }
  }

  async #once({ method, url, headers, body, isUnverified }: HttpRequest): Promise<HttpResponse> {
    const dispatcher = await this.#dispatcher(url, isUnverified === true);
    try {
      const response = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method,
        headers: { 'user-agent': this.userAgent, ...headers },
        body: body === undefined ? null : Buffer.isBuffer(body) ? body : (body() as never),
        headersTimeout: this.timing.idleMs,
        bodyTimeout: this.timing.idleMs,
      });
      // A body that is given up ends in an error that nobody waits for.
      response.body.on('error', () => {});
      return {
        status: response.statusCode,
        headers: Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [
            name,
            Array.isArray(value) ? value[0] : value,
          ]),
        ),
        body: networkErrors(response.body, url),
        url,
        drop: () => void response.body.destroy(),
      };
    } catch (error) {
      throw networkError(error, url);
    }
  }

  #dispatcher(url: URL, isUnverified: boolean): Promise<Dispatcher> {
    const proxy = proxyFor(url);
    const key = `${url.origin} ${isUnverified} ${proxy?.href ?? ''}`;
    const existing = this.#dispatchers.get(key);
    if (existing !== undefined) return existing;
    const made = makeDispatcher(url, isUnverified, proxy, this.timing, this.certDir);
    this.#dispatchers.set(key, made);
    return made;
  }
}

async function makeDispatcher(
  url: URL,
  isUnverified: boolean,
  proxy: URL | undefined,
  timing: HttpTiming,
  certDir: string | undefined,
): Promise<Dispatcher> {
  const { Agent, ProxyAgent } = await import('./undici.js');
  const tls = url.protocol === 'https:' ? tlsOptions(url.host, isUnverified, certDir) : {};
  const common = { keepAliveTimeout: 10_000, pipelining: 1 };
  if (proxy === undefined)
    return new Agent({ ...common, connect: { timeout: timing.connectMs, ...tls } as never });
  const { username, password } = proxy;
  const target = new URL(proxy);
  target.username = target.password = '';
  const secret = `${decoded(username)}:${decoded(password)}`;
  return new ProxyAgent({
    ...common,
    uri: target.href,
    // What is not encrypted is asked of the proxy itself: few let anybody connect to port 80.
    proxyTunnel: url.protocol === 'https:',
    ...(username === '' ? {} : { token: `Basic ${Buffer.from(secret).toString('base64')}` }),
    requestTls: tls as never,
    proxyTls: { ca: systemAuthorities() },
  });
}

/** Of a URL's user and password, which need not be well-formed. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function tlsOptions(host: string, isUnverified: boolean, certDir: string | undefined): object {
  const { authorities, client } = certDir === undefined ? hostCertificates(host) : namedCertificates(certDir);
  return {
    ca: [...systemAuthorities(), ...authorities],
    ...client,
    // Who gave an authority for a host wants it to be asked.
    rejectUnauthorized: !isUnverified || authorities.length > 0,
  };
}

/** Without what may be secret in it: user, query. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** undefined when it is none. */
export function parseUrl(text: string, base?: URL): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text.trim())) return Number(text) * 1000;
  // Date.parse takes much more for a date.
  const at = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

async function* networkErrors(body: AsyncIterable<unknown>, url: URL): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of body) yield chunk as Buffer;
  } catch (error) {
    throw networkError(error, url);
  }
}

/** The cause as the system says it, without anything of the request. */
function networkError(error: unknown, url: URL): LaminaError {
  if (error instanceof LaminaError) return error;
  const inner = innermost(error);
  const { code = '', message } = inner as NodeJS.ErrnoException;
  const what = NETWORK_TEXTS[code] ?? message;
  // In TLS 1.3 the server refuses when the client believes that all is well.
  const isPerhapsRefused = url.protocol === 'https:' && code === 'UND_ERR_SOCKET';
  const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ALTNAME/.test(code);
  return new LaminaError('ENETWORK', `${url.host}: ${what}`, {
    errno: code,
    cause: inner,
    ...(isCertificate
      ? { hint: `Put the certificate of its authority into /etc/docker/certs.d/${url.host}/ca.crt.` }
      : {}),
    ...(isPerhapsRefused
      ? {
          hint: `Try again. If it wants to see a client certificate, put client.cert and client.key into /etc/docker/certs.d/${url.host}.`,
        }
      : {}),
  });
}

const NETWORK_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be looked up now',
  ENETUNREACH: 'network is unreachable',
  EHOSTUNREACH: 'no route to host',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'connection timed out',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the transfer stood still for too long',
};

function innermost(error: unknown): unknown {
  let inner = error;
  for (let depth = 0; depth < 5; depth++) {
    const { cause, errors } = inner as { cause?: unknown; errors?: unknown[] };
    const next = Array.isArray(errors) && errors.length > 0 ? errors[0] : cause;
    if (!(next instanceof Error)) break;
    inner = next;
  }
  return inner;
}

/** Whether the same may work in a moment. */
function isTransient(error: unknown): boolean {
  if (!(error instanceof LaminaError) || error.code !== 'ENETWORK') return false;
  return /^(ECONNRESET|EPIPE|ETIMEDOUT|UND_ERR_(SOCKET|HEADERS_TIMEOUT|BODY_TIMEOUT|CONNECT_TIMEOUT)|HPE_.*)$/.test(
    error.errno ?? '',
  );
}

/** Whether a transfer that was under way is worth another attempt. */
export function isCut(error: unknown): boolean {
  return (
    isTransient(error) ||
    ((error as LaminaError).code === 'ENETWORK' && (error as LaminaError).errno === 'ECONNREFUSED')
  );
}

/** 4 MiB by a slow line's 300 kbit/s. */
const MAX_DOCUMENT_MS = 120_000;

/**
 * The whole body, which may not be longer than `maxBytes` (ELIMIT). Who sends a byte now and then is not waited for: documents are
 * small, and come soon (ENETWORK).
 */
export async function readBody(
  { body, url, drop }: HttpResponse,
  maxBytes: number,
  maxMs = MAX_DOCUMENT_MS,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    drop();
  }, maxMs);
  try {
    for await (const chunk of body) {
      length += chunk.length;
      if (length > maxBytes) {
        drop();
        throw new LaminaError('ELIMIT', `${shownUrl(url)} sends more than ${maxBytes} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (!isLate) throw error;
  } finally {
    clearTimeout(timer);
  }
  if (isLate) throw new LaminaError('ENETWORK', `${shownUrl(url)} does not come to an end`);
  return Buffer.concat(chunks);
}
