/**
 * The JSON table of contents that eStargz and zstd:chunked layers carry: entries of a tar, with where in the blob the bytes of each file
 * are. Both come of one format. Sources: containerd/stargz-snapshotter docs/estargz.md; containers/storage pkg/chunked/internal, whose
 * writer adds endOffset and leaves chunkSize out where a file is one chunk. Everything is checked: the table is somebody else's.
 */
import { utf8ToBytes } from '../../bytes.js';
import type { ByteString, Xattrs } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import { isDigest } from '../../oci/digest.js';
import { DEFAULT_TAR_LIMITS } from '../../tar/scan.js';
import type { TarEntry, TarEntryType, TarExtent } from '../../tar/scan.js';
import { badLazy, MAX_PIECE_BYTES } from './pieces.js';

/** A run of a file's bytes as the table has it. */
export interface TocChunk {
  /** Of its entry in `entries`. */
  entry: number;
  /** In the file. */
  chunkOffset: number;
  sizeBytes: number;
  /** Where in the blob what holds it begins; it ends where the next begins, or at `endOffset`, where its file ends. */
  offset: number;
  endOffset: number | undefined;
  /** Before it, in what is there when decompressed. */
  innerOffset: number;
  digest: string | undefined;
  /** Zeros that are stored nowhere. */
  isZeros: boolean;
}

export interface TocJson {
  entries: TarEntry[];
  chunks: TocChunk[];
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  reg: 'file',
  dir: 'dir',
  symlink: 'symlink',
  hardlink: 'link',
  char: 'char',
  block: 'block',
  fifo: 'fifo',
};

type Fields = Record<string, unknown>;

/** Raises EBADLAYER, ELIMIT. @param blobBytes size of the blob, beyond which nothing may lie */
export function parseTocJson(bytes: Buffer, blobBytes: number, name: string): TocJson {
  let document: { version?: unknown; entries?: unknown } | null;
  try {
    document = JSON.parse(bytes.toString('utf8')) as typeof document;
  } catch {
    throw badLazy(name, 'is no JSON');
  }
  if (document?.version !== 1 || !Array.isArray(document.entries)) throw badLazy(name, 'is not of version 1');
  if (document.entries.length > DEFAULT_TAR_LIMITS.maxEntries)
    throw new LaminaError('ELIMIT', `${name}: its table of contents has too many entries`, { path: name });
  return new TocParser(blobBytes, name).parse(document.entries);
}

class TocParser {
  readonly #entries: TarEntry[] = [];
  readonly #chunks: TocChunk[] = [];
  /** The file whose chunks follow, and how much of it there is so far. */
  #open: { entry: number; doneBytes: number; endOffset: number | undefined } | undefined;

  constructor(
    private readonly blobBytes: number,
    private readonly name: string,
  ) {}

