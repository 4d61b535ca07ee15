/** `search`: Docker Hub's index, or what a plain registry lists of itself (distribution, /v2/_catalog). */
import { LaminaError } from '../errors.js';
import { DEFAULT_MAX_JSON_BYTES, parseJsonObject } from '../oci/json.js';
import type { RegistryClient } from './client.js';
import type { Endpoint } from './endpoint.js';
import { unexpected } from './failure.js';
import { readBody } from './http.js';
import type { HttpResponse } from './http.js';
import { printable } from './printable.js';
import { nextPage } from './repository.js';
import { HUB } from './settings.js';

export interface FoundRepository {
  name: string;
  description: string;
  stars: number;
  isOfficial: boolean;
}

const HUB_INDEX = 'https://index.docker.io/';
const CATALOG_PAGE = 1000;
const MAX_PAGES = 100;
const MAX_NAMES = 100_000;

/** `term` may begin with a registry: `localhost:5000/nginx`. Raises ENETWORK, EREGISTRY, EAUTH. */
export async function searchRegistry(
  client: RegistryClient,
  term: string,
  limit: number,
  hubIndex = HUB_INDEX,
): Promise<FoundRepository[]> {
  const { domain, words } = splitTerm(term);
  const endpoint: Endpoint =
    domain === HUB ? { domain, url: new URL(hubIndex), isUnverified: false } : await client.endpoint(domain);
  const query = new URLSearchParams({ q: words, n: String(limit) });
  const response = await client.request(endpoint, {
    method: 'GET',
    url: `v1/search?${query.toString()}`,
    scopes: [],
  });
  if (response.status === 200) return index(response, domain);
  if (domain === HUB) throw await unexpected(response, `cannot search ${domain}`);
  response.drop();
  const names = await catalog(client, endpoint);
  return names
    .filter((name) => name.includes(words))
    .slice(0, limit)
    .map((name) => ({ name: printable(`${domain}/${name}`), description: '', stars: 0, isOfficial: false }));
}

function splitTerm(term: string): { domain: string; words: string } {
  const slash = term.indexOf('/');
  const first = term.slice(0, Math.max(0, slash));
  const isDomain = first === 'localhost' || /[.:]/.test(first);
  if (!isDomain || first === HUB || first === 'index.docker.io')
    return { domain: HUB, words: isDomain ? term.slice(slash + 1) : term };
  return { domain: first, words: term.slice(slash + 1) };
}

async function index(response: HttpResponse, domain: string): Promise<FoundRepository[]> {
  const bytes = await readBody(response, DEFAULT_MAX_JSON_BYTES);
  return parseJsonObject(bytes, `search of ${domain}`)
    .objects('results')
    .map((result) => ({
      name: printable(domain === HUB ? result.string('name') : `${domain}/${result.string('name')}`),
      description: printable(result.optionalString('description') ?? ''),
      stars: result.optionalNumber('star_count') ?? 0,
      isOfficial: result.optionalBoolean('is_official') ?? false,
    }));
}

async function catalog(client: RegistryClient, endpoint: Endpoint): Promise<string[]> {
  const names: string[] = [];
  let url: string | URL | undefined = `v2/_catalog?n=${CATALOG_PAGE}`;
  for (let page = 0; url !== undefined && page < MAX_PAGES; page++) {
    const response: HttpResponse = await client.request(endpoint, {
      method: 'GET',
      url,
      scopes: ['registry:catalog:*'],
    });
    if (response.status === 404)
      throw new LaminaError('EREGISTRY', `${endpoint.domain} can neither be searched nor lists what it has`, {
        hint: '',
      });
    if (response.status !== 200) throw await unexpected(response, `cannot search ${endpoint.domain}`);
    const bytes = await readBody(response, DEFAULT_MAX_JSON_BYTES);
    for (const name of parseJsonObject(bytes, `catalog of ${endpoint.domain}`).strings('repositories'))
      names.push(name);
    if (names.length > MAX_NAMES)
      throw new LaminaError('ELIMIT', `${endpoint.domain} lists more than ${MAX_NAMES} repositories`);
    url = nextPage(response);
  }
  return names;
}
