/** `lamina login` and `lamina logout` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { Credentials } from '../../registry/credentials.js';
import { addTlsOption, withClient } from './client.js';
import type { TlsFlags } from './client.js';

interface Flags extends TlsFlags {
  username?: string;
  password?: string;
  passwordStdin?: boolean;
}

export function register(program: Command): void {
  addTlsOption(
    program
      .command('login')
      .description('Authenticate to a registry')
      .usage('[OPTIONS] [SERVER]')
      .argument('[server]')
      .option('-p, --password <string>', 'Password or Personal Access Token (PAT)')
      .option('--password-stdin', 'Take the Password or Personal Access Token (PAT) from stdin')
      .option('-u, --username <string>', 'Username'),
  ).action(async (server: string | undefined, flags: Flags) => login(server, flags));
  program
    .command('logout')
    .description('Log out from a registry')
    .argument('[server]')
    .action(async (server: string | undefined) => logout(server));
}

async function login(server: string | undefined, flags: Flags): Promise<void> {
  // Whoever lists the processes of this machine sees their arguments: no longer than needed.
  if (flags.password !== undefined) process.title = 'lamina login';
  const [{ checkLogin, parseServer }, { findCredentials, saveCredentials }] = await Promise.all([
    import('../../registry/login.js'),
    import('../../registry/credentials.js'),
  ]);
  const domain = parseServer(server);
  const given = await fromFlags(flags);
  await withClient(flags, async (client) => {
    const existing = given.username === undefined ? await findCredentials(domain) : undefined;
    if (existing !== undefined) {
      const suffix = existing.username === undefined ? '' : ` [Username: ${existing.username}]`;
      process.stdout.write(`Authenticating with existing credentials...${suffix}\n`);
      try {
        await checkLogin(client, domain, existing);
        process.stdout.write('\nLogin Succeeded\n');
        return;
      } catch (error) {
        if (!(error instanceof LaminaError) || error.code !== 'EAUTH' || !process.stdin.isTTY) throw error;
        process.stdout.write(`Login did not succeed, error: ${error.message}\n`);
      }
    }
    const kept = await checkLogin(client, domain, await complete(given, existing?.username));
    const place = await saveCredentials(domain, kept);
    if (!place.startsWith('docker-credential-'))
      process.stderr.write(
        `\nWARNING! Your credentials are stored unencrypted in '${place}'.\n` +
          'Configure a credential helper to remove this warning. See\n' +
          'https://docs.docker.com/go/credential-store/\n\n',
      );
    process.stdout.write('Login Succeeded\n');
  });
}

/** Checks what was given against itself, in docker's words. Raises EUSAGE. */
async function fromFlags(flags: Flags): Promise<{ username?: string; password?: string }> {
  const { username, password, passwordStdin } = flags;
  const bad = (message: string): LaminaError => new LaminaError('EUSAGE', message, { hint: '' });
  if (username === '') throw bad('username is empty');
  if (password === '') throw bad('password is empty');
  if (password !== undefined && passwordStdin === true)
    throw bad('conflicting options: cannot specify both --password and --password-stdin');
  const isFromStdin = passwordStdin === true || password === '-';
  if (isFromStdin && username === undefined)
    throw bad('the --password-stdin option requires --username to be set');
  const { readSecret } = await import('./prompt.js');
  if (isFromStdin) {
    const secret = await readSecret();
    if (secret === '') throw bad('password is empty');
    return { username: username!, password: secret };
  }
  if (password !== undefined) {
    process.stderr.write('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
  }
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

async function complete(
  given: { username?: string; password?: string },
  defaultName: string | undefined,
): Promise<Credentials> {
  if (given.username !== undefined && given.password !== undefined) return given;
  if (!process.stdin.isTTY)
    throw new LaminaError('EUSAGE', 'error: cannot perform an interactive login from a non-TTY device', {
      hint: 'Give --username and --password-stdin.',
    });
  const { ask } = await import('./prompt.js');
  const shown = defaultName === undefined ? 'Username: ' : `Username (${defaultName}): `;
  const username = given.username ?? ((await ask(shown, false)).trim() || defaultName);
  if (username === undefined || username === '')
    throw new LaminaError('EUSAGE', 'username is required', { hint: '' });
  const password = given.password ?? (await ask('Password: ', true));
  if (password === '') throw new LaminaError('EUSAGE', 'password is required', { hint: '' });
  return { username, password };
}

async function logout(server: string | undefined): Promise<void> {
  const [{ parseServer }, { credentialKey, eraseCredentials }] = await Promise.all([
    import('../../registry/login.js'),
    import('../../registry/credentials.js'),
  ]);
  const domain = parseServer(server);
  process.stdout.write(`Removing login credentials for ${credentialKey(domain)}\n`);
  if (!(await eraseCredentials(domain)))
    process.stderr.write(`WARNING: not logged in to ${credentialKey(domain)}\n`);
}
