/** A store of its own and a client without anybody's configuration, for each test. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseReference } from '../../../src/oci/reference.js';
import { RegistryClient } from '../../../src/registry/client.js';
import type { ClientOptions } from '../../../src/registry/client.js';
import { pullImage } from '../../../src/registry/pull.js';
import type { PulledImage, PullOptions } from '../../../src/registry/pull.js';
import { pushImage } from '../../../src/registry/push.js';
import type { PushedImage } from '../../../src/registry/push.js';
import { ImageStore } from '../../../src/store/image-store.js';

export const FAST = { backOffMs: 5, idleMs: 2000, connectMs: 2000, maxWaitMs: 3000 };

export class Place {
  readonly root = mkdtempSync(join(tmpdir(), 'lamina-registry-'));
  readonly store = new ImageStore(this.root);
  readonly clients: RegistryClient[] = [];

  client(options: ClientOptions = {}): RegistryClient {
    const client = new RegistryClient({
      settings: { insecure: [], mirrors: new Map() },
      timing: FAST,
      findCredentials: async () => undefined,
      ...options,
    });
    this.clients.push(client);
    return client;
  }

  async pull(name: string, options: Partial<PullOptions> = {}, client = this.client()): Promise<PulledImage> {
    return pullImage(this.store, client, parseReference(name), { maxInflatedBytes: 1 << 30, ...options });
  }

  async push(name: string, client = this.client()): Promise<PushedImage> {
    return pushImage(this.store, client, parseReference(name));
  }

  /** Files in a directory of the store. */
  files(name: string): string[] {
    return existsSync(join(this.root, name)) ? readdirSync(join(this.root, name)).sort() : [];
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
