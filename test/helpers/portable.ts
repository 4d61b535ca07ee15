/** The portable driver's writable filesystem in this process, and a plain directory that is asked the same way. */
import {
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import type { ByteString } from '../../src/bytes.js';
import { bufferToBytes, bytesToBuffer } from '../../src/bytes.js';
import type { ImageView } from '../../src/merge/view.js';
import { WritableFilesystem } from '../../src/mount/drivers/portable/filesystem.js';
import { Upper } from '../../src/mount/drivers/portable/upper.js';
import {
  listXattrs,
  loadXattrs,
  removeXattr,
  setXattr,
  XattrNames,
  getXattr,
} from '../../src/mount/drivers/portable/xattrs.js';

const O_PATH = 0o10000000;

/** What both sides are asked; paths begin with a slash. */
export interface Changes {
  create(path: ByteString, mode: number): void;
  mkdir(path: ByteString, mode: number): void;
  symlink(target: ByteString, path: ByteString): void;
  link(from: ByteString, to: ByteString): void;
  unlink(path: ByteString): void;
  rmdir(path: ByteString): void;
  rename(from: ByteString, to: ByteString): void;
  chmod(path: ByteString, mode: number): void;
  chown(path: ByteString, uid: number, gid: number): void;
  truncate(path: ByteString, sizeBytes: number): void;
  write(path: ByteString, data: Buffer, position: number): void;
  utimens(path: ByteString, atimeMs: bigint, mtimeMs: bigint): void;
  setxattr(path: ByteString, name: string, value: Buffer, flags: number): void;
  removexattr(path: ByteString, name: string): void;
}

export interface OpenUpper {
  filesystem: WritableFilesystem;
  close(): void;
}

/** An upper directory as the server of a mount opens it, without the lock. */
export async function openUpper(
  upper: string,
  work: string,
  view: ImageView,
  tocKey = 0x1234n,
): Promise<OpenUpper> {
  await loadXattrs();
  process.umask(0);
  const [upperFd, workFd] = [upper, work].map((path) =>
    openSync(path, constants.O_RDONLY | constants.O_DIRECTORY),
  ) as [number, number];
  const xattrs = new XattrNames('trusted.overlay.');
  const disk = new Upper({ upperFd, workFd, xattrs, overrides: false });
  const filesystem = new WritableFilesystem(disk, workFd, view, tocKey);
  return {
    filesystem,
    close() {
      filesystem.close();
      disk.close();
      closeSync(upperFd);
      closeSync(workFd);
    },
  };
}

export class PlainDirectory implements Changes {
  constructor(readonly root: string) {}

  create(path: ByteString, mode: number): void {
    closeSync(openSync(this.at(path), constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, mode));
  }

  mkdir(path: ByteString, mode: number): void {
    mkdirSync(this.at(path), mode);
  }

  symlink(target: ByteString, path: ByteString): void {
    symlinkSync(bytesToBuffer(target), this.at(path));
  }

  link(from: ByteString, to: ByteString): void {
    linkSync(this.at(from), this.at(to));
  }

  unlink(path: ByteString): void {
    unlinkSync(this.at(path));
  }

  rmdir(path: ByteString): void {
    rmdirSync(this.at(path));
  }

  rename(from: ByteString, to: ByteString): void {
    renameSync(this.at(from), this.at(to));
  }

  chmod(path: ByteString, mode: number): void {
    chmodSync(this.at(path), mode);
  }

  chown(path: ByteString, uid: number, gid: number): void {
    lchownSync(this.at(path), uid, gid);
  }

  truncate(path: ByteString, sizeBytes: number): void {
    truncateSync(this.at(path), sizeBytes);
  }

  write(path: ByteString, data: Buffer, position: number): void {
    const fd = openSync(this.at(path), constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      writeSync(fd, data, 0, data.length, position);
    } finally {
      closeSync(fd);
    }
  }

  utimens(path: ByteString, atimeMs: bigint, mtimeMs: bigint): void {
    // Half a microsecond more, as Node cuts what a double cannot hold.
    const seconds = (ms: bigint): number => (Number(ms) + 0.0005) / 1000;
    this.#withObject(path, (object) => utimesSync(object, seconds(atimeMs), seconds(mtimeMs)));
  }

  setxattr(path: ByteString, name: string, value: Buffer): void {
    this.#withObject(path, (object) => setXattr(object, name, value));
  }

  removexattr(path: ByteString, name: string): void {
    this.#withObject(path, (object) => removeXattr(object, name));
  }

  /** One line for each name below the root, as dumpPortable makes them. */
  dump(sinceMs: number): string[] {
    const lines: string[] = [];
    const walk = (path: ByteString): void => {
      const status = lstatSync(this.at(path), { bigint: true });
      const isDirectory = status.isDirectory();
      const xattrs = this.#withObject(path, (object) =>
        listXattrs(object).map((name) => `${name}=${getXattr(object, name).toString('hex')}`),
      );
      lines.push(
        dumpLine(path, sinceMs, {
          mode: Number(status.mode),
          uid: Number(status.uid),
          gid: Number(status.gid),
          sizeBytes: Number(status.size),
          nlink: Number(status.nlink),
          mtimeMs: Math.floor(Number(status.mtimeNs / 1000n) / 1000),
          xattrs,
          content: status.isFile()
            ? readFileSync(this.at(path)).toString('latin1')
            : status.isSymbolicLink()
              ? bufferToBytes(readlinkSync(this.at(path), 'buffer'))
              : '',
        }),
      );
      if (!isDirectory) return;
      for (const name of (readdirSync(this.at(path), 'latin1') as string[]).sort()) walk(`${path}/${name}`);
    };
    walk('');
    return lines;
  }

  at(path: ByteString): Buffer {
    return bytesToBuffer(`${this.root}${path}`);
  }

  #withObject<T>(path: ByteString, use: (object: string) => T): T {
    const fd = openSync(this.at(path), O_PATH | constants.O_NOFOLLOW);
    try {
      return use(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  }
}

interface Dumped {
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  nlink: number;
  mtimeMs: number;
  xattrs: string[];
  content: string;
}

/** @param sinceMs times after it are `now` */
function dumpLine(path: ByteString, sinceMs: number, one: Dumped): string {
  const type = one.mode & constants.S_IFMT;
  const isDirectory = type === constants.S_IFDIR;
  const time = one.mtimeMs >= sinceMs ? 'now' : String(one.mtimeMs);
  return JSON.stringify([
    path,
    one.mode.toString(8),
    one.uid,
    one.gid,
    isDirectory ? 0 : one.sizeBytes,
    isDirectory ? 0 : one.nlink,
    time,
    one.xattrs.sort(),
    one.content,
  ]);
}

/** One line for each name, of what the filesystem answers; and the inode number of each. */
export function dumpPortable(
  filesystem: WritableFilesystem,
  sinceMs: number,
): { lines: string[]; inodes: Map<ByteString, number> } {
  const lines: string[] = [];
  const inodes = new Map<ByteString, number>();
  const walk = (path: ByteString, listedIno: number | undefined): void => {
    const words = filesystem.getattr(path === '' ? '/' : path);
    const long = (at: number): number => words[at]! + words[at + 1]! * 2 ** 32;
    const mode = words[0]!;
    const type = mode & constants.S_IFMT;
    const ino = words[7]!;
    if (listedIno !== undefined && listedIno !== ino)
      throw new Error(`${path}: listed as ${listedIno}, is ${ino}`);
    inodes.set(path, ino);
    const bytes = (ask: (buffer: Buffer) => number): Buffer => {
      const buffer = Buffer.alloc(ask(Buffer.alloc(0)));
      return buffer.length === 0 ? buffer : buffer.subarray(0, ask(buffer));
    };
    const names = bytes((buffer) => filesystem.listxattr(path, buffer))
      .toString()
      .split('\0')
      .filter(Boolean);
    const content = Buffer.alloc(type === constants.S_IFREG ? long(3) : 0);
    if (content.length > 0 && filesystem.read(path, content, 0) !== content.length)
      throw new Error(`${path}: shorter than its size`);
    lines.push(
      dumpLine(path, sinceMs, {
        mode,
        uid: words[1]!,
        gid: words[2]!,
        sizeBytes: long(3),
        nlink: words[6]!,
        mtimeMs: long(14),
        xattrs: names.map((name) => {
          const value = bytes((buffer) => filesystem.getxattr(path, name, buffer));
          return `${name}=${value.toString('hex')}`;
        }),
        content:
          type === constants.S_IFREG
            ? content.toString('latin1')
            : type === constants.S_IFLNK
              ? String(filesystem.readlink(path))
              : '',
      }),
    );
    filesystem.settle();
    if (type !== constants.S_IFDIR) return;
    const listing = filesystem.readdir(path === '' ? '/' : path);
    const entries = listing.names.map((name, index) => [name, listing.stats[index]![7]!] as const);
    const children = entries.filter(([name]) => name !== '.' && name !== '..');
    for (const [name, child] of children.sort(([a], [b]) => (a < b ? -1 : 1))) walk(`${path}/${name}`, child);
  };
  walk('', undefined);
  return { lines, inodes };
}
