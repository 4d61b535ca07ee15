/** What commands that talk to registries have in common. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { RegistryClient } from '../../registry/client.js';

export interface TlsFlags {
  tlsVerify?: string | true;
}

export function addTlsOption(command: Command): Command {
  return command.option(
    '--tls-verify [bool]',
    'false: allow plain http and any certificate; true: allow neither, not even for localhost',
  );
}

/** Runs `use` with a client, whose connections end with it. */
export async function withClient<T>(
  { tlsVerify }: TlsFlags,
  use: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const verify = parseBoolean(tlsVerify);
  const { RegistryClient } = await import('../../registry/client.js');
  const client = new RegistryClient(verify === undefined ? {} : { tlsVerify: verify });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** As Go's strconv.ParseBool. */
function parseBoolean(text: string | true | undefined): boolean | undefined {
  if (text === undefined || text === true) return text;
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for "--tls-verify" flag`);
}