  parse(list: readonly unknown[]): TocJson {
    for (const item of list) {
      if (typeof item !== 'object' || item === null) throw badLazy(this.name, 'has an entry that is none');
      this.#add(item as Fields);
    }
    this.#close();
    return { entries: this.#entries, chunks: this.#chunks };
  }

  #add(fields: Fields): void {
    const kind = fields['type'];
    if (kind === 'chunk') return this.#addChunk(fields, false);
    this.#close();
    const type = typeof kind === 'string' && Object.hasOwn(TYPES, kind) ? TYPES[kind] : undefined;
    if (type === undefined) throw this.#bad(fields, 'is of an unknown type');
    const sizeBytes = type === 'file' ? this.#count(fields, 'size') : 0;
    const mode = this.#count(fields, 'mode');
    this.#entries.push({
      headerOffset: this.#entries.length,
      type,
      name: this.#text(fields, 'name'),
      linkName: type === 'link' || type === 'symlink' ? this.#text(fields, 'linkName') : '',
      mode: mode & 0o7777,
      uid: this.#id(fields, 'uid'),
      gid: this.#id(fields, 'gid'),
      sizeBytes,
      ...this.#time(fields),
      devMajor: type === 'char' || type === 'block' ? this.#id(fields, 'devMajor') : 0,
      devMinor: type === 'char' || type === 'block' ? this.#id(fields, 'devMinor') : 0,
      xattrs: this.#xattrs(fields),
      extents: undefined,
      dataOffset: 0,
      storedBytes: sizeBytes,
    });
    if (sizeBytes === 0) return;
    const endOffset = fields['endOffset'] === undefined ? undefined : this.#count(fields, 'endOffset');
    this.#open = { entry: this.#entries.length - 1, doneBytes: 0, endOffset };
    this.#addChunk(fields, true);
  }

  #addChunk(fields: Fields, isFirst: boolean): void {
    if (this.#open === undefined) throw this.#bad(fields, 'is a chunk of no file');
    const { entry, doneBytes, endOffset } = this.#open;
    const { sizeBytes: fileBytes } = this.#entries[entry]!;
    const chunkOffset = this.#count(fields, 'chunkOffset');
    if (chunkOffset !== doneBytes) throw this.#bad(fields, 'does not follow the chunk before it');
    const sizeBytes = this.#count(fields, 'chunkSize') || fileBytes - doneBytes;
    if (sizeBytes > fileBytes - doneBytes) throw this.#bad(fields, 'is longer than its file');
    const isZeros = fields['chunkType'] === 'zeros';
    if (sizeBytes > MAX_PIECE_BYTES && !isZeros)
      throw new LaminaError(
        'ELIMIT',
        `${this.name}: a chunk of its table of contents has ${sizeBytes} bytes; at most ${MAX_PIECE_BYTES} can be used`,
        { path: this.name },
      );
    const offset = this.#count(fields, 'offset');
    if (!isZeros && (offset >= this.blobBytes || (endOffset ?? 0) > this.blobBytes))
      throw this.#bad(fields, 'lies outside the layer');
    if (!isZeros && endOffset !== undefined && endOffset <= offset)
      throw this.#bad(fields, 'ends before it begins');
    const digest = this.#digest(fields, 'chunkDigest');
    const isWhole = isFirst && sizeBytes === fileBytes;
    this.#chunks.push({
      entry,
      chunkOffset,
      sizeBytes,
      offset,
      endOffset,
      innerOffset: this.#count(fields, 'innerOffset'),
      digest: digest ?? (isWhole ? this.#digest(fields, 'digest') : undefined),
      isZeros,
    });
    this.#open.doneBytes += sizeBytes;
    if (this.#open.doneBytes === fileBytes) this.#open = undefined;
  }

  #close(): void {
    if (this.#open !== undefined)
      throw badLazy(
        this.name,
        `has only ${this.#open.doneBytes} bytes of a file of ${this.#entries[this.#open.entry]!.sizeBytes}`,
      );
  }

  #digest(fields: Fields, key: string): string | undefined {
    const value = fields[key];
    if (value === undefined || value === '') return undefined;
    if (typeof value !== 'string' || !isDigest(value)) throw this.#bad(fields, `has a ${key} that is none`);
    return value;
  }

  #count(fields: Fields, key: string): number {
    const value = fields[key] ?? 0;
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.#bad(fields, `has a wrong ${key}`);
    return value as number;
  }

  #id(fields: Fields, key: string): number {
    const value = fields[key] ?? 0;
    if (!Number.isInteger(value) || (value as number) < -0x80000000 || (value as number) > 0xffffffff)
      throw this.#bad(fields, `has a wrong ${key}`);
    return (value as number) >>> 0;
  }

  #text(fields: Fields, key: string): ByteString {
    const value = fields[key] ?? '';
    if (typeof value !== 'string') throw this.#bad(fields, `has a wrong ${key}`);
    // What Go's encoder makes of a byte that is no UTF-8: which one it was cannot be known.
    if (value.includes('\ufffd')) throw this.#bad(fields, `has a ${key} that is not UTF-8`);
    return utf8ToBytes(value);
  }

  #time(fields: Fields): { mtimeSec: number; mtimeNsec: number } {
    const text = fields['modtime'] ?? '';
    if (text === '') return { mtimeSec: 0, mtimeNsec: 0 };
    // RFC 3339, as Go writes it.
    const match =
      typeof text === 'string'
        ? /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
        : null;
    const ms = match === null ? NaN : Date.parse(`${match[1]}${match[3]}`);
    if (Number.isNaN(ms)) throw this.#bad(fields, 'has a wrong modtime');
    return { mtimeSec: ms / 1000, mtimeNsec: Number((match![2] ?? '0').padEnd(9, '0')) };
  }

  #xattrs(fields: Fields): Xattrs | undefined {
    const value = fields['xattrs'];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#bad(fields, 'has wrong xattrs');
    let total = 0;
    const list = Object.entries(value).map(([key, encoded]) => {
      if (key === '' || (encoded !== null && typeof encoded !== 'string'))
        throw this.#bad(fields, 'has wrong xattrs');
      const attribute = { name: utf8ToBytes(key), value: Buffer.from(encoded ?? '', 'base64') };
      total += attribute.name.length + attribute.value.length;
      return attribute;
    });
    if (total > DEFAULT_TAR_LIMITS.maxXattrBytes)
      throw new LaminaError(
        'ELIMIT',
        `${this.name}: an entry has more than ${DEFAULT_TAR_LIMITS.maxXattrBytes} bytes of xattrs`,
      );
    return list.length === 0 ? undefined : list.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #bad(fields: Fields, what: string): LaminaError {
    const shown = JSON.stringify(typeof fields['name'] === 'string' ? fields['name'].slice(0, 200) : '');
    return badLazy(this.name, `has an entry ${shown} that ${what}`);
  }
}

/** Gives the entries their extents in the lazy source: `placed[n]` is the offset of the nth chunk there, undefined for zeros. */
export function placeChunks({ entries, chunks }: TocJson, placed: readonly (number | undefined)[]): void {
  for (const [index, { entry, chunkOffset, sizeBytes }] of chunks.entries()) {
    const offset = placed[index];
    const extents: TarExtent[] = (entries[entry]!.extents ??= []);
    if (offset === undefined) continue;
    const last = extents.at(-1);
    // Chunks beside each other are one run.
    if (
      last !== undefined &&
      last.logical + last.length === chunkOffset &&
      last.offset + last.length === offset
    )
      last.length += sizeBytes;
    else extents.push({ logical: chunkOffset, length: sizeBytes, offset });
  }
}
