/**
 * Lists a tar by its headers alone: what each entry is, and at which offsets its bytes lie. Content is jumped over, never
 * read. Every dialect met in image layers is understood: v7, ustar, old GNU, PAX, star. Where POSIX and GNU tar leave
 * a choice, it is Go's archive/tar that decides, since container tools read layers with it; each such place says so.
 * Sources: POSIX.1-2017 pax; GNU tar manual, "Tar Internals"; Go src/archive/tar/reader.go.
 */
import type { ByteString, Xattrs } from '../bytes.js';
import { LaminaError } from '../errors.js';
import {
  BLOCK,
  checksumMatches,
  dialectOf,
  FIELD,
  readName,
  readNumber,
  readText,
  roundUpToBlock,
  sumBlock,
} from './header.js';
import { applyPaxRecords, PaxAttributes, PaxFault } from './pax.js';
import type { ByteSource } from './source.js';
import { readOldGnuPairs, readSparse10, sparseExtents, type SparseMap, type TarExtent } from './sparse.js';
import { Window } from './window.js';

export type { TarExtent } from './sparse.js';

export type TarEntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'dir' | 'fifo' | 'socket';

/** One entry. All offsets count from the start of the source that was scanned. */
export interface TarEntry {
  /** Of the entry's own header block; extended headers lie before it. */
  headerOffset: number;
  type: TarEntryType;
  /** As the tar has it: may be absolute, end in a slash, hold `..`, or be empty. */
  name: ByteString;
  /** link, symlink: as the tar has it. Empty for all else. */
  linkName: ByteString;
  /** 0..0o7777 */
  mode: number;
  uid: number;
  gid: number;
  /** file: logical size, holes included. 0 for all else. */
  sizeBytes: number;
  /** Seconds since the epoch, rounded down, and the rest in nanoseconds 0..999999999. */
  mtimeSec: number;
  mtimeNsec: number;
  /** char, block. 0 for all else. */
  devMajor: number;
  devMinor: number;
  xattrs: Xattrs | undefined;
  /** Sparse file: the stored runs, in order; what they leave out is zeros. undefined = one run of sizeBytes at dataOffset. */
  extents: TarExtent[] | undefined;
  /** Where the stored data starts (for PAX sparse 1.0 its map), and how much there is. */
  dataOffset: number;
  storedBytes: number;
}

/** What a hostile tar may make us hold in memory. Passing one is ELIMIT. */
export interface TarLimits {
  /** Long names, extended headers and sparse maps of one entry together. Also all that a global header holds. */
  maxHeaderBytes: number;
  /** Names and values of one entry's extended attributes. */
  maxXattrBytes: number;
  maxEntries: number;
}

export const DEFAULT_TAR_LIMITS: Readonly<TarLimits> = {
  maxHeaderBytes: 1024 * 1024,
  maxXattrBytes: 1024 * 1024,
  maxEntries: 16 * 1024 * 1024,
};

/** Global attributes are held by every later entry, so that a few bytes could make millions of objects. */
const MAX_GLOBAL_XATTRS = 64;

const S_IFMT = 0o170000;
const S_IFSOCK = 0o140000;
const MAX_UINT32 = 0xffffffff;

/**
 * Entries in the order of the tar. The source must stay open while the generator runs; it is read with pread, and
 * about 256 KiB of it are held at a time. Ends at the first zero block, whatever follows it, or at the end of the source
 * where a header could start (both as GNU tar). Raises EBADTAR, ELIMIT, EIO.
 */
export function* scanTar(
  source: ByteSource,
  limits: Partial<TarLimits> = {},
): Generator<TarEntry, void, void> {
  const scanner = new Scanner(source, { ...DEFAULT_TAR_LIMITS, ...limits });
  for (let entry = scanner.next(); entry !== undefined; entry = scanner.next()) yield entry;
}

class Scanner {
  readonly #source: ByteSource;
  readonly #limits: TarLimits;
  readonly #window: Window;
  #position = 0;
  #entryCount = 0;
  #globals: PaxAttributes | undefined;
  #globalXattrs: Xattrs | undefined;
  /** What lies before the next entry's header and belongs to it. */
  #local: PaxAttributes | undefined;
  #longName = '';
  #longLink = '';
  #pendingBytes = 0;
  #pendingOffset = -1;

