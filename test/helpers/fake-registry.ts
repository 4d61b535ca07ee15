/** A registry on loopback that misbehaves where a test tells it to (distribution-spec 1.1 otherwise, as far as the tests need). */
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { ServerOptions } from 'node:https';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

export interface SeenRequest {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
}

/** Answers a request instead of the registry when it returns true. */
export type Hook = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

interface Upload {
  bytes: Buffer;
  repository: string;
}

export class FakeRegistry {
  readonly blobs = new Map<string, Buffer>();
  /** By `repository/reference`. */
  readonly manifests = new Map<string, { mediaType: string; bytes: Buffer }>();
  readonly requests: SeenRequest[] = [];
  readonly uploads = new Map<string, Upload>();
  hook: Hook = () => false;
  /** So many requests that send a blob are cut after so many bytes, which are kept. */
  uploadCuts = { count: 0, afterBytes: 0 };
  #server: Server | undefined;

  /** `tls`: options of Node's https server. */
  static async start(tls?: ServerOptions): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      registry.#serve(request, response).catch(() => response.destroy());
    };
    const server = tls === undefined ? createServer(serve) : createSecureServer(tls, serve);
    registry.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  /** As in a reference. */
  get domain(): string {
    return `127.0.0.1:${(this.#server!.address() as AddressInfo).port}`;
  }

  /** Requests whose `METHOD url` fits. */
  seen(pattern: RegExp): SeenRequest[] {
    return this.requests.filter(({ method, url }) => pattern.test(`${method} ${url}`));
  }

  async close(): Promise<void> {
    this.#server!.closeAllConnections();
    await new Promise((resolve) => this.#server!.close(resolve));
  }

  /** Puts an image there; returns the digest of its manifest. */
  add(name: string, image: FakeImage): string {
    const [repository = '', tag = 'latest'] = name.split(':');
    for (const [digest, bytes] of image.blobs) this.blobs.set(digest, bytes);
    return this.addManifest(repository, tag, image.mediaType, image.manifest);
  }

  addManifest(repository: string, tag: string | undefined, mediaType: string, bytes: Buffer): string {
    const digest = sha256(bytes);
    for (const reference of [digest, ...(tag === undefined ? [] : [tag])])
      this.manifests.set(`${repository}/${reference}`, { mediaType, bytes });
    return digest;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    // A TLS greeting is no request.
    this.requests.push({ method, url, headers });
    if (await this.hook(request, response)) return;
    const { pathname, searchParams } = new URL(url, 'http://x');
    const manifest = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(pathname);
    const blob = /^\/v2\/(.+)\/blobs\/(sha(?:256|512):[0-9a-f]+)$/.exec(pathname);
    const upload = /^\/v2\/(.+)\/blobs\/uploads\/(.*)$/.exec(pathname);
    const tags = /^\/v2\/(.+)\/tags\/list$/.exec(pathname);
    if (pathname === '/v2/') return void response.end('{}');
    if (tags !== null) {
      const names = [...this.manifests.keys()]
        .filter((key) => key.startsWith(`${tags[1]}/`) && !key.includes('/sha'))
        .map((key) => key.slice(tags[1]!.length + 1));
      return void response.end(JSON.stringify({ name: tags[1], tags: names }));
    }
    if (manifest !== null) return this.#manifest(request, response, manifest[1]!, manifest[2]!);
    if (blob !== null) return sendBlob(request, response, this.blobs.get(blob[2]!));
    if (upload !== null) return this.#upload(request, response, upload[1]!, upload[2]!, searchParams);
    notFound(response, 'UNSUPPORTED');
  }

  async #manifest(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    reference: string,
  ): Promise<void> {
    if (request.method === 'PUT') {
      const bytes = await readAll(request);
      const digest = this.addManifest(
        repository,
        reference.startsWith('sha256:') ? undefined : reference,
        request.headers['content-type']!,
        bytes,
      );
      response.writeHead(201, {
        'docker-content-digest': digest,
        location: `/v2/${repository}/manifests/${digest}`,
      });
      return void response.end();
    }
    const found = this.manifests.get(`${repository}/${reference}`);
    if (found === undefined) return notFound(response, 'MANIFEST_UNKNOWN');
    response.writeHead(200, {
      'content-type': found.mediaType,
      'content-length': found.bytes.length,
      'docker-content-digest': sha256(found.bytes),
    });
    response.end(request.method === 'HEAD' ? undefined : found.bytes);
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    id: string,
    query: URLSearchParams,
  ): Promise<void> {
    const { method } = request;
    const accept = (key: string, status: number): void => {
      const { bytes } = this.uploads.get(key)!;
      response.writeHead(status, {
        location: `/v2/${repository}/blobs/uploads/${key}?state=${bytes.length}`,
        range: `0-${Math.max(bytes.length - 1, 0)}`,
      });
      response.end();
    };
    if (method === 'POST') {
      await readAll(request);
      const mounted = query.get('mount');
      if (mounted !== null && this.blobs.has(mounted)) {
        response.writeHead(201, { location: `/v2/${repository}/blobs/${mounted}` });
        return void response.end();
      }
      const key = randomBytes(8).toString('hex');
      this.uploads.set(key, { bytes: Buffer.alloc(0), repository });
      return accept(key, 202);
    }
    const upload = this.uploads.get(id);
    if (upload === undefined) return notFound(response, 'BLOB_UPLOAD_UNKNOWN');
    if (method === 'GET') return accept(id, 204);
    if (method === 'DELETE') {
      this.uploads.delete(id);
      response.writeHead(204);
      return void response.end();
    }
    const start = /^(\d+)-\d+$/.exec(request.headers['content-range'] ?? '')?.[1];
    if (start !== undefined && Number(start) !== upload.bytes.length) {
      request.resume();
      response.writeHead(416);
      return void response.end();
    }
    const cut = method === 'PATCH' && this.uploadCuts.count > 0 ? this.uploadCuts.afterBytes : Infinity;
    let received = 0;
    const chunks = [upload.bytes];
    try {
      for await (const chunk of request) {
        chunks.push(chunk as Buffer);
        received += (chunk as Buffer).length;
        if (received <= cut) continue;
        this.uploadCuts.count--;
        request.destroy();
        break;
      }
    } catch {
      return;
    } finally {
      upload.bytes = Buffer.concat(chunks);
    }
    if (received > cut) return;
    if (method === 'PATCH') return accept(id, 202);
    const digest = query.get('digest')!;
    if (digestOf(digest.split(':')[0]!, upload.bytes) !== digest) {
      response.writeHead(400);
      return void response.end(
        JSON.stringify({ errors: [{ code: 'DIGEST_INVALID', message: 'provided digest did not match' }] }),
      );
    }
    this.uploads.delete(id);
    this.blobs.set(digest, upload.bytes);
    response.writeHead(201, { location: `/v2/${repository}/blobs/${digest}` });
    response.end();
  }
}

