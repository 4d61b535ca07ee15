/** `import`: a root filesystem in a tar becomes an image of one layer (moby daemon/containerd/image_import.go, daemon/images/image_import.go). */
import { closeSync, createWriteStream, fstatSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import type { ArchivedImage } from '../archive/image.js';
import { fromSystemError, LaminaError } from '../errors.js';
import { detectCompression } from '../layer/compression.js';
import { parseConfig } from '../oci/config.js';
import { hashBytes } from '../oci/digest.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../oci/platform.js';
import type { Reference } from '../oci/reference.js';
import { Cache } from '../store/cache.js';
import { temporaryName } from '../store/files.js';
import type { ImageStore } from '../store/image-store.js';
import { inflate } from '../store/inflate.js';
import { applyChanges } from './change.js';
import { stageImage } from './load.js';
import { defaultMaxInflated } from './open.js';

export interface ImportOptions {
  name?: Reference;
  /** Dockerfile instructions. */
  changes?: readonly string[];
  /** Comment of the image; what it was imported from when absent. */
  message?: string;
  /** `os[/arch[/variant]]`; the host's when absent. */
  platform?: string;
  /** SOURCE_DATE_EPOCH: when the image says it was made. */
  epochSec?: number;
  /** What the tar came from, for the comment: `-` or a URL. */
  source: string;
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** @param file a tar, perhaps compressed. Returns the config digest. Raises EBADTAR and what the layer raises, EUSAGE (`changes`). */
export async function importImage(store: ImageStore, file: string, options: ImportOptions): Promise<string> {
  const run = applyChanges({}, options.changes ?? []);
  const cache = await Cache.open(store.root);
  const plain = path.join(cache.root, 'tmp', temporaryName());
  const staging = await store.stage();
  let fd: number | undefined;
  try {
    const tar = await plainTar(file, plain, options);
    fd = tar;
    const blob = { fd: tar, offset: 0, sizeBytes: fstatSync(tar).size, name: file };
    const { digest } = await staging.addSource(blob, undefined);
    const configBytes = describe(digest, run, options);
    const config = parseConfig(configBytes, 'config');
    const image: ArchivedImage = {
      references: [],
      imageId: hashBytes('sha256', configBytes),
      config,
      configBytes,
      manifestDigest: undefined,
      manifest: undefined,
      platform: config.platform,
      layers: [{ diffId: digest, digest, mediaType: undefined, compression: 'none', blob }],
    };
    const entry = await stageImage(store, staging, image);
    await store.update((draft) => {
      const taggedAt = new Date().toISOString();
      draft.add(options.name === undefined ? entry : { ...entry, name: options.name, taggedAt });
    }, staging);
    return image.imageId;
  } finally {
    if (fd !== undefined) closeSync(fd);
    staging.dispose();
    await rm(plain, { force: true });
  }
}

/** Open for reading. A compressed one is inflated into `target` first. */
async function plainTar(file: string, target: string, { onProgress }: ImportOptions): Promise<number> {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    throw fromSystemError(error, 'cannot open', file);
  }
  try {
    const sizeBytes = fstatSync(fd).size;
    const blob = { fd, offset: 0, sizeBytes, name: file };
    if (sizeBytes === 0) throw new LaminaError('EBADTAR', `${file} is empty`, { path: file });
    const compression = detectCompression(blob);
    if (compression === 'none') return fd;
    let doneBytes = 0;
    await inflate(
      { blob, compression, digest: undefined, diffId: undefined, maxBytes: defaultMaxInflated(), target },
      (bytes) => onProgress?.((doneBytes += bytes), sizeBytes),
    );
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return openSync(target, 'r');
}

function describe(diffId: string, config: Record<string, unknown>, options: ImportOptions): Buffer {
  const { epochSec, message, source } = options;
  const created = new Date(epochSec === undefined ? Date.now() : epochSec * 1000).toISOString();
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
  const [os, architecture, variant] = formatPlatform(platform).split('/');
  const comment = message ?? `Imported from ${source}`;
  return Buffer.from(
    JSON.stringify({
      created,
      comment,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      os,
      config,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created, comment }],
    }),
  );
}

/**
 * Fetches a URL into a file, for as long as `use` runs. Raises EIO for an answer other than 200 and for a connection that fails, ENOSPC.
 */
export async function withDownload<T>(
  root: string,
  url: string,
  use: (file: string) => Promise<T>,
  onProgress: (doneBytes: number, totalBytes: number) => void = () => {},
  onResponse: (response: Response) => void = () => {},
): Promise<T> {
  await Cache.open(root);
  const file = path.join(root, 'tmp', temporaryName());
  const failed = (what: string, cause?: unknown): LaminaError =>
    new LaminaError('EIO', `cannot download ${url}: ${what}`, { path: url, cause, hint: 'Check the URL.' });
  try {
    const response = await fetch(url).catch((error: unknown) => {
      const { cause } = error as { cause?: { message?: string } };
      throw failed(cause?.message ?? (error as Error).message, error);
    });
    if (!response.ok || response.body === null) throw failed(`${response.status} ${response.statusText}`);
    onResponse(response);
    const totalBytes = Number(response.headers.get('content-length') ?? 0);
    let doneBytes = 0;
    const body = Readable.fromWeb(response.body as ReadableStream);
    body.on('data', (chunk: Buffer) => onProgress((doneBytes += chunk.length), totalBytes));
    await pipeline(body, createWriteStream(file, { flags: 'wx', mode: 0o600 })).catch((error: unknown) => {
      const { syscall, message } = error as NodeJS.ErrnoException;
      throw syscall === 'write' ? fromSystemError(error, 'cannot write', file) : failed(message, error);
    });
    return await use(file);
  } finally {
    await rm(file, { force: true });
  }
}
