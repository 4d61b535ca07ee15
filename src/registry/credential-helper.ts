/**
 * Credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere (docker/docker-credential-helpers). Secrets pass through
 * their standard input and output only, never through arguments.
 */
import { spawn } from 'node:child_process';
import { LaminaError } from '../errors.js';
import type { Credentials } from './credentials.js';

/** How the protocol says that the secret is an identity token. */
const TOKEN_USER = '<token>';
const NOT_FOUND = 'credentials not found in native keychain';

/** undefined when it knows none. Raises EAUTH. */
export async function helperGet(helper: string, key: string): Promise<Credentials | undefined> {
  const { status, stdout } = await run(helper, 'get', key);
  if (status !== 0) {
    if (stdout.includes(NOT_FOUND)) return undefined;
    throw failed(helper, 'get', status);
  }
  let answer: { Username?: unknown; Secret?: unknown };
  try {
    answer = JSON.parse(stdout) as typeof answer;
  } catch {
    throw new LaminaError('EAUTH', `docker-credential-${helper} answers with what is no JSON`);
  }
  const { Username: username, Secret: secret } = answer;
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') return undefined;
  return username === TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}

/** Raises EAUTH. */
export async function helperStore(helper: string, key: string, credentials: Credentials): Promise<void> {
  const { username = '', password = '', identityToken } = credentials;
  const message = {
    ServerURL: key,
    Username: identityToken === undefined ? username : TOKEN_USER,
    Secret: identityToken ?? password,
  };
  const { status } = await run(helper, 'store', JSON.stringify(message));
  if (status !== 0) throw failed(helper, 'store', status);
}

/** False when it had none. Raises EAUTH. */
export async function helperErase(helper: string, key: string): Promise<boolean> {
  if ((await helperGet(helper, key).catch(() => undefined)) === undefined) return false;
  const { status } = await run(helper, 'erase', key);
  if (status !== 0) throw failed(helper, 'erase', status);
  return true;
}

function failed(helper: string, action: string, status: number): LaminaError {
  return new LaminaError('EAUTH', `docker-credential-${helper} ${action} failed with status ${status}`, {
    hint: `Try it by hand, or take "${helper}" out of docker's config.json.`,
  });
}

function run(helper: string, action: string, input: string): Promise<{ status: number; stdout: string }> {
  if (!/^[\w.-]+$/.test(helper))
    return Promise.reject(new LaminaError('EAUTH', `"${helper}" is no name of a credential helper`));
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${helper}`, [action], { stdio: ['pipe', 'pipe', 'ignore'] });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new LaminaError(
          'EAUTH',
          cause.code === 'ENOENT'
            ? `error getting credentials: docker-credential-${helper} is not installed`
            : `docker-credential-${helper} cannot be started: ${cause.code}`,
          { hint: `Install it, or take "${helper}" out of docker's config.json.` },
        ),
      ),
    );
    child.on('close', (status) =>
      resolve({ status: status ?? 1, stdout: Buffer.concat(chunks).toString('utf8') }),
    );
    // A helper that ends without reading is told by its status.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
