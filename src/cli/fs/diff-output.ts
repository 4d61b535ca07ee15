/** What `lamina fs diff` prints: letters as git diff --name-status, packages with their versions. */
import type { ByteString, Xattrs } from '../../bytes.js';
import { utf8ToBytes } from '../../bytes.js';
import type { Aspect } from '../../image/compare/attributes.js';
import type { FileDifference } from '../../image/compare/diff.js';
import type { PackageChange, PackageComparison } from '../../image/compare/packages/compare.js';
import type { InstalledPackage } from '../../image/compare/packages/package.js';
import type { TreeInode } from '../../layer/tree.js';
import { formatSize } from '../output/sizes.js';
import type { DiffFlags } from './diff.js';
import { jsonName, jsonText } from './output.js';
import type { Output } from './output.js';

const LETTERS = { added: 'A', removed: 'D', modified: 'M' } as const;
const SIGNS = { installed: '+', removed: '-', upgraded: '^', downgraded: 'v', changed: '*' } as const;

/** @param files undefined where they were not compared */
export async function printDifferences(
  files: readonly FileDifference[] | undefined,
  packages: readonly PackageComparison[],
  flags: DiffFlags,
  out: Output,
): Promise<void> {
  if (flags.json === true) return printJson(files, packages, out);
  if (flags.stat === true) await printStat(files ?? [], out);
  else {
    for (const file of files ?? []) {
      const name = out.name(file.path);
      await out.print(
        flags.nameOnly === true ? `${name}\n` : `${LETTERS[file.kind]} ${name}${details(file, out)}\n`,
      );
    }
  }
  const shown = packages.filter(({ differs }) => differs);
  const isAfterFiles = (files ?? []).length > 0 || flags.stat === true;
  for (const [index, comparison] of shown.entries()) {
    if (isAfterFiles || index > 0) await out.print('\n');
    await out.print(packageHeading(comparison));
    if (flags.stat === true) continue;
    for (const change of comparison.changes)
      await out.print(`  ${out.name(utf8ToBytes(packageLine(change)))}\n`);
  }
}

function details(file: FileDifference, out: Output): ByteString {
  const { before, after, changed } = file;
  if (before === undefined || after === undefined || changed.length === 0) return '';
  return `  (${changed.map((aspect) => detail(aspect, before, after, out)).join(', ')})`;
}

/** `mode 0644 -> 0600` */
function detail(aspect: Aspect, a: TreeInode, b: TreeInode, out: Output): ByteString {
  if (aspect === 'xattrs') return `xattrs ${xattrChanges(a.xattrs, b.xattrs, out)}`;
  const value = (inode: TreeInode): ByteString => {
    switch (aspect) {
      case 'content':
        return `${inode.sizeBytes}`;
      case 'mode':
        return inode.mode.toString(8).padStart(4, '0');
      case 'owner':
        return `${inode.uid}:${inode.gid}`;
      case 'mtime':
        return timeOf(inode);
      case 'target':
        return out.name(inode.target);
      case 'device':
        return `${inode.rdevMajor}:${inode.rdevMinor}`;
      default:
        return String(inode[aspect]);
    }
  };
  if (aspect === 'content' && a.sizeBytes === b.sizeBytes) return `content, ${a.sizeBytes} bytes`;
  return `${aspect} ${value(a)} -> ${value(b)}${aspect === 'content' ? ' bytes' : ''}`;
}

/** ISO 8601, with nanoseconds where there are any. */
function timeOf({ mtimeSec, mtimeNsec }: TreeInode): string {
  const fraction = mtimeNsec === 0 ? '' : `.${String(mtimeNsec).padStart(9, '0')}`;
  const date = new Date(mtimeSec * 1000);
  if (Number.isNaN(date.getTime())) return `${mtimeSec}${fraction}`;
  return date.toISOString().replace(/\.\d+Z$/, `${fraction}Z`);
}

function xattrChanges(a: Xattrs = [], b: Xattrs = [], out: Output): ByteString {
  const valueIn = (list: Xattrs, name: ByteString): string | undefined =>
    list.find((one) => one.name === name)?.value.toString('latin1');
  const names = [...new Set([...a, ...b].map(({ name }) => name))].sort();
  return names
    .filter((name) => valueIn(a, name) !== valueIn(b, name))
    .map((name) => {
      const sign = valueIn(a, name) === undefined ? '+' : valueIn(b, name) === undefined ? '-' : '~';
      return `${sign}${out.name(name)}`;
    })
    .join(' ');
}

