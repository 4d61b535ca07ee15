/** A line to a registry that can be cut and mended: while it is cut nothing passes, as when a cable is pulled; or connections are refused. */
import net from 'node:net';
import type { AddressInfo } from 'node:net';

export class GatedProxy {
  bytesDown = 0;
  #server: net.Server | undefined;
  #isOpen = true;
  readonly #sockets = new Set<net.Socket>();

  static async start(target: string): Promise<GatedProxy> {
    const proxy = new GatedProxy();
    const [host, port] = target.split(':');
    proxy.#server = net.createServer((client) => {
      if (!proxy.#isOpen) {
        client.destroy();
        return;
      }
      const upstream = net.connect(Number(port), host!);
      for (const socket of [client, upstream]) {
        proxy.#sockets.add(socket);
        socket.on('error', () => {}).on('close', () => proxy.#sockets.delete(socket));
      }
      client.pipe(upstream);
      upstream.on('data', (chunk) => (proxy.bytesDown += chunk.length));
      upstream.pipe(client);
      client.on('close', () => upstream.destroy());
      upstream.on('close', () => client.destroy());
    });
    await new Promise<void>((resolve) => proxy.#server!.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get domain(): string {
    return `127.0.0.1:${(this.#server!.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isOpen = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isOpen = true;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server!.close(resolve));
  }
}
