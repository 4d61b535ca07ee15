/**
 * Copies a file or a tree of an image into a directory of the host. The rule it guards: nothing is written outside of that directory,
 * whatever links stand in it or are put there meanwhile: every name is reached through the descriptor of its directory, opened with O_NOFOLLOW,
 * as /proc/self/fd/N/NAME (proc_pid_fd(5)), which is Node's only openat(2). Node cannot set extended attributes: they are counted, and
 * times are set to the microsecond (libuv takes them as doubles).
 */
import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer, displayBytes } from '../bytes.js';
import { fromSystemError, LaminaError } from '../errors.js';
import type { TocInode } from '../merge/toc-reader.js';
import { joinPath } from '../merge/view.js';
import type { ImageView, Located } from '../merge/view.js';

/** What a copy on the host does not have. */
export interface CopyLosses {
  /** Files whose extended attributes were not copied. */
  xattrs: number;
  /** Paths of devices (for who is not root) and sockets, which were not made. */
  skipped: ByteString[];
}

export interface CopyOptions {
  /** Give files the image's owners; root only. */
  keepOwner: boolean;
}

/**
 * Copies `start` to `name` in the directory `directoryFd`, or into that directory itself when `name` is undefined. Existing files are
 * replaced, existing directories are added to. Raises EEXIST where a directory would have to replace something else, EISDIR where
 * something else would have to replace a directory, and what the system says.
 */
export async function copyOut(
  view: ImageView,
  start: Located,
  directoryFd: number,
  name: ByteString | undefined,
  options: CopyOptions,
): Promise<CopyLosses> {
  const copy = new Copy(view, directoryFd, options);
  try {
    await copy.into(start, directoryFd, name);
  } catch (error) {
    throw fromSystemError(error, 'cannot copy to', displayBytes(copy.at));
  }
  return copy.losses;
}

/** Opens a directory to copy into; a link is followed, the caller named it. The caller closes it. Raises ENOENT, ENOTDIR, EACCES. */
export function openDirectory(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw fromSystemError(error, 'cannot open', path);
  }
}

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** open(2); Node does not list it. */
const O_PATH = 0o10000000;
const REAL_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

class Copy {
  readonly losses: CopyLosses = { xattrs: 0, skipped: [] };
  /** What is being written, for the error; from the directory that is copied into. */
  at: ByteString = '';
  /** Inode with several names -> the first of them that was made, from the directory that is copied into. */
  readonly #made = new Map<number, ByteString>();

  constructor(
    private readonly view: ImageView,
    private readonly rootFd: number,
    private readonly options: CopyOptions,
  ) {}

  /** `name` is one name in `parentFd`, or undefined for that directory itself. */
  async into({ ino, path }: Located, parentFd: number, name: ByteString | undefined): Promise<void> {
    const inode = this.view.toc.inode(ino);
    if (name === undefined) {
      await this.#children(inode, path, parentFd);
      this.#describe(inode, parentFd);
      return;
    }
    const outer = this.at;
    this.at = outer === '' ? name : joinPath(outer, name);
    if (inode.xattrs !== undefined) this.losses.xattrs++;
    if (inode.type === 'dir') await this.#directory(inode, path, parentFd, name);
    else await this.#file(inode, path, parentFd, name);
    this.at = outer;
  }

