/**
 * Images that can be read before they are here, made without anything of Lamina: eStargz by a writer of its own, from the format's description
 * (containerd/stargz-snapshotter docs/estargz.md), because no tool of Debian's writes it; put into a registry by plain HTTP.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { rawEntry } from './raw-tar.js';
import type { RawHeader } from './raw-tar.js';

export interface LazyEntry {
  header: RawHeader;
  body?: Buffer;
}

export interface BuiltBlob {
  blob: Buffer;
  mediaType: string;
  diffId: string;
  annotations?: Record<string, string>;
}

const BLOCK = 512;
const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const TYPES: Readonly<Record<string, string>> = {
  '0': 'reg',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
};

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function tarOf(entries: readonly LazyEntry[]): Buffer {
  return Buffer.concat([
    ...entries.map(({ header, body }) => rawEntry(header, body)),
    Buffer.alloc(2 * BLOCK),
  ]);
}

export function plainLayer(entries: readonly LazyEntry[]): BuiltBlob {
  const blob = tarOf(entries);
  return { blob, mediaType: LAYER, diffId: sha256(blob) };
}

export function gzipLayer(entries: readonly LazyEntry[]): BuiltBlob {
  const tar = tarOf(entries);
  return { blob: gzipSync(tar), mediaType: `${LAYER}+gzip`, diffId: sha256(tar) };
}

/** @param change a lie to be told in the table */
export function estargzLayer(
  entries: readonly LazyEntry[],
  chunkBytes = 4 << 20,
  change: (table: { version: number; entries: Record<string, unknown>[] }) => void = () => {},
): BuiltBlob {
  const members: Buffer[] = [];
  const tars: Buffer[] = [];
  let open: Buffer[] = [];
  let offset = 0;
  const close = (): void => {
    if (open.length === 0) return;
    const tar = Buffer.concat(open);
    const member = gzipSync(tar);
    tars.push(tar);
    members.push(member);
    offset += member.length;
    open = [];
  };
  const table = { version: 1, entries: [] as Record<string, unknown>[] };
  for (const { header, body = Buffer.alloc(0) } of entries) {
    const whole = rawEntry(header, body);
    const padded = Math.ceil(body.length / BLOCK) * BLOCK;
    open.push(whole.subarray(0, whole.length - padded));
    const entry: Record<string, unknown> = {
      name: Buffer.from(header.name, 'latin1')
        .toString('utf8')
        .replace(/\/$/, header.typeflag === '5' ? '/' : ''),
      type: TYPES[header.typeflag],
      ...(body.length > 0 ? { size: body.length } : {}),
      modtime: new Date((header.mtimeSec ?? 0) * 1000).toISOString().replace('.000Z', 'Z'),
      ...(header.linkName === undefined ? {} : { linkName: header.linkName }),
      mode: header.mode ?? 0o644,
      uid: header.uid ?? 0,
      gid: header.gid ?? 0,
      ...(header.rdev === undefined ? {} : { devMajor: header.rdev[0], devMinor: header.rdev[1] }),
      NumLink: 0,
    };
    if (header.xattrs !== undefined)
      entry['xattrs'] = Object.fromEntries(
        header.xattrs.map(([name, value]) => [name, Buffer.from(value, 'latin1').toString('base64')]),
      );
    table.entries.push(entry);
    if (body.length > 0) entry['digest'] = sha256(body);
    for (let at = 0; at < body.length; at += chunkBytes) {
      close();
      const chunk = body.subarray(at, at + chunkBytes);
      const place = {
        offset,
        ...(at > 0 ? { chunkOffset: at } : {}),
        ...(at + chunkBytes < body.length ? { chunkSize: chunk.length } : {}),
        chunkDigest: sha256(chunk),
      };
      if (at === 0) Object.assign(entry, place);
      else table.entries.push({ name: entry['name'], type: 'chunk', ...place });
      open.push(chunk);
    }
    if (body.length > 0) open.push(Buffer.alloc(padded - body.length));
  }
  close();
  change(table);
  const json = Buffer.from(JSON.stringify(table));
  const tableOffset = offset;
  open.push(
    rawEntry({ name: 'stargz.index.json', typeflag: '0', mode: 0o444 }, json),
    Buffer.alloc(2 * BLOCK),
  );
  close();
  return {
    blob: Buffer.concat([...members, footer(tableOffset)]),
    mediaType: `${LAYER}+gzip`,
    diffId: sha256(Buffer.concat(tars)),
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': sha256(json) },
  };
}

