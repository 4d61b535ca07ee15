/** The canonical dump (FORMAT.md, "Canonical dump") of a real directory, made by dump_directory.py. */
import { python } from './python.js';

export interface DumpOptions {
  /** false: `?` stands for every link count. Kernel overlayfs counts names that upper layers hide. */
  nlink?: boolean;
  /** true: names that are listed but cannot be stat'ed are left out (kernel overlayfs lists stray whiteouts). */
  skipVanished?: boolean;
}

/** Dumps the tree at `root`, one line per name. Reads every file. */
export function dumpDirectory(root: string, options: DumpOptions = {}): Promise<string> {
  const args = [root];
  if (options.nlink === false) args.push('--no-nlink');
  if (options.skipVanished === true) args.push('--skip-vanished');
  return python('dump_directory.py', args);
}

/** A dump with `?` for every link count: for comparing ours with one made with `nlink: false`. */
export function blankNlink(dump: string): string {
  return dump
    .split('\n')
    .map((line) => {
      const fields = line.split(' ');
      if (fields.length === 10 && fields[3] !== '-') fields[3] = '?';
      return fields.join(' ');
    })
    .join('\n');
}
