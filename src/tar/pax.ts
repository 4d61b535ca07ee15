/**
 * Extended header records ("%d %s=%s\n"). They are cut by their length, as bytes: a value may hold newlines, NULs, `=` and
 * bytes that are no UTF-8. Source: POSIX.1-2017 pax, "pax Header Block"; keywords of star (SCHILY.), libarchive
 * (LIBARCHIVE.), GNU tar (GNU.sparse.) and Red Hat (RHT.) from those programs' documentation.
 */
import type { ByteString, Xattrs } from '../bytes.js';
import { aclFromText } from './acl.js';
import { latin1, parseDecimal } from './header.js';

/** What is wrong with a record and where in the data it starts; the scanner makes the error that people read. */
export class PaxFault extends Error {
  constructor(
    message: string,
    readonly at: number,
    readonly isLimit = false,
  ) {
    super(message);
  }
}

/** Limits of the kernel (linux/limits.h): XATTR_NAME_MAX, XATTR_SIZE_MAX. */
const XATTR_NAME_MAX = 255;
const XATTR_SIZE_MAX = 65536;

/**
 * What the records say, as far as it matters to an entry; undefined = not said. `atime`, `uname` and the like
 * are passed over. One object holds the records in force: a local header starts as a copy of the global ones.
 */
export class PaxAttributes {
  path: ByteString | undefined;
  linkPath: ByteString | undefined;
  sizeBytes: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  mtimeSec: number | undefined;
  mtimeNsec = 0;
  devMajor: number | undefined;
  devMinor: number | undefined;
  isSocket = false;
  sparseMajor: ByteString = '';
  sparseMinor: ByteString = '';
  sparseName: ByteString = '';
  sparseSize: number | undefined;
  /** Offset and length in turn (formats 0.0 and 0.1). */
  sparseMap: number[] | undefined;
  /** SCHILY.xattr. records, which win over `otherXattrs`. */
  xattrs: Map<ByteString, Buffer> | undefined;
  /** The same attributes in another program's spelling. */
  otherXattrs: Map<ByteString, Buffer> | undefined;
  /** Names and values of all records that became attributes, counting replaced ones. */
  xattrBytes = 0;

  copy(): PaxAttributes {
    const copy = Object.assign(new PaxAttributes(), this);
    if (this.xattrs) copy.xattrs = new Map(this.xattrs);
    if (this.otherXattrs) copy.otherXattrs = new Map(this.otherXattrs);
    return copy;
  }

