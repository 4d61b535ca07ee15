/**
 * Writes a tar as a stream: ustar headers, and PAX records only where ustar cannot say it. The rule: bytes go out as they
 * came in, and equal input gives equal output. Source: POSIX.1-2017 pax. tar-stream's pack is not used here: it encodes
 * names as UTF-8, turns mode 0 into 0644, wraps times after 2038, and gives a `pax-header` entry no body.
 */
import { bytesToBuffer, compareBytes, displayBytes } from '../bytes.js';
import type { ByteString, Xattrs } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { BLOCK, FIELD } from './header.js';
import type { TarEntryType } from './scan.js';

/** One entry to write. `TarEntry` has this shape. */
export interface TarHeaderInput {
  type: TarEntryType;
  /** A directory's gets a slash at its end when it has none. */
  name: ByteString;
  /** link, symlink. */
  linkName?: ByteString;
  /** Permission, setuid, setgid and sticky bits. */
  mode: number;
  uid: number;
  gid: number;
  /** file: length of the body. Ignored for all else. */
  sizeBytes: number;
  /** Seconds rounded down, and nanoseconds 0..999999999. */
  mtimeSec: number;
  mtimeNsec: number;
  /** char, block. */
  devMajor?: number;
  devMinor?: number;
  xattrs?: Xattrs | undefined;
}

/** Takes the next bytes of the tar. They are its own from then on; the next call waits for the promise. */
export type TarSink = (chunk: Buffer) => Promise<void> | void;

/** Sockets have no type in ustar: they are written as star writes them, an empty file that a record calls a socket. */
const TYPEFLAGS: Record<TarEntryType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
  socket: '0',
};

const CHUNK_BYTES = 64 * 1024;
const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;

/**
 * Entries one after the other, then `finish`. Small writes are gathered into chunks of 64 KiB. After an error the
 * tar is incomplete and the writer must not be used again.
 */
export class TarWriter {
  readonly #sink: TarSink;
  #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #used = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /**
   * Writes one entry. Only a file may have a body, of exactly `sizeBytes`; more or less of it raises EIO (the file
   * changed while it was read). Errors of the body and of the sink pass through.
   */
  async entry(header: TarHeaderInput, body?: AsyncIterable<Buffer> | Buffer): Promise<void> {
    const sizeBytes = header.type === 'file' ? header.sizeBytes : 0;
    await this.#write(encodeHeaders(header, sizeBytes));
    let written = 0;
    for await (const piece of body === undefined ? [] : Buffer.isBuffer(body) ? [body] : body) {
      written += piece.length;
      if (written > sizeBytes) break;
      await this.#write(piece);
    }
    if (written !== sizeBytes) {
      const path = displayBytes(header.name);
      const more = written > sizeBytes ? 'more' : `only ${written}`;
      throw new LaminaError('EIO', `${path}: expected ${sizeBytes} bytes of content but got ${more}`, {
        path,
      });
    }
    const over = sizeBytes % BLOCK;
    if (over > 0) await this.#write(Buffer.alloc(BLOCK - over));
  }

