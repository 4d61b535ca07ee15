/** Writes the stream of `lamina-fuse apply` (native/scan/format.h): makes files below a directory that no link leads out of. */
import { once } from 'node:events';
import type { ByteString, Xattrs } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { NodeType } from '../layer/tree.js';
import { FILE_TYPE_BITS } from '../layer/tree.js';
import { startHelper, untilEnded } from '../store/helper.js';
import type { Helper } from '../store/helper.js';

const RECORD_BYTES = 72;
const KINDS = { put: 1, link: 2, removeXattr: 3 } as const;
const CHOWN = 1;
const KEEP_EXISTING = 2;

export interface AppliedAttributes {
  type: NodeType;
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  mtimeSec: number;
  mtimeNsec: number;
  rdevMajor: number;
  rdevMinor: number;
  target: ByteString;
  xattrs: Xattrs | undefined;
}

export interface ApplyOptions {
  /** Links on the way are refused, instead of being followed inside the directory. */
  noLinks?: boolean;
  /** Give files the owner that each entry says; else they are the one's who runs this. */
  chown?: boolean;
}

/** Paths are relative to the directory; parents that are missing are made. */
export class Applier {
  readonly #helper: Helper;
  readonly #chown: boolean;
  #isEnded = false;

  /** @param directory followed when it is a link: the caller named it */
  constructor(directory: string, options: ApplyOptions = {}) {
    this.#helper = startHelper(['apply', ...(options.noLinks === true ? ['--no-links'] : []), directory]);
    this.#chown = options.chown === true;
    this.#helper.stdin.write('LAMAPPL1');
    void this.#helper.ended.then(
      () => (this.#isEnded = true),
      () => (this.#isEnded = true),
    );
  }

  /**
   * Makes or replaces one name; a directory that is there is kept. Directories get their attributes at the very end.
   * @param content file: exactly `sizeBytes`
   * @param options.keepExisting leave a directory that is there as it is
   */
  async put(
    path: ByteString,
    file: AppliedAttributes,
    content: AsyncIterable<Buffer> | Iterable<Buffer> = [],
    options: { keepExisting?: boolean } = {},
  ): Promise<void> {
    if (file.type === 'socket' || file.type === 'whiteout' || file.type === 'link')
      throw new TypeError(`expected a file that can be made but received a ${file.type}`);
    const flags = (this.#chown ? CHOWN : 0) | (options.keepExisting === true ? KEEP_EXISTING : 0);
    const sizeBytes = file.type === 'file' ? file.sizeBytes : 0;
    await this.#write(
      record('put', path, { ...file, mode: FILE_TYPE_BITS[file.type] | file.mode, flags, sizeBytes }),
    );
    let written = 0;
    for await (const chunk of content) {
      written += chunk.length;
      if (written > sizeBytes) break;
      await this.#write(chunk);
    }
    if (written !== sizeBytes && !this.#isEnded)
      throw new LaminaError('EIO', `expected ${sizeBytes} bytes of content but got ${written}`);
  }

  /** A further name of the file at `target`, from the same directory. */
  async link(path: ByteString, target: ByteString): Promise<void> {
    await this.#write(record('link', path, { target }));
  }

  async removeXattr(path: ByteString, name: ByteString): Promise<void> {
    await this.#write(record('removeXattr', path, { target: name }));
  }

  /**
   * Waits until all is made; -> how many extended attributes the filesystem, or this user's rights, did not allow.
   * Raises EEXIST (a directory over something else), EISDIR (something else over a directory), ELOOP, EACCES, ENOSPC and the like.
   */
  async finish(doing: string): Promise<{ lostXattrs: number }> {
    this.#helper.stdin.end(Buffer.alloc(4));
    let said = '';
    this.#helper.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    await untilEnded(this.#helper, doing);
    return { lostXattrs: Number(said.trim().split(' ')[2] ?? 0) };
  }

  /** Ends it at once, and waits until it has; what was made stays. */
  async abort(): Promise<void> {
    this.#helper.process.kill();
    await this.#helper.ended.catch(() => {});
  }

  /** Nothing more is written to a helper that has ended: `finish` says why it did. */
  async #write(bytes: Buffer): Promise<void> {
    const { stdin, ended } = this.#helper;
    if (this.#isEnded || stdin.destroyed) return;
    if (!stdin.write(bytes)) await Promise.race([once(stdin, 'drain').catch(() => {}), ended]);
  }
}

interface Fields extends Partial<AppliedAttributes> {
  flags?: number;
}

function record(kind: keyof typeof KINDS, path: ByteString, fields: Fields): Buffer {
  const { target = '', xattrs = [] } = fields;
  const parts = [path, target].map(bytesToBuffer);
  for (const { name, value } of xattrs) {
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32LE(name.length, 0);
    lengths.writeUInt32LE(value.length, 4);
    parts.push(lengths, bytesToBuffer(name), value);
  }
  const head = Buffer.alloc(RECORD_BYTES);
  head.writeUInt32LE(RECORD_BYTES + parts.reduce((sum, part) => sum + part.length, 0), 0);
  head.writeUInt32LE(KINDS[kind], 4);
  head.writeUInt32LE(fields.mode ?? 0, 8);
  head.writeUInt32LE(fields.uid ?? 0, 12);
  head.writeUInt32LE(fields.gid ?? 0, 16);
  head.writeUInt32LE(fields.rdevMajor ?? 0, 20);
  head.writeUInt32LE(fields.rdevMinor ?? 0, 24);
  head.writeBigInt64LE(BigInt(fields.mtimeSec ?? 0), 32);
  head.writeUInt32LE(fields.mtimeNsec ?? 0, 40);
  head.writeUInt32LE(fields.flags ?? 0, 44);
  head.writeBigUInt64LE(BigInt(fields.sizeBytes ?? 0), 48);
  head.writeUInt32LE(path.length, 56);
  head.writeUInt32LE(target.length, 60);
  head.writeUInt32LE(xattrs.length, 64);
  return Buffer.concat([head, ...parts]);
}