  async #directory(inode: TocInode, path: ByteString, parentFd: number, name: ByteString): Promise<void> {
    const target = below(parentFd, name);
    const existing = statOf(target);
    if (existing === undefined) mkdirSync(target, { mode: 0o700 });
    else if (!existing.isDirectory()) throw this.#conflict('EEXIST', 'a directory', 'something that is none');
    const fd = openSync(target, REAL_DIRECTORY);
    try {
      await this.#children(inode, path, fd);
      this.#describe(inode, fd);
    } finally {
      closeSync(fd);
    }
  }

  async #children(inode: TocInode, path: ByteString, fd: number): Promise<void> {
    for (const { name, ino } of this.view.toc.entries(inode.ino)) {
      await this.into({ ino, path: joinPath(path, name) }, fd, name);
    }
  }

  async #file(inode: TocInode, path: ByteString, parentFd: number, name: ByteString): Promise<void> {
    const target = below(parentFd, name);
    const existing = statOf(target);
    if (existing?.isDirectory() === true) throw this.#conflict('EISDIR', 'a file', 'a directory');
    if (existing !== undefined) unlinkSync(target);
    const first = this.#made.get(inode.ino);
    if (first !== undefined) {
      this.#link(first, target);
      return;
    }
    if (inode.type === 'file') this.#regular(inode, target);
    else if (inode.type === 'symlink') this.#symlink(inode, target);
    else if (!(await this.#special(inode, parentFd, name))) {
      this.losses.skipped.push(path);
      return;
    }
    if (inode.nlink > 1) this.#made.set(inode.ino, this.at);
  }

  #regular(inode: TocInode, target: Buffer): void {
    const fd = openSync(target, NEW_FILE, 0o600);
    try {
      for (const chunk of this.view.chunks(inode.ino)) {
        for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
      }
      this.#describe(inode, fd);
    } finally {
      closeSync(fd);
    }
  }

  #symlink(inode: TocInode, target: Buffer): void {
    symlinkSync(bytesToBuffer(inode.target), target);
    if (this.options.keepOwner) lchownSync(target, inode.uid, inode.gid);
    lutimesSync(target, time(inode), time(inode));
  }

  /** A device or FIFO, by mknod(1): Node has no such call. False when it cannot be made. */
  async #special(inode: TocInode, parentFd: number, name: ByteString): Promise<boolean> {
    const isFifo = inode.type === 'fifo';
    if (inode.type === 'socket' || (!isFifo && process.getuid?.() !== 0)) return false;
    const numbers = isFifo
      ? ['p']
      : [inode.type === 'char' ? 'c' : 'b', String(inode.rdevMajor), String(inode.rdevMinor)];
    // The command has descriptors of its own, and takes text: the name is made here, under one that is text.
    const temporary = `.lamina-${process.pid}-${inode.ino}`;
    await promisify(execFile)('mknod', [
      '-m',
      '600',
      `/proc/${process.pid}/fd/${parentFd}/${temporary}`,
      ...numbers,
    ]);
    const made = below(parentFd, temporary);
    const target = below(parentFd, name);
    linkSync(made, target);
    unlinkSync(made);
    // Opening a device may do things: it is only pointed at.
    const fd = openSync(target, O_PATH | constants.O_NOFOLLOW);
    try {
      const itself = `/proc/self/fd/${fd}`;
      if (this.options.keepOwner) chownSync(itself, inode.uid, inode.gid);
      chmodSync(itself, inode.mode);
      utimesSync(itself, time(inode), time(inode));
    } finally {
      closeSync(fd);
    }
    return true;
  }

  /** The first name is reached anew from the top, its directories' descriptors being closed by now. */
  #link(first: ByteString, target: Buffer): void {
    const names = first.split('/');
    const last = names.pop()!;
    const opened: number[] = [];
    try {
      let fd = this.rootFd;
      for (const name of names) opened.push((fd = openSync(below(fd, name), REAL_DIRECTORY)));
      linkSync(below(fd, last), target);
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  }

  /** Owner before mode, which chown(2) may change, and times last. */
  #describe(inode: TocInode, fd: number): void {
    if (this.options.keepOwner) fchownSync(fd, inode.uid, inode.gid);
    fchmodSync(fd, inode.mode);
    futimesSync(fd, time(inode), time(inode));
  }

  #conflict(code: 'EEXIST' | 'EISDIR', wanted: string, existing: string): LaminaError {
    const shown = displayBytes(this.at);
    return new LaminaError(code, `cannot copy ${wanted} over ${existing}: ${shown}`, { path: shown });
  }
}

/** The name in the directory that is open as `fd`, free of any link on the way. */
function below(fd: number, name: ByteString): Buffer {
  return bytesToBuffer(`/proc/self/fd/${fd}/${name}`);
}

function statOf(path: Buffer): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Node takes a negative number for "now", a Date not. */
function time(inode: TocInode): number | Date {
  const seconds = inode.mtimeSec + inode.mtimeNsec / 1e9;
  return seconds < 0 ? new Date(seconds * 1000) : seconds;
}
