/**
 * Random scripts of system calls (test/helpers/script.py) over a small random stack. Few names, so that calls meet; most paths
 * are ones that should exist, by a model of the tree that is right about names and kinds and cares for nothing else.
 */
import type { Layer, Stack } from '../helpers/stack.js';
import { dir, fifo, file, hardlink, opaque, symlink, whiteout } from '../helpers/stack.js';
import { random } from './random-stack.js';

type Kind = 'file' | 'dir' | 'other';
export type Line = string | { parallel: string[][] };

export interface RandomScript {
  lower: Stack;
  lines: Line[];
}

export interface ScriptOptions {
  count: number;
  /** Mount each upper by the other now and then. Then the lower has no hard links: the kernel finds some by its index alone. */
  swaps?: boolean;
  /** Calls that only a union treats in a special way. */
  escapes?: boolean;
}

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', '%ff%fe', '{n*30}'];
const MODES = ['644', '755', '600', '4755', '2755', '1777', '0', '700', '666', '777'];
const IDS = ['0', '1', '1000', '65534'];
const USERS = ['@1000:1000 ', '@2000:1000,50 '];
const STAT = 'type mode links uid gid length age rdev';
const PROCESSES = 3;

export function randomScript(seed: number, options: ScriptOptions): RandomScript {
  const next = random(seed);
  const tree = new Tree();
  const lower = new LowerGenerator(next, tree, options.swaps !== true).stack();
  return { lower, lines: new ScriptGenerator(next, tree, options).lines() };
}

/** Path (in the words of a script) -> kind. */
class Tree {
  kinds = new Map<string, Kind>();

  children(path: string): string[] {
    const prefix = path === '' ? '' : `${path}/`;
    return [...this.kinds.keys()].filter((one) => one.startsWith(prefix) && one !== path);
  }

  remove(path: string): void {
    for (const below of this.children(path)) this.kinds.delete(below);
    this.kinds.delete(path);
  }

  move(from: string, to: string): void {
    const moved = [from, ...this.children(from)].map((path) => [path, this.kinds.get(path)!] as const);
    this.remove(from);
    this.remove(to);
    for (const [path, kind] of moved) this.kinds.set(`${to}${path.slice(from.length)}`, kind);
  }
}

class Chooser {
  constructor(protected readonly next: () => number) {}

  protected below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  protected pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  protected chance(probability: number): boolean {
    return this.next() < probability;
  }
}

/** Two or three layers: the lowest has most, those above add, replace, hide and make opaque. */
class LowerGenerator extends Chooser {
  constructor(
    next: () => number,
    private readonly tree: Tree,
    private readonly hasLinks: boolean,
  ) {
    super(next);
  }

  stack(): Stack {
    const layers: Layer[] = [this.#bottom()];
    for (let more = 1 + this.below(2); more > 0; more--) layers.push(this.#above());
    return layers;
  }

  #directories(): string[] {
    return ['', ...[...this.tree.kinds].filter(([, kind]) => kind === 'dir').map(([path]) => path)];
  }

  #free(): string {
    for (let tries = 0; ; tries++) {
      const parent = tries < 20 ? this.pick(this.#directories()) : '';
      const name = tries < 20 ? this.pick(NAMES) : `l${tries}`;
      const path = parent === '' ? name : `${parent}/${name}`;
      if (!this.tree.kinds.has(path) && path.split('/').length < 5) return path;
    }
  }

  #attributes(kind: Kind): object {
    return {
      ...(this.chance(0.3) && { mode: this.pick([0o600, 0o755, 0o4711, 0o777]) }),
      ...(this.chance(0.3) && { uid: this.pick([1, 1000]), gid: this.pick([1, 1000]) }),
      ...(kind !== 'other' && this.chance(0.2) && { xattrs: [['user.k', 'lower'] as const] }),
    };
  }

