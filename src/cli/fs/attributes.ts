/** The attributes of a file as ls(1), find(1) and stat(1) of GNU coreutils print them, and as JSON. */
import type { ByteString } from '../../bytes.js';
import { NO_LAYER } from '../../layer/tree.js';
import type { NodeType } from '../../layer/tree.js';
import type { TocInode } from '../../merge/toc-reader.js';
import type { ImageView } from '../../merge/view.js';
import { dataBlocks } from '../../merge/view-read.js';
import { jsonName } from './output.js';

/** The letter of ls -l. */
const TYPE_LETTERS: Record<NodeType, string> = {
  file: '-',
  dir: 'd',
  symlink: 'l',
  char: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
  whiteout: 'w',
  link: 'h',
};

const MAX_ACCOUNTS_BYTES = 4 * 1024 * 1024;

/** `-rwsr-xr-x`, with `+` where there is an access control list and `.` where there is only a security context. */
export function modeText(inode: Pick<TocInode, 'type' | 'mode' | 'xattrs'>, alternate = true): string {
  const bits = [0o400, 0o200, 0o100, 0o40, 0o20, 0o10, 4, 2, 1].map((bit, index) =>
    (inode.mode & bit) === 0 ? '-' : 'rwx'[index % 3]!,
  );
  const special: [bit: number, at: number, letter: string][] = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ];
  for (const [bit, at, letter] of special) {
    if ((inode.mode & bit) !== 0) bits[at] = bits[at] === 'x' ? letter : letter.toUpperCase();
  }
  const names = new Set(inode.xattrs?.map(({ name }) => name));
  const hasAcl = names.has('system.posix_acl_access') || names.has('system.posix_acl_default');
  const mark = hasAcl ? '+' : names.has('security.selinux') ? '.' : '';
  return TYPE_LETTERS[inode.type] + bits.join('') + (alternate ? mark : '');
}

/** The image's own names of users and groups, from its /etc/passwd and /etc/group: passwd(5), group(5). */
export class Accounts {
  readonly #users: Map<number, ByteString>;
  readonly #groups: Map<number, ByteString>;

  constructor(view: ImageView) {
    this.#users = readAccounts(view, '/etc/passwd');
    this.#groups = readAccounts(view, '/etc/group');
  }

  userName(uid: number): ByteString | undefined {
    return this.#users.get(uid);
  }

  groupName(gid: number): ByteString | undefined {
    return this.#groups.get(gid);
  }

  /** A name or a number; undefined when it is neither. */
  uid(text: ByteString): number | undefined {
    return idOf(this.#users, text);
  }

  gid(text: ByteString): number | undefined {
    return idOf(this.#groups, text);
  }
}

function idOf(names: Map<number, ByteString>, text: ByteString): number | undefined {
  for (const [id, name] of names) if (name === text) return id;
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** The first name of an id counts, as for getpwuid(3). An image without the file has no names. */
function readAccounts(view: ImageView, path: ByteString): Map<number, ByteString> {
  const names = new Map<number, ByteString>();
  try {
    const inode = view.stat(path);
    if (inode.type !== 'file' || inode.sizeBytes > MAX_ACCOUNTS_BYTES) return names;
    const content = Buffer.alloc(inode.sizeBytes);
    view.read(inode.ino, content, 0);
    for (const line of content.toString('latin1').split('\n')) {
      const [name = '', , id = ''] = line.split(':');
      if (name !== '' && /^\d+$/.test(id) && !names.has(Number(id))) names.set(Number(id), name);
    }
  } catch {
    // No such file, or a link that leads nowhere: numbers are shown.
  }
  return names;
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
/** Half a Gregorian year: what GNU ls takes for recent. */
const HALF_YEAR_SECONDS = 31556952 / 2;

/** Local time in parts; nanoseconds are the inode's. */
function localTime(inode: TocInode): { date: Date; ymd: string; hm: string; second: string; zone: string } {
  const date = new Date(inode.mtimeSec * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const hours = Math.floor(Math.abs(offset) / 60);
  return {
    date,
    ymd: `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    hm: `${two(date.getHours())}:${two(date.getMinutes())}`,
    second: `${two(date.getSeconds())}.${String(inode.mtimeNsec).padStart(9, '0')}`,
    zone: `${offset < 0 ? '-' : '+'}${two(hours)}${two(Math.abs(offset) % 60)}`,
  };
}

export const TIME_STYLES = ['locale', 'iso', 'long-iso', 'full-iso'] as const;
export type TimeStyle = (typeof TIME_STYLES)[number];

/** mtime in a time style of GNU ls, in the C locale. */
export function timeText(inode: TocInode, style: TimeStyle, nowMs = Date.now()): string {
  const { date, ymd, hm, second, zone } = localTime(inode);
  if (style === 'full-iso') return `${ymd} ${hm}:${second} ${zone}`;
  if (style === 'long-iso') return `${ymd} ${hm}`;
  const age = nowMs / 1000 - (inode.mtimeSec + inode.mtimeNsec / 1e9);
  const isRecent = age >= 0 && age < HALF_YEAR_SECONDS;
  if (style === 'iso') return isRecent ? `${ymd.slice(5)} ${hm}` : `${ymd} `;
  const day = `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)}`;
  return isRecent ? `${day} ${hm}` : `${day} ${String(date.getFullYear()).padStart(5)}`;
}

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

/** Powers of 1024 rounded up, as `-h` of GNU ls and du. */
export function humanSize(sizeBytes: number): string {
  let size = sizeBytes;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  if (unit === 0) return String(size);
  const tenths = Math.ceil(size * 10);
  if (tenths < 100) return `${Math.floor(tenths / 10)}.${tenths % 10}${UNITS[unit]}`;
  const whole = Math.ceil(size);
  return whole >= 1024 && unit < UNITS.length - 1 ? `1.0${UNITS[unit + 1]}` : `${whole}${UNITS[unit]}`;
}

/** One file for `--json`. `path` is as the command shows it. */
export function jsonFile(view: ImageView, inode: TocInode, path: ByteString): Record<string, unknown> {
  const isDevice = inode.type === 'char' || inode.type === 'block';
  const instant = BigInt(inode.mtimeSec) * 1_000_000_000n + BigInt(inode.mtimeNsec);
  return {
    ...jsonName('path', path),
    type: inode.type,
    mode: inode.mode.toString(8).padStart(4, '0'),
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.sizeBytes,
    blocks: dataBlocks(view.extents(inode.ino)),
    mtimeNs: String(instant),
    ino: inode.ino,
    ...(inode.layer === NO_LAYER ? {} : { layer: inode.layer }),
    ...(isDevice ? { rdev: `${inode.rdevMajor}:${inode.rdevMinor}` } : {}),
    ...(inode.type === 'symlink' ? jsonName('target', inode.target) : {}),
    ...(inode.xattrs === undefined
      ? {}
      : {
          xattrs: inode.xattrs.map(({ name, value }) => ({
            ...jsonName('name', name),
            value: value.toString('base64'),
          })),
        }),
  };
}
