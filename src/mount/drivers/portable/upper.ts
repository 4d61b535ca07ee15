/**
 * The upper and work directories: what is done on the disk, without knowing of what lies below. Everything is made under a temporary
 * name in the work directory and renamed to its place, or made in its place by one call: whenever this process is killed the
 * upper holds whole objects only, and the work directory is emptied by the next mount. As native/overlay/upper.cc.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import type { BigIntStats } from 'node:fs';
import type { ByteString } from '../../../bytes.js';
import { bytesToBuffer } from '../../../bytes.js';
import { parseOverride } from '../../../layer/upper.js';
import { TYPE_BITS } from '../../../merge/toc-format.js';
import type { Place } from './descriptors.js';
import { at, openDirectory, withObject } from './descriptors.js';
import { isErrno } from './errno.js';
import { makeDevice, makeSocket } from './special.js';
import type { Marks, XattrNames } from './xattrs.js';
import { findXattr, readMarks, setXattr } from './xattrs.js';

export const S_IFMT = 0o170000;
const { S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK } = constants;
const OVERRIDE = 'user.containers.override_stat';
export const DEFAULT_ACL = 'system.posix_acl_default';
const WORK = 'work';
/** Beside it, so that it is not emptied. */
const LINKS = 'links';
const WHITEOUT = 'whiteout';

/** Attributes that an object gets; `mode` with the type. */
export interface ObjectAttributes {
  mode: number;
  uid: number;
  gid: number;
  rdevMajor: number;
  rdevMinor: number;
}

/** stat(2) of an upper object as the union shows it. */
export interface UpperStat {
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  nlink: number;
  ino: bigint;
  sizeBytes: number;
  blocks: number;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

export interface UpperOptions {
  upperFd: number;
  workFd: number;
  xattrs: XattrNames;
  /** Owners, modes and types are kept in an attribute, because this process may not set them (containers/storage). */
  overrides: boolean;
}

/** Whether owners are kept so: where the root has the attribute (FORMAT.md), and where this process may not set them. */
export function keepsOverrides(upperFd: number): boolean {
  return process.geteuid!() !== 0 || findXattr(`/proc/self/fd/${upperFd}/.`, OVERRIDE) !== undefined;
}

export class Upper {
  readonly root: number;
  readonly xattrs: XattrNames;
  readonly overrides: boolean;
  /** Where temporaries are made. */
  readonly work: number;
  /** Copied-up files that are about to get several names, by their origin. */
  readonly links: number;
  #nextTemporary = 0;
  #deviceWhiteouts: boolean;
  #hasWhiteout = false;

  /** Empties the work directory, on which the caller holds the lock. */
  constructor({ upperFd, workFd, xattrs, overrides }: UpperOptions) {
    this.root = upperFd;
    this.xattrs = xattrs;
    this.overrides = overrides;
    const place = { dir: workFd, name: WORK };
    removeTree(place);
    mkdirSync(at(place), 0o700);
    this.work = openDirectory(place);
    const links = { dir: workFd, name: LINKS };
    if (this.stat(links) === undefined) mkdirSync(at(links), 0o700);
    this.links = openDirectory(links);
    this.#deviceWhiteouts = !overrides;
  }

  close(): void {
    closeSync(this.work);
    closeSync(this.links);
  }

  /** A place in the work directory that is not in use. */
  temporary(): Place {
    return { dir: this.work, name: `tmp-${process.pid}-${this.#nextTemporary++}` };
  }

