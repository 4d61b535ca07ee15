/**
 * Who we are to a registry: docker's config.json and what it delegates to (docker/cli cli/config), and containers' auth.json
 * (containers-auth.json(5)). Docker's comes first, but for a file that REGISTRY_AUTH_FILE names.
 */
import { existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { asObject, parseJson } from '../oci/json.js';
import { replaceFileSync } from '../store/files.js';
import { helperErase, helperGet, helperStore } from './credential-helper.js';
import { HUB } from './settings.js';

export interface Credentials {
  username?: string;
  password?: string;
  /** A refresh token, to be changed for others at the token server. */
  identityToken?: string;
  /** A bearer token to be used as it is. */
  registryToken?: string;
}

/** Under which docker keeps Docker Hub's. */
const HUB_KEY = 'https://index.docker.io/v1/';

interface AuthFile {
  file: string;
  json: Record<string, unknown>;
}

interface StoredAuth {
  auth?: unknown;
  username?: unknown;
  password?: unknown;
  identitytoken?: unknown;
  registrytoken?: unknown;
}

export function dockerConfigFile(): string {
  return path.join(process.env.DOCKER_CONFIG || path.join(homedir(), '.docker'), 'config.json');
}

function containersFiles(): string[] {
  const config = process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config');
  const runtime = process.env.XDG_RUNTIME_DIR || `/run/user/${process.getuid?.() ?? 0}`;
  return [path.join(runtime, 'containers', 'auth.json'), path.join(config, 'containers', 'auth.json')];
}

/** Files in which credentials are looked for, in order. */
function searchedFiles(): string[] {
  const named = process.env.REGISTRY_AUTH_FILE;
  return [...(named ? [named] : []), dockerConfigFile(), ...(named ? [] : containersFiles())];
}

/** The key that docker writes for a domain. */
export function credentialKey(domain: string): string {
  return domain === HUB ? HUB_KEY : domain;
}

/**
 * undefined: nobody knows any. `repository` is for files that tell repositories apart. Raises EBADIMAGE for a damaged file,
 * EAUTH when a helper fails. No message holds a secret.
 */
export async function findCredentials(domain: string, repository?: string): Promise<Credentials | undefined> {
  for (const file of searchedFiles()) {
    const config = readAuthFile(file);
    if (config === undefined) continue;
    const helper = helperFor(config, domain);
    if (helper !== undefined) {
      const found = await helperGet(helper, credentialKey(domain));
      if (found !== undefined) return found;
      continue;
    }
    const found = inFile(config, domain, repository);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Where they were put, for the user. Written with mode 0600, all else that the file says is kept. */
export async function saveCredentials(domain: string, credentials: Credentials): Promise<string> {
  const file = process.env.REGISTRY_AUTH_FILE || dockerConfigFile();
  const config = readAuthFile(file) ?? { file, json: {} };
  const helper = helperFor(config, domain);
  const auths = { ...(config.json['auths'] as Record<string, unknown> | undefined) };
  const { username = '', password = '', identityToken } = credentials;
  if (helper !== undefined) {
    await helperStore(helper, credentialKey(domain), credentials);
    // As docker does: the key says that there is something.
    auths[credentialKey(domain)] = {};
    writeAuthFile({ file, json: { ...config.json, auths } });
    return `docker-credential-${helper}`;
  }
  auths[credentialKey(domain)] = {
    auth: Buffer.from(`${username}:${identityToken === undefined ? password : ''}`).toString('base64'),
    ...(identityToken === undefined ? {} : { identitytoken: identityToken }),
  };
  writeAuthFile({ file, json: { ...config.json, auths } });
  return file;
}

/** From every file that is ours to write; false when there were none. */
export async function eraseCredentials(domain: string): Promise<boolean> {
  let isErased = false;
  for (const file of searchedFiles()) {
    const config = readAuthFile(file);
    if (config === undefined) continue;
    const helper = helperFor(config, domain);
    if (helper !== undefined) isErased = (await helperErase(helper, credentialKey(domain))) || isErased;
    const auths = { ...(config.json['auths'] as Record<string, unknown> | undefined) };
    const keys = Object.keys(auths).filter((key) => keysOf(domain).includes(key));
    if (keys.length === 0) continue;
    for (const key of keys) delete auths[key];
    writeAuthFile({ file, json: { ...config.json, auths } });
    isErased = true;
  }
  return isErased;
}

function readAuthFile(file: string): AuthFile | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined;
    throw fromSystemError(error, 'cannot read', file);
  }
  if (bytes.toString('utf8').trim() === '') return undefined;
  const json = parseJson(bytes, file);
  asObject(json, file);
  return { file, json: json as Record<string, unknown> };
}

/** Through links, into a file that nobody else can read at any moment. */
function writeAuthFile({ file, json }: AuthFile): void {
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const target =
      lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true && existsSync(file)
        ? realpathSync(file)
        : file;
    if (existsSync(target) && !statSync(target).isFile())
      throw new LaminaError('EINVAL', `${target} is no file`, { path: target });
    replaceFileSync(
      target,
      Buffer.from(`${JSON.stringify(json, undefined, '\t')}\n`),
      path.dirname(target),
      0o600,
    );
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

function helperFor({ json }: AuthFile, domain: string): string | undefined {
  const helpers = json['credHelpers'] as Record<string, unknown> | null | undefined;
  for (const key of keysOf(domain)) {
    const named = helpers?.[key];
    if (typeof named === 'string' && named !== '') return named;
  }
  const store = json['credsStore'];
  return typeof store === 'string' && store !== '' ? store : undefined;
}

function inFile(
  { file, json }: AuthFile,
  domain: string,
  repository: string | undefined,
): Credentials | undefined {
  const auths = json['auths'] as Record<string, StoredAuth | null> | null | undefined;
  if (typeof auths !== 'object' || auths === null) return undefined;
  // The longest name that a repository begins with (containers-auth.json).
  const parts = repository?.split('/') ?? [];
  for (let count = parts.length; count > 0; count--) {
    const found = decode(auths[`${domain}/${parts.slice(0, count).join('/')}`], file);
    if (found !== undefined) return found;
  }
  for (const key of keysOf(domain)) {
    const found = decode(auths[key], file);
    if (found !== undefined) return found;
  }
  // Older clients wrote URLs.
  for (const key of Object.keys(auths)) {
    if (key.replace(/^https?:\/\//, '').split('/')[0] !== domain || key.startsWith(`${domain}/`)) continue;
    const found = decode(auths[key], file);
    if (found !== undefined) return found;
  }
  return undefined;
}

function keysOf(domain: string): string[] {
  return domain === HUB
    ? [HUB_KEY, 'https://index.docker.io/v1', 'index.docker.io', HUB, 'registry-1.docker.io']
    : [domain, `https://${domain}`, `http://${domain}`];
}

function decode(stored: StoredAuth | null | undefined, file: string): Credentials | undefined {
  if (typeof stored !== 'object' || stored === null) return undefined;
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' && value !== '' ? value : undefined;
  const [identityToken, registryToken] = [text(stored.identitytoken), text(stored.registrytoken)];
  let [username, password] = [text(stored.username), text(stored.password)];
  const auth = text(stored.auth);
  if (auth !== undefined) {
    const pair = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = pair.indexOf(':');
    if (colon < 0)
      throw new LaminaError('EAUTH', `${file} holds credentials that cannot be read`, {
        path: file,
        hint: 'Log in again with: lamina login REGISTRY.',
      });
    [username, password] = [pair.slice(0, colon), pair.slice(colon + 1)];
  }
  if (username === undefined && identityToken === undefined && registryToken === undefined) return undefined;
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identityToken === undefined ? {} : { identityToken }),
    ...(registryToken === undefined ? {} : { registryToken }),
  };
}
