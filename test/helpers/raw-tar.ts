/**
 * A plain ustar + PAX writer for tests (POSIX pax, "ustar Interchange Format" and "pax Extended Header"; sparse files as GNU
 * sparse format 1.0). It shares nothing with src/tar, so that a mistake there cannot hide here, and writes what it is told:
 * odd names, bytes that are not UTF-8, entries in any order.
 */
import type { ByteString } from '../../src/bytes.js';

export interface RawHeader {
  name: ByteString;
  typeflag: string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtimeSec?: number;
  mtimeNsec?: number;
  linkName?: ByteString;
  rdev?: readonly [major: number, minor: number];
  xattrs?: readonly (readonly [name: ByteString, value: ByteString])[];
  /** Further PAX records, as they are. */
  pax?: readonly (readonly [key: ByteString, value: ByteString])[];
  /** What the size field says, where it is not the length of the body. */
  sizeBytes?: number;
}

const BLOCK = 512;
const MAX_OCTAL_11 = 0o77777777777;
const MAX_OCTAL_7 = 0o7777777;

/** One entry: its PAX header where one is needed, its header, its body padded to whole blocks. */
export function rawEntry(header: RawHeader, body: Buffer = Buffer.alloc(0)): Buffer {
  const records = paxRecords(header, body.length);
  const parts: Buffer[] = [];
  if (records.length > 0) {
    const data = Buffer.concat(records);
    parts.push(
      headerBlock({ name: 'PaxHeaders/entry', typeflag: 'x' }, data.length),
      data,
      padding(data.length),
    );
  }
  parts.push(headerBlock(header, header.sizeBytes ?? body.length), body, padding(body.length));
  return Buffer.concat(parts);
}

/** A sparse file: `runs` of data in order, zeros elsewhere, `sizeBytes` long. */
export function rawSparseEntry(
  header: RawHeader,
  sizeBytes: number,
  runs: readonly { offset: number; data: Buffer }[],
): Buffer {
  // The map ends with an empty run at the file's end, as GNU tar writes it for a file that ends in a hole.
  const numbers = [runs.length + 1, ...runs.flatMap((run) => [run.offset, run.data.length]), sizeBytes, 0];
  const map = Buffer.from(numbers.map((number) => `${number}\n`).join(''), 'latin1');
  const body = Buffer.concat([map, padding(map.length), ...runs.map((run) => run.data)]);
  return rawEntry(
    {
      ...header,
      name: 'GNUSparseFile.0/entry',
      pax: [
        ...(header.pax ?? []),
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', header.name],
        ['GNU.sparse.realsize', String(sizeBytes)],
      ],
    },
    body,
  );
}

/** Entries and the end marker: a whole tar. */
export function rawTar(entries: readonly Buffer[]): Buffer {
  return Buffer.concat([...entries, Buffer.alloc(2 * BLOCK)]);
}

/** A PAX record: its own length in decimal, a space, key=value, a newline. The length counts its own digits. */
export function paxRecord(key: ByteString, value: ByteString): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.from(`${length}${rest}`, 'latin1');
}

function paxRecords(header: RawHeader, bodyLength: number): Buffer[] {
  const records: Buffer[] = [];
  const add = (key: ByteString, value: ByteString): void => void records.push(paxRecord(key, value));
  if (header.name.length > 100) add('path', header.name);
  if ((header.linkName ?? '').length > 100) add('linkpath', header.linkName ?? '');
  if ((header.uid ?? 0) > MAX_OCTAL_7) add('uid', String(header.uid));
  if ((header.gid ?? 0) > MAX_OCTAL_7) add('gid', String(header.gid));
  if ((header.sizeBytes ?? bodyLength) > MAX_OCTAL_11) add('size', String(header.sizeBytes ?? bodyLength));
  const sec = header.mtimeSec ?? 0;
  const nsec = header.mtimeNsec ?? 0;
  if (nsec !== 0 || sec < 0 || sec > MAX_OCTAL_11) add('mtime', decimalTime(sec, nsec));
  for (const [name, value] of header.xattrs ?? []) add(`SCHILY.xattr.${name}`, value);
  for (const [key, value] of header.pax ?? []) add(key, value);
  return records;
}

/** sec is rounded down and nsec counts up from it: -2 and 500000000 are -1.5. */
function decimalTime(sec: number, nsec: number): string {
  const total = BigInt(sec) * 1_000_000_000n + BigInt(nsec);
  const magnitude = total < 0n ? -total : total;
  const fraction = String(magnitude % 1_000_000_000n).padStart(9, '0');
  return `${total < 0n ? '-' : ''}${magnitude / 1_000_000_000n}.${fraction}`;
}

function headerBlock(header: RawHeader, sizeBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const text = (offset: number, length: number, value: ByteString): void =>
    void block.write(value.slice(0, length), offset, 'latin1');
  const octal = (offset: number, length: number, value: number): void =>
    text(offset, length, `${value.toString(8).padStart(length - 1, '0')}\0`);
  const fits = (value: number, limit: number): number => (value >= 0 && value <= limit ? value : 0);
  text(0, 100, header.name);
  octal(100, 8, header.mode ?? 0o644);
  octal(108, 8, fits(header.uid ?? 0, MAX_OCTAL_7));
  octal(116, 8, fits(header.gid ?? 0, MAX_OCTAL_7));
  octal(124, 12, fits(sizeBytes, MAX_OCTAL_11));
  octal(136, 12, fits(header.mtimeSec ?? 0, MAX_OCTAL_11));
  text(148, 8, '        ');
  text(156, 1, header.typeflag);
  text(157, 100, header.linkName ?? '');
  text(257, 8, 'ustar\x0000');
  octal(329, 8, header.rdev?.[0] ?? 0);
  octal(337, 8, header.rdev?.[1] ?? 0);
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(148, 8, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

function padding(length: number): Buffer {
  return Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK);
}
