/**
 * `container check`: whether an upper directory says what overlayfs's format allows, and nothing that leads nowhere. Each problem has a
 * repair that changes nothing of what the container shows, but where a file's content is lost. The invariants are those of
 * overlayfs-progs' fsck (whiteouts, redirects, impure directories) and of fs/overlayfs/namei.c.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer, displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { followRedirect } from '../layer/overlaid.js';
import type { TreeReader } from '../layer/tree.js';
import { ROOT_INO } from '../layer/tree.js';
import {
  isWhiteoutDevice,
  isWhiteoutEntry,
  opaqueValue,
  overrideOf,
  parseOverride,
  parseRedirect,
  S_IFMT,
} from '../layer/upper.js';
import type { DiskEntry, OverlayPrefix } from '../layer/upper.js';
import { Applier } from './apply.js';
import { openBase } from './base.js';
import { keptFiles } from './check-links.js';
import { overlayPrefix } from './open.js';
import { withMount } from './private-mount.js';
import type { ContainerRecord } from '../store/container-record.js';
import { scanDirectory } from './scan.js';
import type { ContainerStore } from './store.js';

export interface Problem {
  /** In the container; of a leftover its place below `work`. */
  path: ByteString;
  what: string;
}

type Repair =
  | { kind: 'removeXattr'; name: ByteString }
  /** The directory stays what it shows now: nothing of a lower one. */
  | { kind: 'makeOpaque'; removed: ByteString }
  | { kind: 'remove' };

interface Finding extends Problem {
  node: Node;
  repair: Repair;
}

/** Attributes that overlayfs keeps. All that begin with `lamina.` are ours, also a later version's; others with the prefix mean nothing. */
const KNOWN = new Set([
  'opaque',
  'redirect',
  'metacopy',
  'whiteout',
  'origin',
  'impure',
  'nlink',
  'upper',
  'uuid',
  'protattr',
]);

interface Node {
  path: ByteString;
  disk: DiskEntry;
  parent: Node | undefined;
  children: Node[];
}

/**
 * Everything that is wrong with a container's own layer; with `repair` it is put right.
 * Raises EINUSE when the container is mounted, EBASE, what the system says, and, where a repair needs a mount, what mounting raises.
 */
export async function checkContainer(
  store: ContainerStore,
  record: ContainerRecord,
  repair: boolean,
): Promise<Problem[]> {
  const held = await store.holdSoon(record);
  if (held === undefined)
    throw new LaminaError('EINUSE', `cannot check container "/${record.name}": container is mounted`);
  let problems: Problem[];
  let isUnfinished = false;
  try {
    const base = await openBase(record);
    try {
      const upper = store.upperOf(record);
      const toc = await base.toc();
      const root = treeOf(await scanDirectory(upper));
      const checker = new Checker(toc, overlayPrefix(record), overrideOf(root.disk));
      checker.check(root, ROOT_INO);
      const leftovers = await leftoversIn(store.workOf(record), overlayPrefix(record));
      const kept = await keptFiles(store.workOf(record), overlayPrefix(record), toc);
      isUnfinished = kept.some((one) => one.isUnfinished);
      if (repair) {
        await repairAll(upper, checker.findings, overlayPrefix(record));
        const removed = [...leftovers, ...kept.filter((one) => !one.isUnfinished)];
        for (const { file } of removed) await rm(file, { recursive: true, force: true });
      }
      problems = [...checker.findings, ...leftovers, ...kept];
    } finally {
      base.close();
    }
  } finally {
    held.release();
  }
  if (repair && isUnfinished) await withMount(store, record, () => Promise.resolve());
  return problems;
}

function treeOf(entries: readonly DiskEntry[]): Node {
  const ancestors: Node[] = [];
  for (const disk of entries) {
    ancestors.length = Math.min(ancestors.length, disk.depth);
    const parent = ancestors.at(-1);
    const path = parent === undefined || parent.path === '' ? disk.name : `${parent.path}/${disk.name}`;
    const node = { path, disk, parent, children: [] };
    parent?.children.push(node);
    ancestors.push(node);
  }
  return ancestors[0]!;
}

class Checker {
  readonly findings: Finding[] = [];
  readonly #redirected = new Map<number, Node>();

  constructor(
    private readonly lower: TreeReader,
    private readonly prefix: OverlayPrefix,
    private readonly override: ByteString | undefined,
  ) {}

  /** @param lowerIno the lower directory that shows through, if any */
  check(node: Node, lowerIno: number | undefined): void {
    this.#attributes(node);
    const below = opaqueValue(node.disk, this.prefix) === 'y' ? undefined : lowerIno;
    for (const child of node.children) {
      const lowerChild = below === undefined ? undefined : this.lower.lookup(below, child.disk.name);
      if (isWhiteoutEntry(child.disk, node.disk, this.prefix)) {
        if (lowerChild === undefined) this.#find(child, 'a whiteout that hides nothing', { kind: 'remove' });
        continue;
      }
      this.#child(child, below, lowerChild);
    }
  }

