/** What commands that talk to registries have in common. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { ClientOptions, RegistryClient } from '../../registry/client.js';

export interface TlsFlags {
  tlsVerify?: string | true;
  certDir?: string;
}

export function addTlsOption(command: Command): Command {
  return command
    .option(
      '--tls-verify [bool]',
      'false: allow plain http and any certificate; true: allow neither, not even for localhost',
    )
    .option(
      '--cert-dir <string>',
      'Directory of certificates to use (*.crt, *.cert, *.key) instead of certs.d',
    );
}

/** Runs `use` with a client, whose connections end with it. */
export async function withClient<T>(
  { tlsVerify, certDir }: TlsFlags,
  use: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const clients = openClients();
  try {
    return await use(await clients.client({ tlsVerify: parseBoolean(tlsVerify, 'tls-verify'), certDir }));
  } finally {
    await clients.close();
  }
}

interface ClientFlags {
  tlsVerify: boolean | undefined;
  certDir: string | undefined;
}

/** Clients made when they are asked for; who has the same flags shares one, with its connections and tokens. */
export function openClients(): {
  client(flags: ClientFlags): Promise<RegistryClient>;
  close(): Promise<void>;
} {
  const clients = new Map<string, RegistryClient>();
  return {
    async client({ tlsVerify, certDir }) {
      const { RegistryClient } = await import('../../registry/client.js');
      const key = JSON.stringify([tlsVerify, certDir]);
      const options: ClientOptions = {
        ...(tlsVerify === undefined ? {} : { tlsVerify }),
        ...(certDir === undefined ? {} : { certDir }),
      };
      const client = clients.get(key) ?? new RegistryClient(options);
      clients.set(key, client);
      return client;
    },
    async close() {
      for (const client of clients.values()) await client.close();
    },
  };
}

/** As Go's strconv.ParseBool. */
export function parseBoolean(text: string | true | undefined, flag: string): boolean | undefined {
  if (text === undefined || text === true) return text;
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for "--${flag}" flag`);
}
