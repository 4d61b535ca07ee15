/** A proxy as companies have them: CONNECT for TLS, whole URLs for plain http (RFC 9110, 7.6; RFC 9112, 3.2.2). */
import { createServer, request as httpRequest } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ProxiedRequest {
  method: string;
  /** `host:port`, or the URL. */
  target: string;
  authorization: string | undefined;
}

export class HttpProxy {
  readonly seen: ProxiedRequest[] = [];
  /** When set, who does not show it gets 407. */
  credentials: string | undefined;
  readonly #sockets = new Set<Duplex>();
  #server: Server | undefined;

  /** @param places what the proxy knows of names: `host:port` -> `address:port`, which nobody else can look up */
  static async start(places: Readonly<Record<string, string>>): Promise<HttpProxy> {
    const proxy = new HttpProxy();
    const server = createServer((request, response) => proxy.#forward(request, response, places));
    server.on('connect', (request: IncomingMessage, socket: Duplex) =>
      proxy.#connect(request, socket, places),
    );
    server.on('connection', (socket) => {
      proxy.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => proxy.#sockets.delete(socket));
    });
    proxy.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** Without credentials. */
  get host(): string {
    return `127.0.0.1:${(this.#server!.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server!.close(resolve));
  }

  #note({ method = '', url = '', headers }: IncomingMessage): boolean {
    const authorization = headers['proxy-authorization'];
    this.seen.push({ method, target: url, authorization });
    return this.credentials === undefined || authorization === this.credentials;
  }

  #connect(request: IncomingMessage, socket: Duplex, places: Readonly<Record<string, string>>): void {
    const place = places[request.url!];
    if (!this.#note(request)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    if (place === undefined) return void socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    const [host, port] = place.split(':');
    const upstream = net.connect(Number(port), host!, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      socket.pipe(upstream);
      upstream.pipe(socket);
    });
    this.#sockets.add(upstream);
    upstream.on('error', () => socket.destroy());
    upstream.on('close', () => this.#sockets.delete(upstream));
    socket.on('close', () => upstream.destroy());
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    places: Readonly<Record<string, string>>,
  ): void {
    const isAllowed = this.#note(request);
    request.on('error', () => {});
    if (!isAllowed) return void response.writeHead(407).end();
    // What is not a whole URL is meant for nobody.
    const url = URL.canParse(request.url!) ? new URL(request.url!) : undefined;
    const place = url === undefined ? undefined : places[`${url.hostname}:${url.port || '80'}`];
    if (url === undefined || place === undefined) return void response.writeHead(502).end();
    const [host, port] = place.split(':');
    const headers = { ...request.headers };
    delete headers['proxy-authorization'];
    const upstream = httpRequest(
      { host, port, method: request.method, path: url.pathname + url.search, headers },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  }
}