  /** Writes the end marker, two zero blocks, and all that is still held. */
  async finish(): Promise<void> {
    await this.#write(Buffer.alloc(2 * BLOCK));
    await this.#flush();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#used + bytes.length > CHUNK_BYTES) await this.#flush();
    if (bytes.length >= CHUNK_BYTES) {
      await this.#sink(bytes);
      return;
    }
    bytes.copy(this.#chunk, this.#used);
    this.#used += bytes.length;
  }

  async #flush(): Promise<void> {
    if (this.#used === 0) return;
    const chunk = this.#chunk.subarray(0, this.#used);
    // The sink keeps what it got: a stream may hold it long after it was written.
    this.#chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    this.#used = 0;
    await this.#sink(chunk);
  }
}

/** The entry's header block, with an extended header before it where one is needed. */
function encodeHeaders(header: TarHeaderInput, sizeBytes: number): Buffer {
  const isDir = header.type === 'dir';
  const name = isDir && !header.name.endsWith('/') ? `${header.name}/` : header.name;
  const linkName = header.linkName ?? '';
  const records: [keyword: ByteString, value: ByteString | Buffer][] = [];

  const place = splitName(name);
  if (place === undefined) records.push(['path', name]);
  if (!isAscii(linkName) || linkName.length > 100) records.push(['linkpath', linkName]);
  if (records.some(([, value]) => !isUtf8(value as ByteString))) records.unshift(['hdrcharset', 'BINARY']);
  if (sizeBytes > MAX_OCTAL_11) records.push(['size', String(sizeBytes)]);
  if (header.uid > MAX_OCTAL_7) records.push(['uid', String(header.uid)]);
  if (header.gid > MAX_OCTAL_7) records.push(['gid', String(header.gid)]);
  if (header.mtimeNsec !== 0 || header.mtimeSec < 0 || header.mtimeSec > MAX_OCTAL_11)
    records.push(['mtime', timeText(header.mtimeSec, header.mtimeNsec)]);
  const isDevice = header.type === 'char' || header.type === 'block';
  const devMajor = isDevice ? (header.devMajor ?? 0) : 0;
  const devMinor = isDevice ? (header.devMinor ?? 0) : 0;
  if (devMajor > MAX_OCTAL_7) records.push(['SCHILY.devmajor', String(devMajor)]);
  if (devMinor > MAX_OCTAL_7) records.push(['SCHILY.devminor', String(devMinor)]);
  if (header.type === 'socket') records.push(['SCHILY.filetype', 'socket']);
  for (const { name: xattr, value } of [...(header.xattrs ?? [])].sort((a, b) =>
    compareBytes(a.name, b.name),
  ))
    records.push([`SCHILY.xattr.${xattr.replaceAll('%', '%25').replaceAll('=', '%3D')}`, value]);

  const block = Buffer.alloc(BLOCK);
  block.write(place?.name ?? name.slice(0, 100), FIELD.name, 100, 'latin1');
  block.write(place?.prefix ?? '', FIELD.prefix, 155, 'latin1');
  block.write(linkName.slice(0, 100), FIELD.linkname, 100, 'latin1');
  writeOctal(block, FIELD.mode, 8, header.mode & 0o7777);
  writeOctal(block, FIELD.uid, 8, header.uid);
  writeOctal(block, FIELD.gid, 8, header.gid);
  writeOctal(block, FIELD.size, 12, sizeBytes);
  writeOctal(block, FIELD.mtime, 12, header.mtimeSec);
  writeOctal(block, FIELD.devmajor, 8, devMajor);
  writeOctal(block, FIELD.devminor, 8, devMinor);
  seal(block, TYPEFLAGS[header.type]);
  return records.length === 0 ? block : Buffer.concat([...encodeExtended(records), block]);
}

function encodeExtended(records: readonly [ByteString, ByteString | Buffer][]): Buffer[] {
  const data = Buffer.concat(records.map(([keyword, value]) => encodeRecord(keyword, value)));
  const block = Buffer.alloc(BLOCK);
  block.write('././@PaxHeader', FIELD.name, 100, 'latin1');
  writeOctal(block, FIELD.mode, 8, 0o644);
  writeOctal(block, FIELD.uid, 8, 0);
  writeOctal(block, FIELD.gid, 8, 0);
  writeOctal(block, FIELD.size, 12, data.length);
  writeOctal(block, FIELD.mtime, 12, 0);
  writeOctal(block, FIELD.devmajor, 8, 0);
  writeOctal(block, FIELD.devminor, 8, 0);
  seal(block, 'x');
  const over = data.length % BLOCK;
  return [block, data, Buffer.alloc(over === 0 ? 0 : BLOCK - over)];
}

/** "LENGTH KEYWORD=VALUE\n", where LENGTH counts itself. */
function encodeRecord(keyword: ByteString, value: ByteString | Buffer): Buffer {
  const bare = keyword.length + value.length + 3;
  let length = bare + String(bare).length;
  if (String(length).length > String(bare).length) length = bare + String(length).length;
  const text = Buffer.isBuffer(value) ? value : bytesToBuffer(value);
  return Buffer.concat([bytesToBuffer(`${length} ${keyword}=`), text, Buffer.from('\n')]);
}

/** Type, magic, version and checksum: the last step, since the sum covers all. */
function seal(block: Buffer, typeflag: string): void {
  block.write(typeflag, FIELD.typeflag, 'latin1');
  block.write('ustar\x0000', FIELD.magic, 'latin1');
  block.fill(' ', FIELD.checksum, FIELD.checksum + 8);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, FIELD.checksum, 'latin1');
}

/** A number that does not fit is left 0: a record gives it. */
function writeOctal(block: Buffer, at: number, length: number, value: number): void {
  const fits = value >= 0 && value <= (length === 12 ? MAX_OCTAL_11 : MAX_OCTAL_7);
  block.write(`${(fits ? value : 0).toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
}

/** The name in ustar's two fields, cut at the first slash that leaves both short enough; undefined when it does not fit. */
function splitName(name: ByteString): { prefix: ByteString; name: ByteString } | undefined {
  if (!isAscii(name) || name === '') return undefined;
  if (name.length <= 100) return { prefix: '', name };
  const slash = name.indexOf('/', name.length - 101);
  if (slash <= 0 || slash > 155 || slash === name.length - 1) return undefined;
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** -2 s and 500000000 ns is "-1.5". Without zeros at the end. */
function timeText(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds);
  const isNegative = seconds < 0;
  const whole = isNegative ? -(seconds + 1) : seconds;
  const rest = isNegative ? 1e9 - nanoseconds : nanoseconds;
  return `${isNegative ? '-' : ''}${whole}.${String(rest).padStart(9, '0').replace(/0+$/, '')}`;
}

function isAscii(bytes: ByteString): boolean {
  return /^[\x00-\x7f]*$/.test(bytes);
}

function isUtf8(bytes: ByteString): boolean {
  const buffer = bytesToBuffer(bytes);
  return buffer.equals(Buffer.from(buffer.toString('utf8')));
}