  /** undefined where there is nothing. */
  stat(place: Place): UpperStat | undefined {
    const stats = lstatSync(at(place), { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? undefined : this.asShown(stats, place);
  }

  /** @param object a place, or a path of a descriptor */
  asShown(stats: BigIntStats, object: Place | string): UpperStat {
    const status: UpperStat = {
      mode: Number(stats.mode),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      rdev: Number(stats.rdev & 0xffffffffn),
      nlink: Number(stats.nlink),
      ino: stats.ino,
      sizeBytes: Number(stats.size),
      blocks: Number(stats.blocks),
      atimeNs: stats.atimeNs,
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
    };
    const type = status.mode & S_IFMT;
    if (!this.overrides || (type !== S_IFREG && type !== S_IFDIR)) return status;
    const read = (path: string): Buffer | undefined => findXattr(path, OVERRIDE);
    const value = typeof object === 'string' ? read(object) : withObject(object, read);
    const override = value === undefined ? undefined : parseOverride(value);
    if (override === undefined) return status;
    const { type: kind = undefined } = override;
    status.uid = override.uid;
    status.gid = override.gid;
    const isSpecial = type === S_IFREG && kind !== undefined && kind !== 'file' && kind !== 'dir';
    status.mode = (isSpecial ? TYPE_BITS[kind] : type) | override.mode;
    if (isSpecial) status.rdev = deviceOf(override.rdevMajor, override.rdevMinor);
    return status;
  }

  marks(place: Place): Marks {
    return withObject(place, (path) => readMarks(path, this.xattrs));
  }

  /** @param path of a descriptor */
  chmod(path: string, status: UpperStat, mode: number): void {
    if (this.overrides) writeOverride(path, { ...status, mode: (status.mode & S_IFMT) | (mode & 0o7777) });
    else chmodSync(path, mode & 0o7777);
  }

  /** -1 leaves one as it is. */
  chown(path: string, status: UpperStat, uid: number, gid: number): void {
    if (!this.overrides) return chownSync(path, uid, gid);
    let { mode } = status;
    // As chown(2) does.
    if ((mode & S_IFMT) !== S_IFDIR) {
      mode &= ~0o4000;
      if ((mode & 0o010) !== 0) mode &= ~0o2000;
    }
    writeOverride(path, {
      ...status,
      mode,
      uid: uid < 0 ? status.uid : uid,
      gid: gid < 0 ? status.gid : gid,
    });
  }

  /**
   * Makes something for a caller, whose umask is taken off already; it belongs to this process's user, and inherits from its
   * directory. @param mode with the type
   */
  make(place: Place, mode: number, rdev: number, target: ByteString = ''): void {
    const type = mode & S_IFMT;
    if (type === S_IFLNK) return symlinkSync(bytesToBuffer(target), at(place));
    if (!this.overrides) return makeOf(place, type, mode & 0o7777, rdev);
    const parent = this.stat({ dir: place.dir, name: '.' })!;
    const inherits = (parent.mode & 0o2000) !== 0;
    makeOf(place, type === S_IFDIR ? S_IFDIR : S_IFREG, type === S_IFDIR ? 0o700 : 0o600, 0);
    withObject(place, (path) =>
      writeOverride(path, {
        mode: mode | (inherits && type === S_IFDIR ? 0o2000 : 0),
        uid: process.geteuid!(),
        gid: inherits ? parent.gid : process.getegid!(),
        rdev,
      }),
    );
  }

  /** Makes an object for the union itself, to get its attributes by `setAttributes`. */
  makeExactly(place: Place, { mode, rdevMajor, rdevMinor }: ObjectAttributes, target: ByteString): void {
    const type = mode & S_IFMT;
    if (type === S_IFLNK) symlinkSync(bytesToBuffer(target), at(place));
    else if (type === S_IFDIR) mkdirSync(at(place), 0o700);
    else makeOf(place, this.overrides ? S_IFREG : type, 0o600, deviceOf(rdevMajor, rdevMinor));
  }

  /** In the order in which none undoes another: chown(2) takes setuid bits away. */
  setAttributes(path: string, attributes: ObjectAttributes): void {
    const { mode, uid, gid, rdevMajor, rdevMinor } = attributes;
    if (this.overrides) {
      writeOverride(path, { mode, uid, gid, rdev: deviceOf(rdevMajor, rdevMinor) });
      return;
    }
    chownSync(path, uid, gid);
    if ((mode & S_IFMT) !== S_IFLNK) chmodSync(path, mode & 0o7777);
  }

  isWhiteout(status: UpperStat, marks: Marks): boolean {
    const type = status.mode & S_IFMT;
    if (type === S_IFCHR) return status.rdev === 0;
    return type === S_IFREG && status.sizeBytes === 0 && marks.whiteout;
  }

  /** Hides `place`, where nothing is, or what is no directory, which it replaces. */
  makeWhiteout(place: Place): void {
    const whiteout = this.prepareWhiteout(place.dir);
    renameSync(at(whiteout), at(place));
    // rename(2) does nothing where both are links to one inode.
    unlinkIfThere(whiteout);
  }

  /** A whiteout to be renamed to a place in `dir`. */
  prepareWhiteout(dir: number): Place {
    return (this.#deviceWhiteouts ? this.#linkedWhiteout() : undefined) ?? this.#fileWhiteout(dir);
  }

  setOpaque(place: Place): void {
    withObject(place, (path) => setXattr(path, this.xattrs.opaque, 'y'));
  }

  /** A link to the one whiteout, which is cheaper than another; filesystems bound how many there may be. */
  #linkedWhiteout(): Place | undefined {
    const original = { dir: this.work, name: WHITEOUT };
    const temporary = this.temporary();
    if (!this.#hasWhiteout) {
      try {
        makeDevice(original, S_IFCHR, 0, 0);
      } catch (error) {
        if (!isErrno(error, 'EPERM', 'ENOSYS')) throw error;
        this.#deviceWhiteouts = false;
        return undefined;
      }
      this.#hasWhiteout = true;
    }
    try {
      linkSync(at(original), at(temporary));
      return temporary;
    } catch (error) {
      if (!isErrno(error, 'EMLINK')) throw error;
      unlinkSync(at(original));
      this.#hasWhiteout = false;
      return this.#linkedWhiteout();
    }
  }

  /** A file with an attribute, in a directory that says that it holds such (Documentation/filesystems/overlayfs.rst). */
  #fileWhiteout(dir: number): Place {
    const temporary = this.temporary();
    makeOf(temporary, S_IFREG, 0o600, 0);
    withObject(temporary, (path) => setXattr(path, this.xattrs.whiteout, 'y'));
    const directory = { dir, name: '.' };
    const { opaque, xattrWhiteouts } = this.marks(directory);
    if (!opaque && !xattrWhiteouts) withObject(directory, (path) => setXattr(path, this.xattrs.opaque, 'x'));
    return temporary;
  }
}

/** Where it is not regular, a directory or a link, by another program. */
function makeOf(place: Place, type: number, mode: number, rdev: number): void {
  if (type === S_IFDIR) mkdirSync(at(place), mode);
  else if (type === S_IFREG || type === 0)
    closeSync(openSync(at(place), constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, mode));
  else if (type === S_IFSOCK) makeSocket(place, mode);
  else makeDevice(place, type, mode, rdev);
}

/** The value that containers/storage reads: uid:gid:mode:type. Links carry none: their owner is this process's. */
function writeOverride(
  path: string,
  { mode, uid, gid, rdev }: Pick<UpperStat, 'mode' | 'uid' | 'gid' | 'rdev'>,
): void {
  const type = mode & S_IFMT;
  if (type === S_IFLNK) return;
  const numbers = `${majorOf(rdev)}-${minorOf(rdev)}`;
  const names = new Map([
    [S_IFDIR, 'dir'],
    [S_IFIFO, 'pipe'],
    [S_IFSOCK, 'socket'],
    [S_IFBLK, `block-${numbers}`],
    [S_IFCHR, `char-${numbers}`],
  ]);
  const permissions = (mode & 0o7777).toString(8).padStart(4, '0');
  setXattr(path, OVERRIDE, `${uid}:${gid}:${permissions}:${names.get(type) ?? 'file'}`);
}

/** Whether an attribute is this module's own, in a mount that has such. */
export function isOverride(name: string): boolean {
  return name === OVERRIDE;
}

/** makedev(3), as FUSE carries it: 12 bits and 20. */
export function deviceOf(major: number, minor: number): number {
  return (((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function majorOf(device: number): number {
  return (device >>> 8) & 0xfff;
}

export function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00);
}

export function unlinkIfThere(place: Place): void {
  try {
    unlinkSync(at(place));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Names in a directory; as bytes. */
export function namesIn(dir: number): ByteString[] {
  return readdirSync(`/proc/self/fd/${dir}`, { encoding: 'latin1' });
}

/** Removes whatever is there with everything below it. */
export function removeTree(place: Place): void {
  const status = lstatSync(at(place), { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isDirectory()) return unlinkSync(at(place));
  const dir = openDirectory(place);
  try {
    for (const name of namesIn(dir)) removeTree({ dir, name });
  } finally {
    closeSync(dir);
  }
  rmdirSync(at(place));
}

/** fsync(2) of a file or directory. */
export function syncObject(place: Place): void {
  const fd = openSync(at(place), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