  constructor(source: ByteSource, limits: TarLimits) {
    this.#source = source;
    this.#limits = limits;
    this.#window = new Window(source);
  }

  next(): TarEntry | undefined {
    const window = this.#window;
    for (;;) {
      const position = this.#position;
      const left = this.#source.sizeBytes - position;
      // The padding of the last entry may be missing: umoci writes layers so, and Go and GNU tar allow it.
      if (left <= 0) return this.#end();
      if (left < BLOCK) throw this.#bad('the archive is cut short inside a header', position);
      const at = window.header(position);
      const sum = sumBlock(window.words, at / 4);
      if (sum === 0) return this.#end();
      if (!checksumMatches(window.buffer, at, sum))
        throw this.#bad('a header has a wrong checksum', position);
      const typeflag = String.fromCharCode(window.buffer[at + FIELD.typeflag]!);
      switch (typeflag) {
        case 'L':
          this.#longName = this.#readLongText(position, at);
          break;
        case 'K':
          this.#longLink = this.#readLongText(position, at);
          break;
        case 'x':
        case 'X':
          this.#readLocal(position, at);
          break;
        case 'g':
          this.#readGlobal(position, at);
          break;
        case 'V':
          // A volume label names the archive, not a file.
          this.#position = position + BLOCK + roundUpToBlock(this.#sizeField(position, at));
          if (this.#position > this.#source.sizeBytes)
            throw this.#bad('the archive is cut short inside a volume label', position);
          this.#forget();
          break;
        case 'A':
        case 'E':
        case 'I':
        case 'M':
        case 'N':
          throw this.#bad(`entries of type '${typeflag}' are not supported`, position);
        default:
          return this.#readEntry(position, at, typeflag);
      }
    }
  }

  #end(): undefined {
    if (this.#pendingOffset >= 0)
      throw this.#bad('an extended header belongs to no entry', this.#pendingOffset);
    return undefined;
  }

  #readEntry(position: number, at: number, typeflag: string): TarEntry {
    const block = this.#window.buffer;
    const pax = this.#local ?? this.#globals;
    const dialect = dialectOf(block, at);
    if (++this.#entryCount > this.#limits.maxEntries)
      throw this.#limit(
        `the archive has more than maxEntries (${this.#limits.maxEntries}) entries`,
        position,
      );

    // GNU long names win over PAX ones, and only the last extended header counts: both as Go.
    const name = this.#longName || pax?.path || readName(block, at, dialect);
    const fullMode = this.#number(position, at, FIELD.mode, 8, 'mode');
    let type = typeOf(typeflag, fullMode);
    if (type === 'file' && name.endsWith('/')) type = 'dir';
    if (pax !== undefined && pax.isSocket && type === 'file') type = 'socket';

    const isLink = type === 'link' || type === 'symlink';
    const isDevice = type === 'char' || type === 'block';
    const storedBytes = isHeaderOnly(typeflag) ? 0 : (pax?.sizeBytes ?? this.#sizeField(position, at));
    let mtimeSec = pax?.mtimeSec;
    let mtimeNsec = 0;
    if (mtimeSec === undefined) mtimeSec = this.#number(position, at, FIELD.mtime, 12, 'mtime');
    else mtimeNsec = pax!.mtimeNsec;

    const entry: TarEntry = {
      headerOffset: position,
      type,
      name,
      linkName: isLink ? this.#longLink || pax?.linkPath || readText(block, at + FIELD.linkname, 100) : '',
      mode: fullMode & 0o7777,
      uid: this.#id(pax?.uid ?? this.#number(position, at, FIELD.uid, 8, 'uid'), position),
      gid: this.#id(pax?.gid ?? this.#number(position, at, FIELD.gid, 8, 'gid'), position),
      sizeBytes: type === 'file' ? storedBytes : 0,
      mtimeSec,
      mtimeNsec,
      devMajor: isDevice ? this.#device(pax?.devMajor, position, at, FIELD.devmajor) : 0,
      devMinor: isDevice ? this.#device(pax?.devMinor, position, at, FIELD.devminor) : 0,
      xattrs: pax === undefined ? undefined : pax === this.#globals ? this.#globalXattrs : pax.xattrList(),
      extents: undefined,
      dataOffset: position + BLOCK,
      storedBytes,
    };
    if (typeflag === 'S') this.#readOldGnuSparse(entry, at, dialect === 'gnu');
    else if (pax !== undefined && pax === this.#local) this.#readPaxSparse(entry, pax);
    if (entry.dataOffset + storedBytes > this.#source.sizeBytes)
      throw this.#bad(
        `the archive is cut short inside the content of an entry of ${storedBytes} bytes`,
        position,
      );
    this.#position = entry.dataOffset + roundUpToBlock(storedBytes);
    this.#forget();
    return entry;
  }

  #forget(): void {
    this.#local = undefined;
    this.#longName = '';
    this.#longLink = '';
    this.#pendingBytes = 0;
    this.#pendingOffset = -1;
  }

  /**
   * Brings the data of an extended header into the window; returns its index and length. Its size is the header's own: a
   * PAX size is meant for the entry that follows.
   */
  #extension(position: number, at: number): { index: number; length: number } {
    const length = this.#sizeField(position, at);
    this.#charge(length, position);
    const data = position + BLOCK;
    if (data + length > this.#source.sizeBytes)
      throw this.#bad('the archive is cut short inside an extended header', position);
    this.#position = data + roundUpToBlock(length);
    if (this.#pendingOffset < 0) this.#pendingOffset = position;
    return { index: this.#window.at(data, length), length };
  }

  #charge(bytes: number, position: number): void {
    this.#pendingBytes += bytes;
    if (this.#pendingBytes > this.#limits.maxHeaderBytes)
      throw this.#limit(
        `the headers of an entry exceed maxHeaderBytes (${this.#limits.maxHeaderBytes})`,
        position,
      );
  }

  #readLongText(position: number, at: number): ByteString {
    const { index, length } = this.#extension(position, at);
    return readText(this.#window.buffer, index, length);
  }

  #readLocal(position: number, at: number): void {
    const { index, length } = this.#extension(position, at);
    const local = this.#globals?.copy() ?? new PaxAttributes();
    this.#applyRecords(local, position, index, length, false);
    this.#local = local;
  }

  #readGlobal(position: number, at: number): void {
    const before = this.#pendingOffset;
    const { index, length } = this.#extension(position, at);
    this.#pendingOffset = before;
    this.#pendingBytes -= length;
    const globals = (this.#globals ??= new PaxAttributes());
    this.#applyRecords(globals, position, index, length, true);
    if (globals.xattrCount() > MAX_GLOBAL_XATTRS)
      throw this.#limit(`global headers set more than ${MAX_GLOBAL_XATTRS} extended attributes`, position);
    this.#globalXattrs = globals.xattrList();
  }

  #applyRecords(
    into: PaxAttributes,
    position: number,
    index: number,
    length: number,
    isGlobal: boolean,
  ): void {
    try {
      applyPaxRecords(this.#window.buffer, index, index + length, into, isGlobal, this.#limits.maxXattrBytes);
    } catch (error) {
      if (!(error instanceof PaxFault)) throw error;
      const offset = position + BLOCK + error.at - index;
      throw error.isLimit ? this.#limit(error.message, offset) : this.#bad(error.message, offset);
    }
  }

  #readOldGnuSparse(entry: TarEntry, at: number, isGnu: boolean): void {
    const position = entry.headerOffset;
    if (!isGnu) throw this.#bad('a sparse entry has no GNU header', position);
    const map: SparseMap = [];
    let block = this.#window.buffer;
    const realSize = readNumber(block, at + 483, 12);
    let isFine = realSize >= 0 && readOldGnuPairs(block, at + 386, 4, map);
    let more = block[at + 482] !== 0;
    while (more && isFine) {
      this.#charge(BLOCK, position);
      if (entry.dataOffset + BLOCK > this.#source.sizeBytes)
        throw this.#bad('the archive is cut short inside a sparse map', position);
      const index = this.#window.at(entry.dataOffset, BLOCK);
      block = this.#window.buffer;
      isFine = readOldGnuPairs(block, index, 21, map);
      more = block[index + 504] !== 0;
      entry.dataOffset += BLOCK;
    }
    if (!isFine) throw this.#bad('a sparse map holds a malformed number', position);
    this.#setSparse(entry, map, realSize, 0);
  }

  #readPaxSparse(entry: TarEntry, pax: PaxAttributes): void {
    const version = `${pax.sparseMajor}.${pax.sparseMinor}`;
    const isOld = version === '0.0' || version === '0.1' || (version === '.' && pax.sparseMap !== undefined);
    if (!isOld && version !== '1.0') {
      // An unknown version is a plain file to Go; that would show the map as content.
      if (version !== '.') throw this.#bad(`sparse format ${version} is not supported`, entry.headerOffset);
      return;
    }
    if (pax.sparseName !== '') entry.name = pax.sparseName;
    const sizeBytes = pax.sparseSize ?? entry.storedBytes;
    if (isOld) {
      this.#setSparse(entry, pax.sparseMap ?? [], sizeBytes, 0);
      return;
    }
    const result = readSparse10((index) => {
      this.#charge(BLOCK, entry.headerOffset);
      const offset = entry.dataOffset + index * BLOCK;
      if ((index + 1) * BLOCK > entry.storedBytes || offset + BLOCK > this.#source.sizeBytes)
        throw this.#bad('a sparse map is cut short', entry.headerOffset);
      const at = this.#window.at(offset, BLOCK);
      return this.#window.buffer.subarray(at, at + BLOCK);
    });
    if (result === undefined) throw this.#bad('a sparse map holds a malformed number', entry.headerOffset);
    this.#setSparse(entry, result.map, sizeBytes, result.mapBytes);
  }

  #setSparse(entry: TarEntry, map: SparseMap, sizeBytes: number, mapBytes: number): void {
    if (entry.type !== 'file')
      throw this.#bad('an entry that is no file has a sparse map', entry.headerOffset);
    const extents = sparseExtents(map, sizeBytes, entry.dataOffset + mapBytes, entry.storedBytes - mapBytes);
    if (typeof extents === 'string')
      throw this.#bad(`the sparse map of an entry ${extents}`, entry.headerOffset);
    entry.sizeBytes = sizeBytes;
    entry.extents = extents;
  }