  /** All extended attributes, sorted by name; undefined when there are none. */
  xattrList(): Xattrs | undefined {
    if (this.xattrs === undefined && this.otherXattrs === undefined) return undefined;
    const all = new Map([...(this.otherXattrs ?? []), ...(this.xattrs ?? [])]);
    const list = [...all].map(([name, value]) => ({ name, value }));
    return list.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  xattrCount(): number {
    return (this.xattrs?.size ?? 0) + (this.otherXattrs?.size ?? 0);
  }
}

/**
 * Applies the records in `buffer[start, end)` to `into`. An empty value takes the keyword back, so that the header's
 * own field holds again; but an extended attribute may be empty, and is kept so. Sparse keywords of a global header
 * describe no file and are passed over. Raises PaxFault with the index of the record.
 */
export function applyPaxRecords(
  buffer: Buffer,
  start: number,
  end: number,
  into: PaxAttributes,
  isGlobal: boolean,
  maxXattrBytes: number,
): void {
  let at = start;
  while (at < end) {
    let length = 0;
    let cursor = at;
    for (; cursor < end && cursor < at + 16; cursor++) {
      const digit = buffer[cursor]! - 0x30;
      if (digit < 0 || digit > 9) break;
      length = length * 10 + digit;
    }
    const next = at + length;
    if (cursor === at || buffer[cursor] !== 0x20 || next > end || next <= cursor + 2)
      throw new PaxFault('a record of the extended header has a wrong length', at);
    if (buffer[next - 1] !== 0x0a)
      throw new PaxFault('a record of the extended header does not end in a newline', at);
    const keyStart = cursor + 1;
    let equals = keyStart;
    while (equals < next && buffer[equals] !== 0x3d) equals++;
    if (equals === keyStart || equals >= next - 1)
      throw new PaxFault('a record of the extended header has no keyword', at);
    const keyword = latin1(buffer, keyStart, equals);
    applyRecord(into, keyword, buffer, equals + 1, next - 1, at, isGlobal, maxXattrBytes);
    at = next;
  }
}

function applyRecord(
  into: PaxAttributes,
  keyword: ByteString,
  buffer: Buffer,
  start: number,
  end: number,
  at: number,
  isGlobal: boolean,
  maxXattrBytes: number,
): void {
  switch (keyword) {
    case 'path':
      into.path = textValue(buffer, start, end, at);
      return;
    case 'linkpath':
      into.linkPath = textValue(buffer, start, end, at);
      return;
    case 'size':
      into.sizeBytes = wholeValue(buffer, start, end, at);
      return;
    case 'uid':
      into.uid = signedValue(buffer, start, end, at);
      return;
    case 'gid':
      into.gid = signedValue(buffer, start, end, at);
      return;
    case 'mtime':
      applyMtime(into, buffer, start, end, at);
      return;
    case 'atime':
    case 'ctime':
      return;
    case 'SCHILY.devmajor':
      into.devMajor = wholeValue(buffer, start, end, at);
      return;
    case 'SCHILY.devminor':
      into.devMinor = wholeValue(buffer, start, end, at);
      return;
    case 'SCHILY.filetype':
      into.isSocket = latin1(buffer, start, end) === 'socket';
      return;
    case 'RHT.security.selinux':
      if (end > start)
        addXattr(into, 'security.selinux', copyOf(buffer, start, end), false, at, maxXattrBytes);
      return;
    case 'SCHILY.acl.access':
    case 'SCHILY.acl.default': {
      const isDefault = keyword === 'SCHILY.acl.default';
      const name = isDefault ? 'system.posix_acl_default' : 'system.posix_acl_access';
      const value = aclFromText(latin1(buffer, start, end), isDefault);
      if (value !== undefined) addXattr(into, name, value, false, at, maxXattrBytes);
      return;
    }
  }
  if (keyword.startsWith('SCHILY.xattr.')) {
    // GNU tar writes these two bytes so, since the one ends a keyword.
    const name = keyword.slice(13).replaceAll('%3D', '=').replaceAll('%25', '%');
    addXattr(into, name, copyOf(buffer, start, end), true, at, maxXattrBytes);
  } else if (keyword.startsWith('LIBARCHIVE.xattr.')) {
    const name = keyword
      .slice(17)
      .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    const text = latin1(buffer, start, end);
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new PaxFault(`${keyword} is not base64`, at);
    addXattr(into, name, Buffer.from(text, 'base64'), false, at, maxXattrBytes);
  } else if (keyword.startsWith('GNU.sparse.') && !isGlobal) {
    applySparse(into, keyword, buffer, start, end, at);
  }
}

function applySparse(
  into: PaxAttributes,
  keyword: ByteString,
  buffer: Buffer,
  start: number,
  end: number,
  at: number,
): void {
  switch (keyword) {
    case 'GNU.sparse.major':
      into.sparseMajor = latin1(buffer, start, end);
      return;
    case 'GNU.sparse.minor':
      into.sparseMinor = latin1(buffer, start, end);
      return;
    case 'GNU.sparse.name':
      into.sparseName = textValue(buffer, start, end, at) ?? '';
      return;
    case 'GNU.sparse.size':
    case 'GNU.sparse.realsize':
      into.sparseSize = wholeValue(buffer, start, end, at);
      return;
    case 'GNU.sparse.map':
      into.sparseMap = [];
      if (end > start) {
        for (const text of latin1(buffer, start, end).split(','))
          into.sparseMap.push(decimal(text, keyword, at));
        if (into.sparseMap.length % 2 !== 0)
          throw new PaxFault('GNU.sparse.map has an odd number of numbers', at);
      }
      return;
    case 'GNU.sparse.offset':
    case 'GNU.sparse.numbytes': {
      const map = (into.sparseMap ??= []);
      if ((map.length % 2 === 0) !== (keyword === 'GNU.sparse.offset'))
        throw new PaxFault('GNU.sparse.offset and GNU.sparse.numbytes do not alternate', at);
      map.push(decimal(latin1(buffer, start, end), keyword, at));
      return;
    }
  }
}

function addXattr(
  into: PaxAttributes,
  name: ByteString,
  value: Buffer,
  wins: boolean,
  at: number,
  maxXattrBytes: number,
): void {
  if (name === '' || name.includes('\0')) throw new PaxFault('an extended attribute has no valid name', at);
  if (name.length > XATTR_NAME_MAX)
    throw new PaxFault(`the name of an extended attribute is longer than ${XATTR_NAME_MAX} bytes`, at, true);
  if (value.length > XATTR_SIZE_MAX)
    throw new PaxFault(`an extended attribute is larger than ${XATTR_SIZE_MAX} bytes`, at, true);
  into.xattrBytes += name.length + value.length;
  if (into.xattrBytes > maxXattrBytes)
    throw new PaxFault(
      `the extended attributes of an entry exceed maxXattrBytes (${maxXattrBytes})`,
      at,
      true,
    );
  if (wins) (into.xattrs ??= new Map()).set(name, value);
  else (into.otherXattrs ??= new Map()).set(name, value);
}

/**
 * Seconds with any number of decimals. Rounded down to a nanosecond: -1.5 is second -2 and nanosecond 500000000.
 */
function applyMtime(into: PaxAttributes, buffer: Buffer, start: number, end: number, at: number): void {
  if (start === end) {
    into.mtimeSec = undefined;
    return;
  }
  let cursor = start;
  const negative = buffer[cursor] === 0x2d;
  if (negative) cursor++;
  let seconds = 0;
  let nanoseconds = 0;
  let scale = 1e8;
  let digits = 0;
  let inFraction = false;
  let below = false;
  for (; cursor < end; cursor++) {
    const digit = buffer[cursor]! - 0x30;
    if (digit >= 0 && digit <= 9) {
      digits++;
      if (!inFraction) seconds = seconds * 10 + digit;
      else if (scale >= 1) nanoseconds += digit * scale;
      else if (digit !== 0) below = true;
      if (inFraction) scale /= 10;
    } else if (buffer[cursor] === 0x2e && !inFraction) inFraction = true;
    else throw new PaxFault('mtime is not a decimal number', at);
  }
  if (digits === 0 || seconds > Number.MAX_SAFE_INTEGER - 1)
    throw new PaxFault('mtime is not a number that can be a time', at);
  if (negative) {
    seconds = seconds === 0 ? 0 : -seconds;
    if (below) nanoseconds++;
    if (nanoseconds > 0) {
      seconds--;
      nanoseconds = 1e9 - nanoseconds;
    }
  }
  into.mtimeSec = seconds;
  into.mtimeNsec = nanoseconds;
}

function textValue(buffer: Buffer, start: number, end: number, at: number): ByteString | undefined {
  if (start === end) return undefined;
  const text = latin1(buffer, start, end);
  if (text.includes('\0')) throw new PaxFault('a path in the extended header holds a NUL', at);
  return text;
}

function wholeValue(buffer: Buffer, start: number, end: number, at: number): number | undefined {
  return start === end ? undefined : decimal(latin1(buffer, start, end), 'a number', at);
}

function signedValue(buffer: Buffer, start: number, end: number, at: number): number | undefined {
  if (start === end) return undefined;
  if (buffer[start] !== 0x2d) return wholeValue(buffer, start, end, at);
  return -decimal(latin1(buffer, start + 1, end), 'a number', at);
}

function decimal(text: ByteString, what: string, at: number): number {
  const value = parseDecimal(text);
  if (Number.isNaN(value)) throw new PaxFault(`${what} in the extended header is malformed or too large`, at);
  return value;
}

function copyOf(buffer: Buffer, start: number, end: number): Buffer {
  return Buffer.from(buffer.subarray(start, end));
}
