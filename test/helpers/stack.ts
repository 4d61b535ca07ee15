/**
 * One description of a stack of layers for every suite: the same description becomes layer tars, a docker archive, an OCI
 * layout (here) or directories on disk (unpack.ts). It is plain JSON, names and contents as ByteStrings, so that a stack
 * that once failed can be kept as a fixture. The image-spec (layer.md) says what the entries mean.
 */
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ByteString } from '../../src/bytes.js';
import { rawEntry, rawSparseEntry, rawTar } from './raw-tar.js';
import type { RawHeader } from './raw-tar.js';

export interface Attributes {
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds rounded down, and nanoseconds. */
  mtime?: readonly [sec: number, nsec: number];
  xattrs?: readonly (readonly [name: ByteString, value: ByteString])[];
}

/** Runs of data in order; zeros elsewhere. */
export interface SparseContent {
  sizeBytes: number;
  runs: readonly { offset: number; data: ByteString }[];
}

/** `path` is written into the tar as it is: `./a`, `/a`, `a/` and `.` are all allowed. */
export type Entry = Attributes & { path: ByteString } & (
    | { kind: 'dir' | 'fifo' | 'socket' | 'whiteout' | 'opaque' }
    | { kind: 'file'; content: ByteString | SparseContent }
    | { kind: 'symlink' | 'hardlink'; target: ByteString }
    | { kind: 'char' | 'block'; rdev: readonly [major: number, minor: number] }
    | { kind: 'raw'; base64: string }
  );

export type Layer = readonly Entry[];

/** Bottom to top. */
export type Stack = readonly Layer[];

export const DEFAULT_MTIME: readonly [number, number] = [1_700_000_000, 0];

export const dir = (path: ByteString, attributes: Attributes = {}): Entry => ({
  kind: 'dir',
  path,
  ...attributes,
});
export const file = (
  path: ByteString,
  content: ByteString | SparseContent = '',
  attributes: Attributes = {},
): Entry => ({
  kind: 'file',
  path,
  content,
  ...attributes,
});
export const symlink = (path: ByteString, target: ByteString, attributes: Attributes = {}): Entry => ({
  kind: 'symlink',
  path,
  target,
  ...attributes,
});
/** `target` is a path from the root of the layer. */
export const hardlink = (path: ByteString, target: ByteString, attributes: Attributes = {}): Entry => ({
  kind: 'hardlink',
  path,
  target,
  ...attributes,
});
export const fifo = (path: ByteString, attributes: Attributes = {}): Entry => ({
  kind: 'fifo',
  path,
  ...attributes,
});
export const socket = (path: ByteString, attributes: Attributes = {}): Entry => ({
  kind: 'socket',
  path,
  ...attributes,
});
export const chardev = (
  path: ByteString,
  rdev: readonly [number, number],
  attributes: Attributes = {},
): Entry => ({ kind: 'char', path, rdev, ...attributes });
export const blockdev = (
  path: ByteString,
  rdev: readonly [number, number],
  attributes: Attributes = {},
): Entry => ({ kind: 'block', path, rdev, ...attributes });
/** Hides `path` of the lower layers. The entry is written as `.wh.NAME` beside it. */
export const whiteout = (path: ByteString): Entry => ({ kind: 'whiteout', path });
/** Hides what lower layers have in the directory `path`. The entry is written as `path/.wh..wh..opq`. */
export const opaque = (path: ByteString): Entry => ({ kind: 'opaque', path });
/** Bytes put into the tar as they are: whole blocks. */
export const raw = (bytes: Buffer): Entry => ({ kind: 'raw', path: '', base64: bytes.toString('base64') });

const TYPEFLAGS = {
  dir: '5',
  fifo: '6',
  char: '3',
  block: '4',
  symlink: '2',
  hardlink: '1',
  file: '0',
  socket: '0',
} as const;

const DEFAULT_MODES = { dir: 0o755, symlink: 0o777 } as const;

/** The permission bits an entry gets when it names none. */
export function defaultMode(kind: Entry['kind']): number {
  return kind in DEFAULT_MODES ? DEFAULT_MODES[kind as keyof typeof DEFAULT_MODES] : 0o644;
}

/** The uncompressed tar of one layer. */
export function layerTar(layer: Layer): Buffer {
  return rawTar(layer.map(entryBytes));
}