  #sizeField(position: number, at: number): number {
    const size = this.#number(position, at, FIELD.size, 12, 'size');
    if (size < 0) throw this.#bad('a header has a negative size', position);
    return size;
  }

  #number(position: number, at: number, field: number, length: number, what: string): number {
    const value = readNumber(this.#window.buffer, at + field, length);
    if (Number.isNaN(value)) throw this.#bad(`a header has a malformed ${what}`, position);
    return value;
  }

  /** Negative ids are the 32-bit numbers that the kernel takes them for (-2 is nobody on some systems). */
  #id(value: number, position: number): number {
    if (value < -0x80000000 || value > MAX_UINT32)
      throw this.#bad('an owner id does not fit 32 bits', position);
    return value >>> 0;
  }

  #device(fromPax: number | undefined, position: number, at: number, field: number): number {
    const value = fromPax ?? this.#number(position, at, field, 8, 'device number');
    if (value < 0 || value > MAX_UINT32) throw this.#bad('a device number does not fit 32 bits', position);
    return value;
  }

  #bad(what: string, offset: number): LaminaError {
    const path = this.#source.name;
    return new LaminaError('EBADTAR', `${path}: ${what}, at byte ${offset}`, { path, offset });
  }

  #limit(what: string, offset: number): LaminaError {
    const path = this.#source.name;
    return new LaminaError('ELIMIT', `${path}: ${what}, at byte ${offset}`, { path, offset });
  }
}

/** Unknown types are files, as POSIX asks. GNU's dump directory (D) lists names as its content. */
function typeOf(typeflag: string, fullMode: number): TarEntryType {
  switch (typeflag) {
    case '1':
      return 'link';
    case '2':
      return 'symlink';
    case '3':
      return 'char';
    case '4':
      return 'block';
    case '5':
    case 'D':
      return 'dir';
    case '6':
      return 'fifo';
    default:
      return (fullMode & S_IFMT) === S_IFSOCK ? 'socket' : 'file';
  }
}

/** Types 1 to 6 have no content whatever their size field says; a hard link may carry its file's size. As Go. */
function isHeaderOnly(typeflag: string): boolean {
  return typeflag >= '1' && typeflag <= '6';
}
