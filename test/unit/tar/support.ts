/**
 * What the tests of src/tar share: temporary tars, header blocks made by hand from the field tables of POSIX and of the
 * GNU tar manual, and the listings of other programs. Nothing here calls the code under test but `scan*`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LaminaError } from '../../../src/errors.js';
import { scanTar, type TarEntry, type TarLimits } from '../../../src/tar/scan.js';

/** A directory that `remove` takes away with all in it. */
export function temporaryDirectory(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'lamina-tar-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function scanFile(path: string, limits?: Partial<TarLimits>): TarEntry[] {
  const fd = openSync(path, 'r');
  try {
    return [...scanTar({ fd, offset: 0, sizeBytes: statSync(path).size, name: 'test.tar' }, limits)];
  } finally {
    closeSync(fd);
  }
}

export function scanBytes(tar: Buffer, limits?: Partial<TarLimits>): TarEntry[] {
  const dir = temporaryDirectory();
  try {
    writeFileSync(join(dir.path, 'test.tar'), tar);
    return scanFile(join(dir.path, 'test.tar'), limits);
  } finally {
    dir.remove();
  }
}

/** The error that scanning raises; fails when there is none or it is not ours. */
export function scanError(tar: Buffer, limits?: Partial<TarLimits>): LaminaError {
  let entries: TarEntry[];
  try {
    entries = scanBytes(tar, limits);
  } catch (error) {
    if (error instanceof LaminaError) return error;
    throw error;
  }
  throw new Error(`expected an error, but the scan found: ${entries.map((entry) => entry.name).join(' ')}`);
}

/** A file's content, put together from its extents. */
export function contentOf(path: string, entry: TarEntry): Buffer {
  const content = Buffer.alloc(entry.sizeBytes);
  const runs = entry.extents ?? [{ logical: 0, length: entry.sizeBytes, offset: entry.dataOffset }];
  const fd = openSync(path, 'r');
  for (const run of runs) {
    const count = readSync(fd, content, run.logical, run.length, run.offset);
    if (count !== run.length) throw new Error(`read ${count} of ${run.length} bytes of ${entry.name}`);
  }
  closeSync(fd);
  return content;
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export interface ListedByPython {
  type: string;
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  /** As the PAX record has it, or whole seconds. */
  mtime: string;
  devMajor: number;
  devMinor: number;
  xattrs: [string, string][];
  sizeBytes: number;
  sha256?: string;
  runs?: [number, number][];
}

export function listWithPython(path: string): ListedByPython[] {
  const script = fileURLToPath(new URL('../../fixtures/tar/list_tar.py', import.meta.url));
  return JSON.parse(
    execFileSync('python3', ['-I', '-S', script, path], { encoding: 'utf8', maxBuffer: 1 << 26 }),
  );
}

/** Decimal seconds, as in a record -> whole seconds rounded down and nanoseconds, by way of BigInt. */
export function floorTime(text: string): { sec: number; nsec: number } {
  const [, sign, whole, rest] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) as unknown as string[];
  const total = BigInt(whole!) * 1_000_000_000n + BigInt((rest ?? '').slice(0, 9).padEnd(9, '0'));
  const signed = sign === '-' ? -total : total;
  const nsec = ((signed % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { sec: Number((signed - nsec) / 1_000_000_000n), nsec: Number(nsec) };
}

export interface BlockFields {
  name?: string;
  typeflag?: string;
  mode?: number;
  size?: number;
  mtime?: number;
  linkName?: string;
  /** Default: POSIX, "ustar\0" and "00". Empty: v7. */
  magic?: string;
  /** Bytes (Latin-1) put over the block before it is summed, by offset. */
  at?: Record<number, string>;
  sum?: 'unsigned' | 'signed' | 'wrong';
}

export const POSIX_MAGIC = 'ustar\x0000';
export const GNU_MAGIC = 'ustar  \0';

/** One header block, 512 bytes. */
export function header(fields: BlockFields = {}): Buffer {
  const block = Buffer.alloc(512);
  const put = (offset: number, text: string): void => void block.write(text, offset, 'latin1');
  put(0, fields.name ?? 'file');
  put(100, `${(fields.mode ?? 0o644).toString(8).padStart(7, '0')}\0`);
  put(108, '0001750\0');
  put(116, '0000144\0');
  put(124, `${(fields.size ?? 0).toString(8).padStart(11, '0')}\0`);
  put(136, `${(fields.mtime ?? 1_000_000_000).toString(8).padStart(11, '0')}\0`);
  put(156, fields.typeflag ?? '0');
  put(157, fields.linkName ?? '');
  put(257, fields.magic ?? POSIX_MAGIC);
  for (const [offset, text] of Object.entries(fields.at ?? {})) put(Number(offset), text);
  put(148, '        ');
  let sum = fields.sum === 'wrong' ? 1 : 0;
  for (const byte of block) sum += fields.sum === 'signed' && byte > 127 ? byte - 256 : byte;
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

/** Bytes padded with zeros to whole blocks. */
export function blocks(body: string | Buffer): Buffer {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body, 'latin1');
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** "LENGTH KEYWORD=VALUE\n". */
export function record(keyword: string, value: string): string {
  const rest = ` ${keyword}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** An entry of one of the types that say something about the next or about all (x, g, L, K), with its data. */
export function extension(typeflag: string, data: string, fields: BlockFields = {}): Buffer {
  return Buffer.concat([header({ name: 'extension', typeflag, size: data.length, ...fields }), blocks(data)]);
}

export const END = Buffer.alloc(1024);

/** Parts and the end marker. */
export function tar(...parts: Buffer[]): Buffer {
  return Buffer.concat([...parts, END]);
}