  #child(node: Node, parentLower: number | undefined, lowerChild: number | undefined): void {
    const type = node.disk.mode & S_IFMT;
    const metacopy = type === 0o100000 && this.#own(node, 'metacopy') !== undefined;
    if (type !== 0o040000 && !metacopy) return this.#attributes(node);
    const value = this.#own(node, 'redirect');
    const redirect = value === undefined ? undefined : parseRedirect(value);
    const target = redirect === undefined ? lowerChild : followRedirect(this.lower, redirect, parentLower);
    const targetType = target === undefined ? undefined : this.lower.inode(target).type;
    if (metacopy) {
      this.#attributes(node);
      if (targetType !== 'file')
        this.#find(node, 'its content was to come from the image, which has no such file', {
          kind: 'remove',
        });
      return;
    }
    if (redirect !== undefined && targetType !== 'dir') {
      const what = `its redirect leads to "${displayBytes(redirect)}", which is no directory of the image`;
      this.#find(node, what, { kind: 'makeOpaque', removed: `${this.prefix}redirect` });
    } else if (redirect !== undefined) {
      const other = this.#redirected.get(target!);
      if (other !== undefined)
        this.#find(node, `its redirect leads where that of ${displayBytes(`/${other.path}`)} does`, {
          kind: 'makeOpaque',
          removed: `${this.prefix}redirect`,
        });
      this.#redirected.set(target!, node);
    }
    this.check(node, targetType === 'dir' ? target : undefined);
  }

  /** The union's own attributes, each by itself. */
  #attributes(node: Node): void {
    const type = node.disk.mode & S_IFMT;
    const isDirectory = type === 0o040000;
    for (const { name, value } of node.disk.xattrs) {
      const bad = (what: string): void => this.#find(node, what, { kind: 'removeXattr', name });
      if (name === this.override) {
        if (parseOverride(value) === undefined) bad(`${name} cannot be read`);
        continue;
      }
      if (!name.startsWith(this.prefix)) continue;
      const inner = name.slice(this.prefix.length);
      if (inner.startsWith('overlay.') || inner.startsWith('lamina.')) continue;
      const shown = displayBytes(name);
      if (!KNOWN.has(inner)) bad(`the attribute ${shown} means nothing`);
      else if (inner === 'opaque' && (!isDirectory || !/^[xy]$/.test(value.toString('latin1'))))
        bad(`the attribute ${shown} is neither "y" nor "x", or not on a directory`);
      else if (inner === 'metacopy' && type !== 0o100000) bad(`the attribute ${shown} is not on a file`);
      // The kernel leaves it on a file whose content was copied up after all.
      else if (inner === 'redirect' && !isDirectory && type !== 0o100000)
        bad(`the attribute ${shown} is on something that has nothing in the image`);
      else if (inner === 'redirect' && parseRedirect(value) === undefined)
        bad(`the attribute ${shown} is no path: "${displayBytes(value.toString('latin1'))}"`);
    }
  }

  #own({ disk }: Node, name: string): Buffer | undefined {
    return disk.xattrs.find((xattr) => xattr.name === this.prefix + name)?.value;
  }

  #find(node: Node, what: string, repair: Repair): void {
    this.findings.push({ path: `/${node.path}`, what, node, repair });
  }
}

/** Half-done work is made below `work/work`, and nothing is left there when nobody works, but a whiteout for others to be links to. */
async function leftoversIn(work: string, prefix: OverlayPrefix): Promise<(Problem & { file: Buffer })[]> {
  const directory = path.join(work, 'work');
  const entries = existsSync(directory) ? await scanDirectory(directory, { depth: 1 }) : [];
  return entries
    .filter(
      (entry) =>
        entry.depth > 0 &&
        !isWhiteoutDevice(entry) &&
        !entry.xattrs.some(({ name }) => name === `${prefix}whiteout`),
    )
    .map(({ name }) => ({
      path: `work/work/${name}`,
      what: 'left by a server that was killed',
      file: Buffer.concat([Buffer.from(`${directory}/`), bytesToBuffer(name)]),
    }));
}

/** Names first, then attributes; and what the names stood in gets its times back. */
async function repairAll(upper: string, findings: readonly Finding[], prefix: OverlayPrefix): Promise<void> {
  if (findings.length === 0) return;
  const removed = findings.filter(({ repair }) => repair.kind === 'remove').map(({ node }) => node);
  for (const { path: name } of removed)
    await rm(Buffer.concat([Buffer.from(`${upper}/`), bytesToBuffer(name)]) as unknown as string, {
      force: true,
    });
  const applier = new Applier(upper, { chown: process.getuid?.() === 0, noLinks: true });
  for (const { node, repair } of findings) {
    if (repair.kind === 'removeXattr') await applier.removeXattr(node.path, repair.name);
    if (repair.kind !== 'makeOpaque') continue;
    await applier.removeXattr(node.path, repair.removed);
    await describe(applier, node, [{ name: `${prefix}opaque`, value: Buffer.from('y') }]);
  }
  for (const parent of new Set(removed.map((node) => node.parent!))) await describe(applier, parent, []);
  await applier.finish('cannot repair');
}

/** A directory as it was, with some more attributes. */
async function describe(
  applier: Applier,
  { path: name, disk }: Node,
  xattrs: { name: ByteString; value: Buffer }[],
): Promise<void> {
  await applier.put(name, {
    ...disk,
    type: 'dir',
    mode: disk.mode & 0o7777,
    sizeBytes: 0,
    target: '',
    xattrs,
  });
}