/** 51 bytes: an empty gzip member whose extra field says where the table is. */
function footer(tableOffset: number): Buffer {
  const extra = Buffer.from(`SG\x16\x00${tableOffset.toString(16).padStart(16, '0')}STARGZ`, 'latin1');
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, extra.length, 0]),
    extra,
    Buffer.from([1, 0, 0, 0xff, 0xff]),
    Buffer.alloc(8),
  ]);
}

/** An OCI layout with the image, named `1`. */
export function writeLayout(directory: string, layers: readonly BuiltBlob[]): void {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const { manifest } = describeImage(layers, (bytes) =>
    writeFileSync(join(blobs, sha256(bytes).slice('sha256:'.length)), bytes),
  );
  const annotations = { 'org.opencontainers.image.ref.name': '1' };
  const entry = { mediaType: MANIFEST, digest: sha256(manifest), size: manifest.length, annotations };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

/** `put` is told of every blob, and of the manifest last. */
function describeImage(layers: readonly BuiltBlob[], put: (bytes: Buffer) => void): { manifest: Buffer } {
  const stored = (bytes: Buffer): { digest: string; size: number } => {
    put(bytes);
    return { digest: sha256(bytes), size: bytes.length };
  };
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...stored(config) },
      layers: layers.map(({ blob, mediaType, annotations }) => ({ mediaType, ...stored(blob), annotations })),
    }),
  );
  put(manifest);
  return { manifest };
}

/** Uploads an image; returns the digest of its manifest. */
export async function putImage(
  domain: string,
  repository: string,
  tag: string,
  layers: readonly BuiltBlob[],
): Promise<string> {
  const base = `http://${domain}/v2/${repository}`;
  const upload = async (bytes: Buffer): Promise<void> => {
    const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const url = new URL(begun.headers.get('location')!, base);
    url.searchParams.set('digest', sha256(bytes));
    const headers = { 'content-type': 'application/octet-stream' };
    const done = await fetch(url, { method: 'PUT', body: new Uint8Array(bytes), headers });
    if (done.status !== 201) throw new Error(`${repository}: ${done.status} ${await done.text()}`);
  };
  const blobs: Buffer[] = [];
  const { manifest } = describeImage(layers, (bytes) => blobs.push(bytes));
  for (const blob of blobs.slice(0, -1)) await upload(blob);
  const done = await fetch(`${base}/manifests/${tag}`, {
    method: 'PUT',
    body: new Uint8Array(manifest),
    headers: { 'content-type': MANIFEST },
  });
  if (done.status !== 201) throw new Error(`${repository}: ${done.status} ${await done.text()}`);
  return sha256(manifest);
}

/** Two layers with something of everything, large enough to be worth a table. */
export function lazyLayers(): LazyEntry[][] {
  const mtimeSec = 1_700_000_000;
  const dir = (name: string): LazyEntry => ({
    header: { name: `${name}/`, typeflag: '5', mode: 0o755, mtimeSec },
  });
  const file = (name: string, body: Buffer, more: Partial<RawHeader> = {}): LazyEntry => ({
    header: { name, typeflag: '0', mode: 0o644, mtimeSec, ...more },
    body,
  });
  const words = Buffer.from(Array.from({ length: 60_000 }, (_, index) => `word${index % 997} `).join(''));
  return [
    [
      dir('etc'),
      file('etc/hosts', Buffer.from('127.0.0.1 localhost\n'), { uid: 12, gid: 34, mode: 0o600 }),
      file('etc/empty', Buffer.alloc(0)),
      file('etc/gone', Buffer.from('not any more')),
      dir('usr'),
      dir('usr/lib'),
      file('usr/lib/noise', randomBytes(1_500_000), { xattrs: [['user.note', '\x00\xff\n']] }),
      file('usr/lib/words', words),
      { header: { name: 'usr/lib/words-again', typeflag: '1', linkName: 'usr/lib/words', mtimeSec } },
      { header: { name: 'usr/lib/link', typeflag: '2', linkName: '../../etc/hosts', mode: 0o777, mtimeSec } },
      { header: { name: 'usr/pipe', typeflag: '6', mode: 0o622, mtimeSec } },
      ...Array.from({ length: 120 }, (_, index) =>
        file(`usr/lib/small-${index}`, randomBytes(700 + index * 37)),
      ),
    ],
    [
      dir('etc'),
      file('etc/.wh.gone', Buffer.alloc(0)),
      file('etc/hosts', Buffer.from('::1 localhost\n')),
      dir('var'),
      file('var/cache', randomBytes(400_000), { mode: 0o4755 }),
    ],
  ];
}
