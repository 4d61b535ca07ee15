/** The texts of `lamina fs stat`: GNU stat's own form and its directives (coreutils, src/stat.c). An image keeps one time, mtime. */
import type { ByteString } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import { NO_LAYER } from '../../layer/tree.js';
import type { NodeType } from '../../layer/tree.js';
import type { TocInode } from '../../merge/toc-reader.js';
import { dataBlocks } from '../../merge/view-read.js';
import { statMode } from '../../merge/view-stat.js';
import { Accounts, modeText, timeText } from './attributes.js';
import type { Reading } from './image.js';

const TYPE_NAMES: Record<NodeType, string> = {
  file: 'regular file',
  dir: 'directory',
  symlink: 'symbolic link',
  char: 'character special file',
  block: 'block special file',
  fifo: 'fifo',
  socket: 'socket',
  whiteout: 'whiteout',
  link: 'link',
};

const BLOCK_SIZE = 4096;

export class StatPrinter {
  readonly #accounts: Accounts;

  constructor(private readonly reading: Reading) {
    this.#accounts = new Accounts(reading.view);
  }

  /** Several lines, as stat without a format. */
  describe(path: ByteString, inode: TocInode): ByteString {
    const { opened, out } = this.reading;
    const fill = (format: ByteString): ByteString => this.format(format, path, inode);
    const isDevice = inode.type === 'char' || inode.type === 'block';
    const lines = [
      `  File: ${fill('%N')}`,
      fill('  Size: %s').padEnd(18) + fill('\tBlocks: %b').padEnd(20) + fill('IO Block: %o   %F'),
      `  ${`Inode: ${inode.ino}`.padEnd(20)}Links: ${inode.nlink}${isDevice ? fill('     Device type: %Hr,%Lr') : ''}`,
      fill('Access: (%4a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)'),
      fill('Modify: %y'),
    ];
    const { layers } = opened.archived;
    if (inode.layer === NO_LAYER) lines.push(' Layer: none describes it');
    else lines.push(` Layer: ${inode.layer} of ${layers.length}, ${layers[inode.layer]?.diffId ?? ''}`);
    for (const { name, value } of inode.xattrs ?? [])
      lines.push(` Xattr: ${out.name(name)}=0x${value.toString('hex')}`);
    return `${lines.join('\n')}\n`;
  }

  /** Replaces the directives of GNU stat's `-c`. Raises EUSAGE for one that it does not know. */
  format(format: ByteString, path: ByteString, inode: TocInode): ByteString {
    return format.replace(
      /%([-#0 +']*)(\d*)([HL]?[a-zA-Z%])/g,
      (_, flags: string, width: string, name: string) => {
        if (name === '%') return '%';
        const value = this.#value(name, path, inode);
        const digits = Number(width || 0);
        if (flags.includes('-')) return value.padEnd(digits);
        // %a is octal: GNU pads it, and only it of ours, with zeros where a width is given in its own form.
        return value.padStart(digits, flags.includes('0') || name === 'a' ? '0' : ' ');
      },
    );
  }

  #value(directive: string, path: ByteString, inode: TocInode): ByteString {
    const { view, out } = this.reading;
    switch (directive) {
      case 'n':
        return out.name(path);
      case 'N':
        return inode.type === 'symlink'
          ? `${quoted(out.name(path))} -> ${quoted(out.name(inode.target))}`
          : quoted(out.name(path));
      case 's':
        return String(inode.sizeBytes);
      case 'b':
        return String(dataBlocks(view.extents(inode.ino)));
      case 'B':
        return '512';
      case 'o':
        return String(BLOCK_SIZE);
      case 'a':
        return inode.mode.toString(8);
      case 'A':
        return modeText(inode, false);
      case 'f':
        return statMode(inode).toString(16);
      case 'F':
        return inode.type === 'file' && inode.sizeBytes === 0 ? 'regular empty file' : TYPE_NAMES[inode.type];
      case 'h':
        return String(inode.nlink);
      case 'i':
        return String(inode.ino);
      case 'u':
        return String(inode.uid);
      case 'g':
        return String(inode.gid);
      case 'U':
        return this.#accounts.userName(inode.uid) ?? 'UNKNOWN';
      case 'G':
        return this.#accounts.groupName(inode.gid) ?? 'UNKNOWN';
      case 't':
        return inode.rdevMajor.toString(16);
      case 'T':
        return inode.rdevMinor.toString(16);
      case 'Hr':
        return String(inode.rdevMajor);
      case 'Lr':
        return String(inode.rdevMinor);
      case 'x':
      case 'y':
      case 'z':
        return timeText(inode, 'full-iso');
      case 'X':
      case 'Y':
      case 'Z':
        return String(inode.mtimeSec);
      default:
        throw new LaminaError('EUSAGE', `unknown directive "%${directive}" of stat`, {
          hint: 'Known are: n N s b B o a A f F h i u g U G t T Hr Lr x y z X Y Z.',
        });
    }
  }
}

/** As a shell would take it, where that needs quotes. */
function quoted(name: ByteString): ByteString {
  return /^[\w@%+=:,./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
