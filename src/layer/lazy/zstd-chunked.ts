/**
 * zstd:chunked: a zstd layer in which each chunk of a file is a frame of its own, with a table in a skippable frame at its end. Annotations of
 * the layer's descriptor say where the table is and have its digest, so that it is as trustworthy as the manifest. Source: containers/storage
 * pkg/chunked/internal/compression.go.
 */
import { ZSTDDecoder } from 'zstddec';
import { LaminaError } from '../../errors.js';
import { isDigest, verifyBytes } from '../../oci/digest.js';
import { jsonLayer } from './json-layer.js';
import { badLazy } from './pieces.js';
import type { LazyLayer } from './pieces.js';
import { parseTocJson } from './toc-json.js';

/** The first is written since containers/storage 1.43. */
const PREFIXES = ['io.github.containers.zstd-chunked', 'io.containers.zstd-chunked'];
/** Of a table, decompressed. */
const MAX_TABLE_BYTES = 150 * 2 ** 20;

export interface ZstdTable {
  /** In the blob, of the frame's content. */
  offset: number;
  length: number;
  plainBytes: number;
  digest: string;
}

/** Where the table is; undefined when the annotations do not say so, or mean a form that nobody knows. */
export function zstdTable(
  annotations: ReadonlyMap<string, string>,
  blobBytes: number,
): ZstdTable | undefined {
  for (const prefix of PREFIXES) {
    const position = annotations.get(`${prefix}.manifest-position`);
    const digest = annotations.get(`${prefix}.manifest-checksum`);
    const match = /^(\d{1,15}):(\d{1,15}):(\d{1,15}):1$/.exec(position ?? '');
    if (match === null || digest === undefined || !isDigest(digest)) continue;
    const [offset, length, plainBytes] = match.slice(1).map(Number) as [number, number, number];
    if (length === 0 || plainBytes === 0 || offset + length > blobBytes || plainBytes > MAX_TABLE_BYTES)
      return undefined;
    return { offset, length, plainBytes, digest };
  }
  return undefined;
}

export interface ZstdJob {
  name: string;
  diffId: string;
  blobBytes: number;
  maxBytes: number;
}

/** @param stored the bytes of the table's place. Raises EDIGEST, EBADLAYER, ELIMIT. */
export async function zstdChunkedLayer(stored: Buffer, table: ZstdTable, job: ZstdJob): Promise<LazyLayer> {
  const { name, blobBytes } = job;
  verifyBytes(stored, table.digest, `${name}: its table of contents`);
  const json = await decodeZstd(stored, table.plainBytes);
  if (json === undefined) throw badLazy(name, 'cannot be decompressed');
  return jsonLayer({
    ...job,
    kind: 'zstd:chunked',
    table: parseTocJson(json, blobBytes, name),
    // Before it stands the head of its frame.
    dataEnd: table.offset,
    async decode({ sizeBytes, offset }, bytes) {
      const plain = await decodeZstd(bytes, sizeBytes);
      if (plain === undefined)
        throw new LaminaError('EBADTAR', `${name}: its zstd data is damaged at byte ${offset}`, {
          path: name,
        });
      return plain;
    },
  });
}

let decoder: Promise<ZSTDDecoder> | undefined;

/** Exactly `sizeBytes`; undefined when it is not that. */
async function decodeZstd(stored: Buffer, sizeBytes: number): Promise<Buffer | undefined> {
  decoder ??= (async () => {
    const made = new ZSTDDecoder();
    await made.init();
    return made;
  })();
  const { buffer, byteOffset, byteLength } = (await decoder).decode(stored, sizeBytes);
  return byteLength === sizeBytes ? Buffer.from(buffer, byteOffset, byteLength) : undefined;
}