/** With ranges. */
export function sendBlob(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer | undefined,
): void {
  if (bytes === undefined) return notFound(response, 'BLOB_UNKNOWN');
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  const from = Number(start ?? 0);
  response.writeHead(start === undefined ? 200 : 206, {
    'content-length': bytes.length - from,
    ...(start === undefined ? {} : { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(from));
}

/** The head and so many bytes of the body, then the connection is cut. */
export function cutBlob(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  count: number,
): void {
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  const from = Number(start ?? 0);
  response.writeHead(start === undefined ? 200 : 206, {
    'content-length': bytes.length - from,
    ...(start === undefined ? {} : { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  response.write(bytes.subarray(from, from + count), () => response.destroy());
}

export function notFound(response: ServerResponse, code: string): void {
  response.writeHead(404, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' '), detail: null }] }),
  );
}

export async function readAll(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function digestOf(algorithm: string, bytes: Buffer): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function sha256(bytes: Buffer): string {
  return digestOf('sha256', bytes);
}

export interface FakeImage {
  imageId: string;
  mediaType: string;
  manifest: Buffer;
  /** Config and layers. */
  blobs: Map<string, Buffer>;
  /** Bottom to top. */
  layers: { digest: string; diffId: string; blob: Buffer; tar: Buffer }[];
}

export interface FakeImageOptions {
  architecture?: string;
  compress?: (tar: Buffer) => Buffer;
  /** Of the blobs. */
  algorithm?: 'sha256' | 'sha512';
  /** Changes the manifest before it is written. */
  edit?: (manifest: FakeManifest) => void;
}

export interface FakeManifest {
  config: { digest: string };
  layers: { mediaType: string; digest: string; size: number; urls?: string[] }[];
  annotations?: Record<string, string>;
  subject?: object;
}

const OCI = 'application/vnd.oci.image';

/** Each layer by its files: name -> content. */
export async function fakeImage(
  layers: readonly Record<string, Buffer | string>[],
  { architecture = 'amd64', compress = gzipSync, algorithm = 'sha256', edit }: FakeImageOptions = {},
): Promise<FakeImage> {
  const made = [];
  for (const files of layers) {
    const archive = pack();
    for (const [name, content] of Object.entries(files))
      archive.entry({ name, mtime: new Date(0) }, content as string);
    archive.finalize();
    const tar = await readAll(archive);
    const blob = compress(tar);
    made.push({ digest: digestOf(algorithm, blob), diffId: sha256(tar), blob, tar });
  }
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture,
      config: {},
      rootfs: { type: 'layers', diff_ids: made.map(({ diffId }) => diffId) },
    }),
  );
  const imageId = sha256(config);
  const manifest: FakeManifest & Record<string, unknown> = {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: { mediaType: `${OCI}.config.v1+json`, digest: imageId, size: config.length } as never,
    layers: made.map(({ digest, blob, tar }) => ({
      mediaType: `${OCI}.layer.v1.tar${blob === tar ? '' : '+gzip'}`,
      digest,
      size: blob.length,
    })),
  };
  edit?.(manifest);
  const blobs = new Map([[imageId, config], ...made.map(({ digest, blob }) => [digest, blob] as const)]);
  const mediaType = `${OCI}.manifest.v1+json`;
  return { imageId, mediaType, manifest: Buffer.from(JSON.stringify(manifest)), blobs, layers: made };
}
