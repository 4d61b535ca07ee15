/** What `lamina fs ls` prints. Columns and their order are those of GNU ls 9 (src/ls.c, print_long_format). */
import type { ByteString } from '../../bytes.js';
import { compareBytes } from '../../bytes.js';
import type { TocInode } from '../../merge/toc-reader.js';
import { joinPath, parentPath } from '../../merge/view.js';
import type { ImageView, Located } from '../../merge/view.js';
import { dataBlocks } from '../../merge/view-read.js';
import { Accounts, humanSize, jsonFile, modeText, timeText } from './attributes.js';
import type { TimeStyle } from './attributes.js';
import type { Reading } from './image.js';
import type { LsFlags } from './ls.js';
import { JsonArray } from './output.js';
import type { Output } from './output.js';

interface Row {
  /** As it is shown. */
  name: ByteString;
  path: ByteString;
  inode: TocInode;
}

export class Listing {
  readonly #view: ImageView;
  readonly #out: Output;
  readonly #flags: LsFlags;
  readonly #timeStyle: TimeStyle;
  readonly #isLong: boolean;
  readonly #accounts: Accounts | undefined;
  readonly #json: JsonArray | undefined;
  #isFirst = true;

  constructor({ view, out }: Reading, flags: LsFlags, timeStyle: TimeStyle) {
    this.#view = view;
    this.#out = out;
    this.#flags = flags;
    this.#timeStyle = timeStyle;
    this.#isLong = flags.long === true || flags.numericUidGid === true;
    if (this.#isLong && flags.numericUidGid !== true) this.#accounts = new Accounts(view);
    if (flags.json === true) this.#json = new JsonArray(out);
  }

  /** Files first, then directories with what is in them. Nothing is printed when a path does not exist. */
  async list(paths: readonly ByteString[]): Promise<void> {
    const { recursive, directory } = this.#flags;
    // As ls: a link to a directory is followed where the directory's content is asked for.
    const given = paths.map((path) => this.#row(path, this.#locate(path)));
    const isListed = ({ inode }: Row): boolean => inode.type === 'dir' && directory !== true;
    const files = this.#sorted(given.filter((row) => !isListed(row)));
    if (files.length > 0) await this.#rows(files);
    const ahead = this.#sorted(given.filter(isListed)).reverse();
    const showsNames = recursive === true || paths.length > 1;
    for (let row = ahead.pop(); row !== undefined; row = ahead.pop()) {
      const rows = this.#sorted(this.#children(row));
      if (showsNames && this.#json === undefined) await this.#heading(row.name);
      if (this.#isLong && this.#json === undefined) await this.#total(rows);
      await this.#rows(rows);
      if (recursive === true) ahead.push(...this.#subdirectories(row, rows));
    }
    await this.#json?.end();
  }

  #locate(path: ByteString): Located {
    const followed = this.#flags.directory === true || this.#isLong ? undefined : this.#tryFollow(path);
    if (followed !== undefined && this.#view.toc.inode(followed.ino).type === 'dir') return followed;
    return this.#view.locate(path, { follow: false, syscall: 'lstat' });
  }

  /** A link that leads nowhere is listed itself. */
  #tryFollow(path: ByteString): Located | undefined {
    try {
      return this.#view.locate(path);
    } catch {
      return undefined;
    }
  }

  #row(name: ByteString, { ino, path }: Located): Row {
    return { name, path, inode: this.#view.toc.inode(ino) };
  }

  #children({ path, inode }: Row): Row[] {
    const { all, almostAll } = this.#flags;
    const rows: Row[] = this.#view.toc
      .entries(inode.ino)
      .filter(({ name }) => all === true || almostAll === true || !name.startsWith('.'))
      .map(({ name, ino }) => this.#row(name, { ino, path: joinPath(path, name) }));
    if (all !== true) return rows;
    return [
      this.#row('.', { ino: inode.ino, path }),
      this.#row('..', { ino: inode.parent, path: parentPath(path) }),
      ...rows,
    ];
  }

  #subdirectories(parent: Row, rows: readonly Row[]): Row[] {
    return rows
      .filter(({ name, inode }) => inode.type === 'dir' && name !== '.' && name !== '..')
      .map((row) => ({ ...row, name: joinPath(parent.name, row.name) }))
      .reverse();
  }

  #sorted(rows: readonly Row[]): Row[] {
    const { sortBySize, sortByTime, reverse } = this.#flags;
    const sorted = [...rows].sort((a, b) => {
      const byName = compareBytes(a.name, b.name);
      if (sortByTime === true) {
        return b.inode.mtimeSec - a.inode.mtimeSec || b.inode.mtimeNsec - a.inode.mtimeNsec || byName;
      }
      return (sortBySize === true ? b.inode.sizeBytes - a.inode.sizeBytes : 0) || byName;
    });
    return reverse === true ? sorted.reverse() : sorted;
  }

  async #heading(name: ByteString): Promise<void> {
    await this.#out.print(`${this.#isFirst ? '' : '\n'}${this.#out.name(name)}:\n`);
    this.#isFirst = false;
  }

  /** In KiB, as ls counts st_blocks. */
  async #total(rows: readonly Row[]): Promise<void> {
    const blocks = rows.reduce((sum, { inode }) => sum + dataBlocks(this.#view.extents(inode.ino)), 0);
    const shown = this.#flags.humanReadable === true ? humanSize(blocks * 512) : Math.ceil(blocks / 2);
    await this.#out.print(`total ${shown}\n`);
  }

  async #rows(rows: readonly Row[]): Promise<void> {
    this.#isFirst = false;
    if (this.#json !== undefined) {
      for (const { inode, path } of rows) await this.#json.add(jsonFile(this.#view, inode, path));
      return;
    }
    const cells = rows.map((row) => this.#cells(row));
    const widths = new Widths(cells);
    for (const [index, row] of rows.entries()) {
      const target =
        this.#isLong && row.inode.type === 'symlink' ? ` -> ${this.#out.name(row.inode.target)}` : '';
      await this.#out.print(`${widths.format(cells[index]!)}${this.#out.name(row.name)}${target}\n`);
    }
  }

  #cells({ inode }: Row): Cells {
    const number = this.#flags.inode === true ? String(inode.ino) : undefined;
    if (!this.#isLong) return { number };
    const isDevice = inode.type === 'char' || inode.type === 'block';
    return {
      number,
      long: {
        mode: modeText(inode),
        nlink: String(inode.nlink),
        user: this.#accounts?.userName(inode.uid) ?? inode.uid,
        group: this.#accounts?.groupName(inode.gid) ?? inode.gid,
        size: isDevice
          ? [String(inode.rdevMajor), String(inode.rdevMinor)]
          : this.#flags.humanReadable === true
            ? humanSize(inode.sizeBytes)
            : String(inode.sizeBytes),
        time: timeText(inode, this.#timeStyle),
      },
    };
  }
}

interface Cells {
  number: string | undefined;
  long?: {
    mode: string;
    nlink: string;
    /** A name, or a number where there is none. */
    user: ByteString | number;
    group: ByteString | number;
    /** Major and minor of a device. */
    size: string | [major: string, minor: string];
    time: string;
  };
}

/** How wide each column of one listing is. */
class Widths {
  #number = 0;
  #mode = 0;
  #nlink = 0;
  #user = 0;
  #group = 0;
  #size = 0;
  #minor = 0;
  #time = 0;

  constructor(rows: readonly Cells[]) {
    let major = 0;
    for (const { number = '', long } of rows) {
      this.#number = Math.max(this.#number, number.length);
      if (long === undefined) continue;
      this.#mode = Math.max(this.#mode, long.mode.length);
      this.#nlink = Math.max(this.#nlink, long.nlink.length);
      this.#user = Math.max(this.#user, String(long.user).length);
      this.#group = Math.max(this.#group, String(long.group).length);
      this.#time = Math.max(this.#time, long.time.length);
      if (typeof long.size === 'string') this.#size = Math.max(this.#size, long.size.length);
      else {
        major = Math.max(major, long.size[0].length);
        this.#minor = Math.max(this.#minor, long.size[1].length);
      }
    }
    if (this.#minor > 0) this.#size = Math.max(this.#size, major + 2 + this.#minor);
  }

  /** All columns but the name, with a space after each. */
  format({ number, long }: Cells): ByteString {
    const prefix = number === undefined ? '' : `${number.padStart(this.#number)} `;
    if (long === undefined) return prefix;
    const owner = (value: ByteString | number, width: number): ByteString =>
      typeof value === 'number' ? String(value).padStart(width) : value.padEnd(width);
    const size =
      typeof long.size === 'string'
        ? long.size
        : `${long.size[0].padStart(this.#size - this.#minor - 2)}, ${long.size[1].padStart(this.#minor)}`;
    const cells = [
      long.mode.padEnd(this.#mode),
      long.nlink.padStart(this.#nlink),
      owner(long.user, this.#user),
      owner(long.group, this.#group),
      size.padStart(this.#size),
      long.time.padEnd(this.#time),
    ];
    return `${prefix}${cells.join(' ')} `;
  }
}