async function printStat(files: readonly FileDifference[], out: Output): Promise<void> {
  const rows = files.map((file) => ({ name: out.name(file.path), text: statText(file) }));
  const width = Math.min(80, Math.max(0, ...rows.map(({ name }) => name.length)));
  for (const { name, text } of rows) await out.print(`${name.padEnd(width)} | ${text}\n`);
  const count = (kind: FileDifference['kind']): number => files.filter((file) => file.kind === kind).length;
  const delta = files.reduce((sum, { before, after }) => sum + sizeOf(after) - sizeOf(before), 0);
  await out.print(
    `${count('added')} added, ${count('removed')} removed, ${count('modified')} modified, ${delta < 0 ? '-' : '+'}${formatSize(Math.abs(delta), 3)}\n`,
  );
}

function statText({ kind, before, after, changed }: FileDifference): string {
  if (before === undefined || after === undefined) {
    const inode = (before ?? after)!;
    return `${kind}, ${inode.type === 'file' ? `${inode.sizeBytes} bytes` : inode.type}`;
  }
  if (changed.includes('type')) return `${before.type} -> ${after.type}`;
  if (changed.includes('content') && before.sizeBytes !== after.sizeBytes)
    return `${before.sizeBytes} -> ${after.sizeBytes} bytes`;
  return changed.join(', ');
}

function sizeOf(inode: TreeInode | undefined): number {
  return inode?.type === 'file' ? inode.sizeBytes : 0;
}

function packageHeading({ manager, changes, counts, unread }: PackageComparison): string {
  if (unread !== undefined) return `Packages (${manager}): the database differs; ${utf8ToBytes(unread)}\n`;
  const kinds = (Object.keys(SIGNS) as PackageChange['kind'][])
    .map((kind) => ({ kind, count: changes.filter((change) => change.kind === kind).length }))
    .filter(({ count }) => count > 0)
    .map(({ kind, count }) => `${count} ${kind}`);
  return `Packages (${manager}): ${kinds.join(', ')} (${counts[0] ?? 'none'} -> ${counts[1] ?? 'none'})\n`;
}

function packageLine({ name, place, kind, before, after }: PackageChange): string {
  const isOtherArch = before !== undefined && after !== undefined && before.arch !== after.arch;
  const version = ({ version: text, arch }: InstalledPackage): string =>
    isOtherArch ? `${text} (${arch})` : text;
  const versions = [before, after].filter((one) => one !== undefined).map(version);
  return `${SIGNS[kind]} ${name} ${versions.join(' -> ')}${place === undefined ? '' : `  ${place}`}`;
}

async function printJson(
  files: readonly FileDifference[] | undefined,
  packages: readonly PackageComparison[],
  out: Output,
): Promise<void> {
  await out.print('{"files":');
  if (files === undefined) await out.print('null');
  else {
    await out.print('[');
    for (const [index, { path, kind, before, after, changed }] of files.entries()) {
      const value = {
        ...jsonName('path', path),
        kind,
        changed,
        before: jsonInode(before),
        after: jsonInode(after),
      };
      await out.print(`${index === 0 ? '' : ','}\n${jsonText(value)}`);
    }
    await out.print('\n]');
  }
  await out.print(',\n"packages":[');
  for (const [index, { manager, counts, changes, unread, differs }] of packages.entries()) {
    const [before, after] = counts;
    const value = { manager, before: before ?? null, after: after ?? null, differs, unread, changes };
    await out.print(`${index === 0 ? '' : ','}\n${jsonText(value)}`);
  }
  await out.print('\n]}\n');
}

function jsonInode(inode: TreeInode | undefined): object | undefined {
  if (inode === undefined) return undefined;
  const isDevice = inode.type === 'char' || inode.type === 'block';
  return {
    type: inode.type,
    mode: inode.mode.toString(8).padStart(4, '0'),
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.sizeBytes,
    mtimeNs: String(BigInt(inode.mtimeSec) * 1_000_000_000n + BigInt(inode.mtimeNsec)),
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
