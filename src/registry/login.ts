/** `login`: whether a registry takes a name and a password, and what is to be kept of them. */
import { LaminaError } from '../errors.js';
import { parseChallenges } from './challenge.js';
import type { RegistryClient } from './client.js';
import type { Credentials } from './credentials.js';
import { errorCode, readFailure } from './failure.js';
import { HUB } from './settings.js';
import { basic, requestToken, requireTls, tokenServer } from './tokens.js';

/** `https://index.docker.io/v1/` and the like -> the domain of a reference; nothing is Docker Hub. Raises EUSAGE. */
export function parseServer(text: string | undefined): string {
  if (text === undefined || text === '') return HUB;
  const host = text.replace(/^https?:\/\//, '').split('/')[0]!;
  if (!/^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(host))
    throw new LaminaError('EUSAGE', `invalid registry ${JSON.stringify(text)}`, {
      hint: 'Give it as HOST[:PORT].',
    });
  return ['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'].includes(host) ? HUB : host;
}

/** What to keep: an identity token where the registry gives one, instead of the password. Raises EAUTH, EREGISTRY, ENETWORK. */
export async function checkLogin(
  client: RegistryClient,
  domain: string,
  credentials: Credentials,
): Promise<Credentials> {
  const endpoint = await client.endpoint(domain);
  const url = new URL('v2/', endpoint.url);
  const { isUnverified } = endpoint;
  const ask = async (
    authorization?: string,
  ): Promise<{ status: number; challenge: string | undefined; text: string }> => {
    const headers = authorization === undefined ? {} : { authorization };
    const response = await client.http.send({ method: 'GET', url, headers, isUnverified });
    const challenge = response.headers['www-authenticate'];
    if (response.status === 200) {
      response.drop();
      return { status: 200, challenge, text: '' };
    }
    const failure = await readFailure(response);
    if (response.status !== 401)
      throw new LaminaError(errorCode(failure), `login to ${domain} failed: ${failure.text}`);
    return { status: 401, challenge, text: failure.text };
  };
  const first = await ask();
  if (first.status === 200) return credentials;
  const challenges = parseChallenges(first.challenge ?? '');
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  if (bearer === undefined) {
    if (challenges.every(({ scheme }) => scheme !== 'basic'))
      throw new LaminaError('EAUTH', `${domain} takes neither a password nor a token`, { hint: '' });
    const { status, text } = await ask(basic(credentials.username ?? '', credentials.password ?? ''));
    if (status === 200) return credentials;
    throw refused(domain, text);
  }
  const realm = tokenServer(endpoint, bearer.parameters.get('realm'), await client.settings());
  requireTls(realm.url, realm.isUnverified);
  const granted = await requestToken(client.http, realm.url, realm.isUnverified, {
    service: bearer.parameters.get('service'),
    scopes: [],
    credentials,
    isOffline: true,
  });
  const { status, text } = await ask(`Bearer ${granted.token}`);
  if (status !== 200) throw refused(domain, text);
  const { username } = credentials;
  return granted.refreshToken === undefined
    ? credentials
    : { ...(username === undefined ? {} : { username }), identityToken: granted.refreshToken };
}

function refused(domain: string, text: string): LaminaError {
  return new LaminaError('EAUTH', `login attempt to ${domain} failed: ${text}`, {
    hint: 'Check the name and the password.',
  });
}
