/**
 * eStargz: a gzip layer whose members can be decompressed one by one, with a table as its last entry. The last 51 bytes say where that
 * entry is; an annotation of the layer's descriptor has its digest, so that it is as trustworthy as the manifest. Source:
 * containerd/stargz-snapshotter docs/estargz.md.
 */
import { constants, createGunzip, gunzipSync } from 'node:zlib';
import { LaminaError } from '../../errors.js';
import { verifyBytes } from '../../oci/digest.js';
import { BLOCK, checksumMatches, FIELD, readNumber, readText, sumBlock } from '../../tar/header.js';
import { jsonLayer } from './json-layer.js';
import { badLazy } from './pieces.js';
import type { LazyLayer } from './pieces.js';
import { takePart } from './part.js';
import { parseTocJson } from './toc-json.js';

/** On the descriptor of the layer. */
export const ESTARGZ_DIGEST = 'containerd.io/snapshot/stargz/toc.digest';
export const ESTARGZ_FOOTER_BYTES = 51;
/** Of the table, decompressed. */
const MAX_TABLE_BYTES = 150 * 2 ** 20;
const TABLE_NAME = 'stargz.index.json';

/** Where the member with the table begins; undefined when these last bytes of a blob are no footer. */
export function estargzTableOffset(footer: Buffer, blobBytes: number): number | undefined {
  if (footer.length !== ESTARGZ_FOOTER_BYTES || footer.readUInt16BE(0) !== 0x1f8b || footer[3] !== 4)
    return undefined;
  const isOurs =
    footer.readUInt16LE(10) === 26 &&
    footer.toString('latin1', 12, 14) === 'SG' &&
    footer.readUInt16LE(14) === 22;
  const match = isOurs ? /^([0-9a-f]{16})STARGZ$/.exec(footer.toString('latin1', 16, 38)) : null;
  const offset = match === null ? NaN : parseInt(match[1]!, 16);
  return Number.isSafeInteger(offset) && offset < blobBytes - ESTARGZ_FOOTER_BYTES ? offset : undefined;
}

export interface EstargzJob {
  name: string;
  diffId: string;
  blobBytes: number;
  maxBytes: number;
  /** From the annotation. */
  tableDigest: string;
  tableOffset: number;
}

/** @param stored the blob from the table's offset, its footer left out. Raises EDIGEST, EBADLAYER, ELIMIT. */
export function estargzLayer(stored: Buffer, job: EstargzJob): LazyLayer {
  const { name, blobBytes, tableDigest, tableOffset } = job;
  let tar: Buffer;
  try {
    tar = gunzipSync(stored, { maxOutputLength: MAX_TABLE_BYTES });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new LaminaError(
        'ELIMIT',
        `${name}: its table of contents is larger than ${MAX_TABLE_BYTES} bytes`,
      );
    throw badLazy(name, 'is not gzipped');
  }
  const sizeBytes = readTableHeader(tar, name);
  const json = tar.subarray(BLOCK, BLOCK + sizeBytes);
  verifyBytes(json, tableDigest, `${name}: its table of contents`);
  const table = parseTocJson(json, blobBytes, name);
  // The table is a file of the layer like any other: who unpacks it sees it.
  table.entries.push({
    ...{ headerOffset: table.entries.length, type: 'file', name: TABLE_NAME, linkName: '' },
    mode: readNumber(tar, FIELD.mode, 8) & 0o7777,
    uid: readNumber(tar, FIELD.uid, 8) >>> 0,
    gid: readNumber(tar, FIELD.gid, 8) >>> 0,
    mtimeSec: readNumber(tar, FIELD.mtime, 12),
    mtimeNsec: 0,
    ...{ sizeBytes, storedBytes: sizeBytes, devMajor: 0, devMinor: 0, dataOffset: 0 },
    ...{ xattrs: undefined, extents: undefined },
  });
  table.chunks.push({
    entry: table.entries.length - 1,
    chunkOffset: 0,
    sizeBytes,
    offset: tableOffset,
    endOffset: tableOffset + stored.length,
    innerOffset: BLOCK,
    digest: tableDigest,
    isZeros: false,
  });
  return jsonLayer({
    ...job,
    kind: 'estargz',
    table,
    dataEnd: tableOffset,
    decode: ({ innerOffset, sizeBytes: wanted, offset }, bytes) =>
      takePart(
        createGunzip({ chunkSize: chunkFor(innerOffset + wanted), finishFlush: constants.Z_SYNC_FLUSH }),
        bytes,
        innerOffset,
        wanted,
        `${name}, byte ${offset}`,
      ),
  });
}

function readTableHeader(tar: Buffer, name: string): number {
  if (tar.length < 2 * BLOCK) throw badLazy(name, 'is cut short');
  // Aligned, to be summed as words.
  const head = Buffer.alloc(BLOCK);
  tar.copy(head);
  const sum = sumBlock(new Int32Array(head.buffer, head.byteOffset, BLOCK / 4), 0);
  const size = readNumber(tar, FIELD.size, 12);
  if (
    !checksumMatches(head, 0, sum) ||
    readText(tar, FIELD.name, 100) !== TABLE_NAME ||
    !(size >= 0 && size <= tar.length - BLOCK)
  )
    throw badLazy(name, `is no entry ${TABLE_NAME}`);
  return size;
}

/** No larger than what is wanted: what is decompressed beyond that is thrown away. */
function chunkFor(bytes: number): number {
  return Math.max(64, Math.min(bytes, 1 << 20));
}
