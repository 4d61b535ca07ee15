/**
 * Makes an image deeper: layers on top of it that each add one small file to directories all over the tree, so that these are merged
 * from many layers, as in an image that was built in many steps. An OCI layout with a tag `depth-N` for each depth; its blobs are
 * the image's own layers, uncompressed.
 */
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ByteString } from '../bytes.js';
import type { OpenedImage } from '../image/open.js';
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.js';
import { REF_NAME } from '../oci/annotations.js';
import { hashBytes, parseDigest } from '../oci/digest.js';
import { readSource } from '../tar/source.js';
import { TarWriter } from '../tar/write.js';
import type { Listing } from './listing.js';
import { spread } from './statistics.js';

/** Directories to which each layer that is put on top adds a file. */
const TOUCHED_DIRECTORIES = 32;
const CHUNK_BYTES = 1 << 20;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/**
 * Writes the layout into `directory`; -> the depths that were made, which are those that the image does not exceed by itself.
 * Costs a copy of the image's layers.
 */
export async function writeDeepImages(
  opened: OpenedImage,
  listing: Listing,
  depths: readonly number[],
  directory: string,
  signal: AbortSignal,
): Promise<number[]> {
  const own = opened.sources.length;
  const able = depths.filter((depth) => depth >= own);
  if (able.length === 0) return [];
  const layers: Descriptor[] = [];
  for (const [index, { diffId }] of opened.archived.layers.entries()) {
    const source = opened.sources[index]!;
    const file = blobFile(directory, diffId);
    if (!existsSync(file)) {
      const fd = openSync(file, 'w');
      for (let at = 0; at < source.sizeBytes; at += CHUNK_BYTES) {
        signal.throwIfAborted();
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, source.sizeBytes - at));
        readSource(source, chunk, at);
        writeSync(fd, chunk);
      }
      closeSync(fd);
    }
    layers.push({ mediaType: OCI_LAYER, digest: diffId, size: source.sizeBytes });
  }
  const directories = listing.names.filter(({ inode }) => inode.type === 'dir').map(({ path }) => path);
  const touched = spread(directories, TOUCHED_DIRECTORIES);
  const deepest = Math.max(...able);
  for (let serial = own; serial < deepest; serial++)
    layers.push(writeBlob(directory, OCI_LAYER, await touchingLayer(touched, listing, serial)));

  const manifests = able.map((depth) => {
    const stack = layers.slice(0, depth);
    const config = writeBlob(
      directory,
      OCI_CONFIG,
      json({
        ...opened.archived.platform,
        config: {},
        rootfs: { type: 'layers', diff_ids: stack.map(({ digest }) => digest) },
      }),
    );
    const manifest = json({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: stack });
    return {
      ...writeBlob(directory, OCI_MANIFEST, manifest),
      annotations: { [REF_NAME]: tagOf(depth) },
    };
  });
  writeFileSync(join(directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(directory, 'index.json'), json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  return able;
}

/** The tag of an image in the layout. */
export function tagOf(depth: number): string {
  return `depth-${depth}`;
}

/** A layer with the touched directories as the image has them, and a file in each. */
async function touchingLayer(
  touched: readonly ByteString[],
  listing: Listing,
  serial: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const tar = new TarWriter((chunk) => void chunks.push(chunk));
  const known = new Map(listing.names.map(({ path, inode }) => [path, inode]));
  const written = new Set<ByteString>();
  for (const path of touched) {
    const parts = path.split('/');
    for (let length = 1; length <= parts.length; length++) {
      const directory = parts.slice(0, length).join('/');
      const inode = known.get(directory);
      if (inode === undefined || written.has(directory)) continue;
      written.add(directory);
      const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = inode;
      await tar.entry({
        ...{
          type: 'dir' as const,
          name: directory,
          mode,
          uid,
          gid,
          sizeBytes: 0,
          mtimeSec,
          mtimeNsec,
          xattrs,
        },
      });
    }
    const content = Buffer.from(`${serial}\n`);
    const name = `${path}/lamina-bench-${serial}`;
    await tar.entry(
      {
        type: 'file',
        name,
        mode: 0o644,
        uid: 0,
        gid: 0,
        sizeBytes: content.length,
        mtimeSec: 0,
        mtimeNsec: 0,
      },
      content,
    );
  }
  await tar.finish();
  return Buffer.concat(chunks);
}

function writeBlob(directory: string, mediaType: string, bytes: Buffer): Descriptor {
  const digest = hashBytes('sha256', bytes);
  writeFileSync(blobFile(directory, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

function blobFile(directory: string, digest: string): string {
  const { algorithm, hex } = parseDigest(digest, 'layer');
  const file = join(directory, 'blobs', algorithm, hex);
  mkdirSync(dirname(file), { recursive: true });
  return file;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