  #entry(): Layer[number] {
    const path = this.#free();
    const choice = this.next();
    const kind = choice < 0.4 ? 'dir' : choice < 0.88 ? 'file' : 'other';
    this.tree.kinds.set(path, kind);
    const real = asBytes(path);
    if (kind === 'dir') return dir(real, this.#attributes(kind));
    if (kind === 'other') return this.chance(0.6) ? symlink(real, 'a/b') : fifo(real, this.#attributes(kind));
    const length = this.pick([0, 3, 100, 4096, 10_000]);
    return file(real, real.slice(-1).repeat(length), this.#attributes(kind));
  }

  #bottom(): Layer {
    const layer = [dir('.', { mode: 0o777 })];
    for (let count = 8 + this.below(14); count > 0; count--) layer.push(this.#entry());
    const files = [...this.tree.kinds].filter(([, kind]) => kind === 'file').map(([path]) => path);
    if (!this.hasLinks || files.length === 0) return layer;
    for (let count = this.below(4); count > 0; count--) {
      const [target, path] = [this.pick(files), this.#free()];
      this.tree.kinds.set(path, 'file');
      const { mode, uid, gid, xattrs } = layer.find((entry) => entry.path === asBytes(target)) ?? {};
      layer.push({
        ...hardlink(asBytes(path), asBytes(target)),
        ...(mode === undefined ? {} : { mode }),
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
        ...(xattrs === undefined ? {} : { xattrs }),
      });
    }
    return layer;
  }

  /** Hides no name of a hard link: the kernel would go on counting it. */
  #above(): Layer {
    const layer = [dir('.', { mode: 0o777 })];
    const alone = [...this.tree.kinds].filter(([, kind]) => kind !== 'file' || !this.hasLinks);
    for (let count = this.below(3); count > 0 && alone.length > 0; count--) {
      const [path, kind] = this.pick(alone);
      const below = this.tree.children(path);
      const isKept = this.hasLinks && below.some((one) => this.tree.kinds.get(one) === 'file');
      const isMarked = layer.some(
        (entry) => entry.path.startsWith(asBytes(path)) || asBytes(path).startsWith(`${entry.path}/`),
      );
      if (!this.tree.kinds.has(path) || isKept || isMarked) continue;
      if (kind === 'dir' && this.chance(0.5)) {
        for (const one of below) this.tree.remove(one);
        layer.push(dir(asBytes(path)), opaque(asBytes(path)));
      } else {
        this.tree.remove(path);
        layer.push(whiteout(asBytes(path)));
      }
    }
    const hidden = layer.filter((entry) => entry.kind === 'whiteout').map((entry) => entry.path);
    for (let count = 2 + this.below(8); count > 0; count--) {
      const before = [...this.tree.kinds.keys()];
      const entry = this.#entry();
      if (!hidden.some((path) => entry.path === path || entry.path.startsWith(`${path}/`))) layer.push(entry);
      else for (const path of this.tree.kinds.keys()) if (!before.includes(path)) this.tree.remove(path);
    }
    return layer;
  }
}

class ScriptGenerator extends Chooser {
  #handles = 0;
  #openHandles: string[] = [];
  #serial = 0;
  /** Where all paths lie: of one of several processes. */
  #root = '';

  constructor(
    next: () => number,
    private readonly tree: Tree,
    private readonly options: ScriptOptions,
  ) {
    super(next);
  }

  lines(): Line[] {
    const lines: Line[] = [];
    for (let index = 0; index < this.options.count; index++) {
      const choice = this.next();
      if (choice < 0.012) lines.push(...this.#remount('remount'));
      else if (choice < 0.03 && this.options.swaps === true) lines.push(...this.#remount('swap'));
      else if (choice < 0.04) lines.push(...this.#parallel());
      else lines.push(...this.#calls());
    }
    if (this.options.swaps === true) lines.push('swap', ...this.#calls(), ...this.#calls(), 'swap');
    return [...lines, 'remount'];
  }

  #remount(how: 'remount' | 'swap'): Line[] {
    this.#openHandles = [];
    return [how];
  }

  /** Processes that each move, fill and empty a subtree of their own, which holds something of the lower. */
  #parallel(): Line[] {
    const before: string[] = [];
    const parallel: string[][] = [];
    const handles = this.#openHandles;
    for (let process = 0; process < PROCESSES; process++) {
      const root = `p${this.#serial++}`;
      before.push(`mkdir ${root} 777`);
      this.tree.kinds.set(root, 'dir');
      const taken = this.#existing(() => true);
      if (taken !== undefined && !/^p\d/.test(taken) && this.chance(0.8)) {
        before.push(`rename ${taken} ${root}/a`);
        this.tree.move(taken, `${root}/a`);
      }
      this.#root = `${root}/`;
      this.#openHandles = [];
      const lines: string[] = [];
      for (let count = 10 + this.below(20); count > 0; count--) lines.push(...this.#calls());
      parallel.push(lines);
    }
    this.#root = '';
    this.#openHandles = handles;
    return [...before, { parallel }];
  }

  #existing(fits: (kind: Kind) => boolean): string | undefined {
    const all = [...this.tree.kinds].filter(([path, kind]) => path.startsWith(this.#root) && fits(kind));
    return all.length === 0 ? undefined : this.pick(all)[0];
  }

  #new(): string {
    const parent = this.chance(0.3) ? undefined : this.#existing((kind) => kind === 'dir');
    const name = this.chance(0.85) ? this.pick(NAMES) : `x${this.#serial++}`;
    const path = parent === undefined ? `${this.#root}${name}` : `${parent}/${name}`;
    return path.split('/').length > 7 ? `${this.#root}${name}` : path;
  }

  /** Mostly a path of the kind, now and then any. */
  #path(kind?: Kind): string {
    if (this.chance(0.12)) return this.#new();
    return this.#existing((one) => kind === undefined || one === kind) ?? this.#new();
  }

  #calls(): string[] {
    const choice = this.next();
    const user = this.chance(0.06) ? this.pick(USERS) : '';
    if (choice < 0.13) return [user + this.#makeFile()];
    if (choice < 0.22) return [user + this.#rename()];
    if (choice < 0.31) return [user + this.#remove()];
    if (choice < 0.45) return [user + this.#make()];
    if (choice < 0.62) return [user + this.#attribute()];
    if (choice < 0.78) return this.#handle();
    return [user + this.#look()];
  }

  #text(): string {
    return `{${this.pick(['x', 'y', 'z'])}*${this.pick([1, 5, 300, 5000])}}`;
  }

  #makeFile(): string {
    // Whether truncating to the same length moves mtime is for each filesystem to decide: lengths seldom meet.
    if (this.chance(0.2)) return `truncate ${this.#path('file')} ${1 + this.below(20_000)}`;
    const path = this.chance(0.5) ? this.#new() : this.#path('file');
    const flags = this.pick(['O_CREAT|O_TRUNC', 'O_CREAT|O_APPEND', 'O_APPEND', 'O_CREAT|O_EXCL', 'O_CREAT']);
    if (!this.tree.kinds.has(path) && flags.includes('O_CREAT')) this.tree.kinds.set(path, 'file');
    return `put ${path} ${this.#text()} O_WRONLY|${flags}`;
  }

  #rename(): string {
    const isDirectory = this.chance(0.5);
    const from = this.#path(isDirectory ? 'dir' : undefined);
    const to = this.chance(0.5) ? this.#new() : this.#path(isDirectory ? 'dir' : undefined);
    const choice = this.next();
    const isInside = to === from || to.startsWith(`${from}/`) || from.startsWith(`${to}/`);
    if (choice < 0.15) {
      if (!isInside && this.tree.kinds.has(from) && this.tree.kinds.has(to)) {
        const spare = `${this.#root}spare${this.#serial++}`;
        this.tree.move(from, spare);
        this.tree.move(to, from);
        this.tree.move(spare, to);
      }
      return `rename ${from} ${to} RENAME_EXCHANGE`;
    }
    const isFree = !this.tree.kinds.has(to);
    const fits = isFree || (this.tree.kinds.get(from) === 'dir') === (this.tree.kinds.get(to) === 'dir');
    const isEmpty = this.tree.children(to).length === 0;
    const noReplace = choice < 0.25;
    if (!isInside && fits && isEmpty && this.tree.kinds.has(from) && (isFree || !noReplace))
      this.tree.move(from, to);
    return `rename ${from} ${to}${noReplace ? ' RENAME_NOREPLACE' : ''}`;
  }

  #remove(): string {
    const choice = this.next();
    if (choice < 0.2) {
      const path = this.#path('dir');
      if (this.tree.children(path).length === 0) this.tree.remove(path);
      return `rmdir ${path}`;
    }
    if (choice < 0.3) {
      const path = this.#path('dir');
      this.tree.remove(path);
      return `remove_tree ${path}`;
    }
    const path = this.#path(this.chance(0.7) ? 'file' : 'other');
    if (this.tree.kinds.get(path) !== 'dir') this.tree.remove(path);
    return `unlink ${path}`;
  }

  #make(): string {
    const path = this.#new();
    const isNew = !this.tree.kinds.has(path);
    const choice = this.next();
    if (choice < 0.4) {
      if (isNew) this.tree.kinds.set(path, 'dir');
      return `mkdir ${path} ${this.pick(['755', '777', '700', '2775'])}`;
    }
    if (choice < 0.7) {
      const target = this.#path(this.chance(0.8) ? 'file' : undefined);
      const kind = this.tree.kinds.get(target);
      if (isNew && kind !== undefined && kind !== 'dir') this.tree.kinds.set(path, kind);
      return `link ${target} ${path}`;
    }
    if (isNew) this.tree.kinds.set(path, 'other');
    // None leads out of the subtree of its process.
    if (choice < 0.85) return `symlink ${this.pick(['a', './b', 'a/b', '/nowhere/at/all'])} ${path}`;
    return `mknod ${path} ${this.pick(['fifo 644', 'socket 600', 'char 666 1:3', 'block 600 7:200'])}`;
  }

  #attribute(): string {
    const path = this.#path();
    const choice = this.next();
    if (choice < 0.25)
      return `chmod ${this.tree.kinds.get(path) === 'other' ? this.#path('file') : path} ${this.pick(MODES)}`;
    if (choice < 0.4) return `lchown ${path} ${this.pick(IDS)} ${this.pick(IDS)}`;
    if (choice < 0.55)
      return `utimens ${path} ${this.pick(['1', 'omit', 'now'])} ${this.pick(['0', '1111111111', 'omit', 'now', '1500000000000000001'])}`;
    if (choice < 0.75) {
      const flags = this.pick(['', ' XATTR_CREATE', ' XATTR_REPLACE', '']);
      return `setxattr ${path} ${this.#attributeName()} ${this.pick(["''", 'v', '%00%0a', '{v*500}'])}${flags}`;
    }
    if (choice < 0.85) return `removexattr ${path} ${this.#attributeName()}`;
    if (choice < 0.92) return `setxattr ${path} system.posix_acl_access $acl`;
    if (choice < 0.97) return `setxattr ${this.#path('dir')} system.posix_acl_default $defaultAcl`;
    return `removexattr ${path} ${this.pick(['system.posix_acl_access', 'system.posix_acl_default'])}`;
  }

  #attributeName(): string {
    if (this.options.escapes === true && this.chance(0.1))
      return this.pick(['trusted.overlay.opaque', 'trusted.overlay.redirect', 'trusted.overlay.overlay.x']);
    return this.pick(['user.k', 'user.l', 'trusted.m', 'security.n']);
  }

  #handle(): string[] {
    if (this.#openHandles.length === 0 || this.chance(0.25)) {
      const name = `h${this.#handles++ % 6}`;
      if (!this.#openHandles.includes(name)) this.#openHandles.push(name);
      if (this.chance(0.1)) {
        const at = this.#new();
        this.tree.kinds.set(at, 'file');
        return [
          `${name} := open ${this.#path('dir')} O_TMPFILE|O_RDWR 640`,
          `write $${name} ${this.#text()}`,
          `flink $${name} ${at}`,
        ];
      }
      // For writing: overlayfs leaves a descriptor for reading with the lower file in some respects. And written to at once: when
      // it copies the data of what it first copied the attributes of, mtime moves, whether something is written or not.
      return [
        `${name} := open ${this.#path('file')} O_RDWR|O_NONBLOCK${this.pick(['', '', '|O_APPEND', '|O_TRUNC'])}`,
        `pwrite $${name} w 0`,
      ];
    }
    const name = this.pick(this.#openHandles);
    const [offset, length] = [this.pick([0, 1, 100, 4096, 9000]), this.pick([1, 100, 5000])];
    switch (this.below(12)) {
      case 0:
      case 1:
        return [`write $${name} ${this.#text()}`];
      case 2:
        return [`pwrite $${name} ${this.#text()} ${offset}`];
      case 3:
        return [`pread $${name} ${length} ${offset}`];
      case 4:
        return [`ftruncate $${name} ${1 + this.below(12_000)}`];
      case 5:
        return [`fstat $${name} ${STAT}`];
      case 6:
        return [
          `fallocate $${name} ${this.pick(['ALLOCATE', 'KEEP_SIZE', 'PUNCH_HOLE|KEEP_SIZE'])} ${offset} ${length}`,
        ];
      case 7:
        return [
          this.pick([
            `fsync $${name}`,
            `fchmod $${name} ${this.pick(MODES)}`,
            `fchown $${name} 1 1`,
            `futimens $${name} 1 1111111111`,
          ]),
        ];
      case 8:
        return [
          this.pick([
            `fsetxattr $${name} user.k handle`,
            `flistxattr $${name}`,
            `fremovexattr $${name} user.k`,
          ]),
        ];
      case 9:
        return [`copy_file_range $${name} $${this.pick(this.#openHandles)} ${length} 0 ${offset}`];
      case 10:
        return [`read $${name} ${length}`];
      default:
        this.#openHandles = this.#openHandles.filter((one) => one !== name);
        return [`close $${name}`];
    }
  }

  #look(): string {
    const choice = this.next();
    if (choice < 0.35) return `lstat ${this.#path()} ${STAT}`;
    if (choice < 0.5) return `ls ${this.#path('dir')}`;
    if (choice < 0.65) return `sum ${this.#path('file')}`;
    if (choice < 0.7) return `readlink ${this.#path('other')}`;
    if (choice < 0.8) return `listxattr ${this.#path()}`;
    if (choice < 0.85) return `getxattr ${this.#path()} ${this.#attributeName()}`;
    if (choice < 0.9) return `access ${this.#path()} ${this.pick(['R_OK', 'W_OK', 'X_OK', 'F_OK'])}`;
    return `agree ${this.#path('dir')}`;
  }
}

/** The bytes that a path in a script stands for. */
function asBytes(path: string): string {
  return path
    .replace(/\{(.)\*(\d+)\}/g, (_, character: string, count: string) => character.repeat(Number(count)))
    .replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
