/** Where the API of a registry is: a URL, found out once for each domain. */
import { LaminaError } from '../errors.js';
import { parseUrl } from './http.js';
import type { HttpClient } from './http.js';
import { apiHost, isInsecure } from './settings.js';
import type { RuleMirror } from './rules.js';
import type { RegistrySettings } from './settings.js';

export interface Endpoint {
  /** As in `Reference.domain`: what credentials are kept for. */
  domain: string;
  /** `https://host/`; a mirror's may have a path. */
  url: URL;
  /** Any certificate will do. */
  isUnverified: boolean;
}

/** Where a repository is read. */
export interface ReadSource {
  endpoint: Endpoint;
  /** Of the repository, there. */
  path: string;
  takes: RuleMirror['takes'];
}

/**
 * The registry itself. One that may be insecure is asked by https first, as docker does, and by http when nothing there speaks TLS. Raises
 * ENETWORK, EUSAGE.
 */
export async function findEndpoint(
  domain: string,
  settings: RegistrySettings,
  http: HttpClient,
  isSaidInsecure = false,
): Promise<Endpoint> {
  const host = apiHost(domain);
  const isUnverified = isInsecure(host, settings) || (isSaidInsecure && settings.tlsVerify !== true);
  const secure: Endpoint = { domain, url: urlOf('https', host), isUnverified };
  if (!secure.isUnverified) return secure;
  try {
    const response = await http.send({
      method: 'GET',
      url: new URL('v2/', secure.url),
      isUnverified: true,
      retries: 0,
    });
    response.drop();
    return secure;
  } catch (error) {
    // An authority that was given for this host does not vouch for it: nothing weaker is tried.
    if (/CERT|SELF_SIGNED|UNABLE_TO/.test((error as LaminaError).errno ?? '')) throw error;
    return { ...secure, url: urlOf('http', host) };
  }
}

/** Those who stand in for it, where something is to be read. Raises EBADIMAGE for one that is no URL. */
export function mirrorsOf(domain: string, settings: RegistrySettings): Endpoint[] {
  return (settings.mirrors.get(domain) ?? []).map((text) => {
    const url = parseUrl(text.endsWith('/') ? text : `${text}/`);
    if (url === undefined || !/^https?:$/.test(url.protocol))
      throw new LaminaError('EBADIMAGE', `a mirror of ${domain} is no URL`, {
        hint: 'Correct it in the file of registries (README, Registries).',
      });
    return { domain: url.host, url, isUnverified: isInsecure(url.host, settings) };
  });
}

function urlOf(scheme: string, host: string): URL {
  const url = parseUrl(`${scheme}://${host}/`);
  if (url === undefined) throw new LaminaError('EUSAGE', `"${host}" is no name of a host`);
  return url;
}