function entryBytes(entry: Entry): Buffer {
  if (entry.kind === 'raw') return Buffer.from(entry.base64, 'base64');
  if (entry.kind === 'whiteout') {
    const slash = entry.path.lastIndexOf('/') + 1;
    const name = `${entry.path.slice(0, slash)}.wh.${entry.path.slice(slash)}`;
    return rawEntry({ name, typeflag: '0', mtimeSec: DEFAULT_MTIME[0] });
  }
  if (entry.kind === 'opaque') {
    const name = entry.path === '' || entry.path.endsWith('/') ? entry.path : `${entry.path}/`;
    return rawEntry({ name: `${name}.wh..wh..opq`, typeflag: '0', mtimeSec: DEFAULT_MTIME[0] });
  }
  const [mtimeSec, mtimeNsec] = entry.mtime ?? DEFAULT_MTIME;
  const header: RawHeader = {
    name: entry.kind === 'dir' && !/(^|\/)\.?$/.test(entry.path) ? `${entry.path}/` : entry.path,
    typeflag: TYPEFLAGS[entry.kind],
    mode: entry.mode ?? defaultMode(entry.kind),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    mtimeSec,
    mtimeNsec,
    xattrs: entry.xattrs ?? [],
  };
  switch (entry.kind) {
    case 'symlink':
    case 'hardlink':
      return rawEntry({ ...header, linkName: entry.target });
    case 'char':
    case 'block':
      return rawEntry({ ...header, rdev: entry.rdev });
    case 'socket':
      return rawEntry({ ...header, pax: [['SCHILY.filetype', 'socket']] });
    case 'file': {
      if (typeof entry.content === 'string') return rawEntry(header, Buffer.from(entry.content, 'latin1'));
      const runs = entry.content.runs.map((run) => ({
        offset: run.offset,
        data: Buffer.from(run.data, 'latin1'),
      }));
      return rawSparseEntry(header, entry.content.sizeBytes, runs);
    }
    default:
      return rawEntry(header);
  }
}

export const REFERENCE = 'lamina.test/stack:latest';

const OCI = 'application/vnd.oci.image';

interface Blob {
  digest: string;
  bytes: Buffer;
}

/** Manifest, config and layers of an image that holds `stack`, as an OCI layout has them. */
function imageBlobs(
  stack: Stack,
  compression: Compression,
): { manifest: Blob; config: Blob; layers: Blob[] } {
  const tars = stack.map(layerTar);
  const config = jsonBlob({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => blob(tar).digest) },
  });
  const layers = tars.map((tar) => blob(compress(tar, compression)));
  const suffix = compression === 'none' ? '' : `+${compression}`;
  const manifest = jsonBlob({
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: descriptor(`${OCI}.config.v1+json`, config),
    layers: layers.map((layer) => descriptor(`${OCI}.layer.v1.tar${suffix}`, layer)),
  });
  return { manifest, config, layers };
}

function indexOf(manifest: Blob): unknown {
  return {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [
      {
        ...descriptor(`${OCI}.manifest.v1+json`, manifest),
        annotations: {
          'io.containerd.image.name': REFERENCE,
          'org.opencontainers.image.ref.name': 'latest',
        },
      },
    ],
  };
}

/** Writes what `docker save` of docker 25 and later writes: plain layers, an OCI layout with manifest.json beside it. */
export function dockerArchive(stack: Stack, path: string): void {
  const { manifest, config, layers } = imageBlobs(stack, 'none');
  const blobPath = (of: Blob): string => `blobs/${of.digest.replace(':', '/')}`;
  const unique = [...new Map([config, manifest, ...layers].map((one) => [one.digest, one])).values()];
  const text = (name: string, value: unknown): Buffer =>
    rawEntry({ name, typeflag: '0' }, Buffer.from(JSON.stringify(value)));
  const entries = [
    rawEntry({ name: 'blobs/', typeflag: '5', mode: 0o755 }),
    rawEntry({ name: 'blobs/sha256/', typeflag: '5', mode: 0o755 }),
    ...unique.map((one) => rawEntry({ name: blobPath(one), typeflag: '0' }, one.bytes)),
    text('index.json', indexOf(manifest)),
    text('manifest.json', [
      { Config: blobPath(config), RepoTags: [REFERENCE], Layers: layers.map(blobPath) },
    ]),
    text('oci-layout', { imageLayoutVersion: '1.0.0' }),
  ];
  writeFileSync(path, rawTar(entries));
}

export type Compression = 'none' | 'gzip' | 'zstd';

/** Writes an OCI image layout into the directory `path`, which is made. zstd needs the command of that name. */
export function ociLayout(stack: Stack, path: string, options: { compression?: Compression } = {}): void {
  const { manifest, config, layers } = imageBlobs(stack, options.compression ?? 'none');
  mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
  for (const one of [manifest, config, ...layers]) {
    writeFileSync(join(path, 'blobs', one.digest.replace(':', '/')), one.bytes);
  }
  writeFileSync(join(path, 'index.json'), JSON.stringify(indexOf(manifest)));
  writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

function blob(bytes: Buffer): Blob {
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, bytes };
}

function jsonBlob(value: unknown): Blob {
  return blob(Buffer.from(JSON.stringify(value)));
}

function descriptor(mediaType: string, of: Blob): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: of.digest, size: of.bytes.length };
}

function compress(bytes: Buffer, compression: Compression): Buffer {
  if (compression === 'none') return bytes;
  if (compression === 'gzip') return gzipSync(bytes);
  const result = spawnSync('zstd', ['-q', '-c'], { input: bytes, maxBuffer: bytes.length + (1 << 20) });
  if (result.status !== 0) throw new Error(`zstd: ${result.error?.message ?? result.stderr.toString()}`);
  return result.stdout;
}
