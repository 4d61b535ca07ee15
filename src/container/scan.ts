/** Reads the stream of `lamina-fuse scan` (native/scan/format.h): every name below a directory with all that the disk says of it. */
import type { ByteString } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { DiskEntry } from '../layer/upper.js';
import { startHelper, untilEnded } from '../store/helper.js';

const MAGIC = 'LAMSCAN1';
const RECORD_BYTES = 112;

export interface ScanOptions {
  /** Where in the directory to begin; links are followed inside it. Text, since it is an argument. */
  inRoot?: string;
  /** false: a link at the end of `inRoot` is not followed. */
  follow?: boolean;
  /** How deep to go; 0 is the start alone. */
  depth?: number;
}

/** Everything below `directory`, depth first, in byte order. Raises ENOENT, EACCES, EIO, ENOSERVER. */
export async function scanDirectory(directory: string, options: ScanOptions = {}): Promise<DiskEntry[]> {
  const args = ['scan'];
  if (options.inRoot !== undefined) args.push('--in-root', options.inRoot);
  if (options.follow === false) args.push('--no-follow');
  if (options.depth !== undefined) args.push('--depth', String(options.depth));
  const helper = startHelper([...args, directory]);
  helper.stdin.end();
  const parser = new ScanParser();
  for await (const chunk of helper.stdout) parser.push(chunk as Buffer);
  await untilEnded(helper, 'cannot read');
  return parser.finish();
}

/** Takes the stream in pieces of any size. */
export class ScanParser {
  readonly #entries: DiskEntry[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #hasMagic = false;
  #isEnded = false;

  push(chunk: Buffer): void {
    let buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#hasMagic) {
      if (buffer.length < MAGIC.length) return void (this.#rest = buffer);
      if (buffer.toString('latin1', 0, MAGIC.length) !== MAGIC) throw cutShort();
      this.#hasMagic = true;
      buffer = buffer.subarray(MAGIC.length);
    }
    let at = 0;
    while (buffer.length - at >= 4 && !this.#isEnded) {
      const length = buffer.readUInt32LE(at);
      if (length === 0) {
        this.#isEnded = true;
        break;
      }
      if (length < RECORD_BYTES) throw cutShort();
      if (buffer.length - at < length) break;
      this.#entries.push(parseRecord(buffer, at, length));
      at += length;
    }
    this.#rest = buffer.subarray(at);
  }

  /** Raises EIO when the stream was cut short. */
  finish(): DiskEntry[] {
    if (!this.#isEnded) throw cutShort();
    return this.#entries;
  }
}

function parseRecord(buffer: Buffer, at: number, length: number): DiskEntry {
  const nameAt = at + RECORD_BYTES;
  const targetAt = nameAt + buffer.readUInt32LE(at + 96);
  let next = targetAt + buffer.readUInt32LE(at + 100);
  const end = at + length;
  const target = buffer.toString('latin1', targetAt, next);
  const xattrs: { name: ByteString; value: Buffer }[] = [];
  for (let left = buffer.readUInt32LE(at + 104); left > 0; left--) {
    if (next + 8 > end) throw cutShort();
    const valueAt = next + 8 + buffer.readUInt32LE(next);
    const valueEnd = valueAt + buffer.readUInt32LE(next + 4);
    if (valueEnd > end) throw cutShort();
    // A copy, which does not keep the whole chunk alive.
    const value = Buffer.from(buffer.subarray(valueAt, valueEnd));
    xattrs.push({ name: buffer.toString('latin1', next + 8, valueAt), value });
    next = valueEnd;
  }
  return {
    mode: buffer.readUInt32LE(at + 4),
    dev: buffer.readBigUInt64LE(at + 8),
    ino: buffer.readBigUInt64LE(at + 16),
    nlink: buffer.readUInt32LE(at + 24),
    uid: buffer.readUInt32LE(at + 28),
    gid: buffer.readUInt32LE(at + 32),
    rdevMajor: buffer.readUInt32LE(at + 36),
    rdevMinor: buffer.readUInt32LE(at + 40),
    depth: buffer.readUInt32LE(at + 44),
    sizeBytes: Number(buffer.readBigInt64LE(at + 56)),
    mtimeSec: Number(buffer.readBigInt64LE(at + 64)),
    mtimeNsec: buffer.readUInt32LE(at + 72),
    ctimeNsec: buffer.readUInt32LE(at + 76),
    ctimeSec: Number(buffer.readBigInt64LE(at + 80)),
    name: buffer.toString('latin1', nameAt, targetAt),
    target,
    xattrs,
  };
}

function cutShort(): LaminaError {
  return new LaminaError('EIO', 'the list of a directory is damaged or cut short');
}
