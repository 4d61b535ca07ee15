/**
 * Random stacks of layers that mean one thing only. Few names, so that layers meet; every kind of entry; and nothing that
 * image-spec layer.md leaves open: no entry below a non-directory of its own layer, no link to a later entry, no directory
 * after a non-directory of the same name in one layer.
 */
import type { ByteString } from '../../src/bytes.js';
import type { Attributes, Entry, Layer, Stack } from '../helpers/stack.js';
import {
  blockdev,
  chardev,
  dir,
  fifo,
  file,
  hardlink,
  opaque,
  socket,
  symlink,
  whiteout,
} from '../helpers/stack.js';

const PLAIN_NAMES = ['a', 'b', 'c', 'd', 'e'];
const ODD_NAMES = [
  '\xff\xfe',
  'sp ace',
  'new\nline',
  'back\\slash',
  '\xc3\xbc',
  'n'.repeat(255),
  '-',
  '..a',
  '.hidden',
  '.whx',
  'comma,equals=',
  '\x01',
];
const MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o000, 0o6777];
const IDS = [0, 0, 1, 1000, 65534, 3_000_000];
const TIMES = [
  [1_700_000_000, 0],
  [1_700_000_000, 123_456_789],
  [0, 0],
  [-2, 500_000_000],
  [1, 1],
] as const;
const RDEVS = [
  [1, 3],
  [5, 1],
  [7, 0],
  [259, 1_048_575],
] as const;

type Kind = 'dir' | 'other';

/** mulberry32: the same stack for the same seed on every machine. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The stack of `seed`: 1 to 6 layers of up to 40 entries. */
export function randomStack(seed: number): Stack {
  const generator = new StackGenerator(random(seed));
  return generator.stack();
}

class StackGenerator {
  /** What the layers so far show. */
  #visible = new Map<ByteString, Kind>();

  constructor(private readonly next: () => number) {}

  stack(): Stack {
    const layers: Layer[] = [];
    const count = 1 + this.#below(6);
    for (let index = 0; index < count; index++) {
      const layer = new LayerGenerator(this.next, this.#visible);
      layers.push(layer.entries(this.#below(41)));
      this.#visible = layer.applied();
    }
    return layers;
  }

  #below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
}

class LayerGenerator {
  readonly #own = new Map<ByteString, Kind>();
  /** Directories that only lead to something: they keep lower attributes. */
  readonly #hides = new Set<ByteString>();
  readonly #opaques = new Set<ByteString>();
  readonly #lowerTargets = new Set<ByteString>();
  readonly #attributesOf = new Map<ByteString, Entry>();

  constructor(
    private readonly next: () => number,
    private readonly lower: ReadonlyMap<ByteString, Kind>,
  ) {}

  entries(count: number): Entry[] {
    const entries: Entry[] = [];
    for (let index = 0; index < count; index++) {
      const entry = this.#entry();
      if (entry !== undefined) entries.push({ ...entry, path: this.#decorated(entry.path) });
    }
    return entries;
  }

  /** What the lower layers and this one show together. */
  applied(): Map<ByteString, Kind> {
    const shown = new Map(this.lower);
    for (const path of this.#hides) removeTree(shown, path, true);
    for (const path of this.#opaques) removeTree(shown, path, false);
    for (const [path, kind] of this.#own) {
      if (kind === 'other') removeTree(shown, path, true);
      for (const parent of parentsOf(path)) if (shown.get(parent) !== 'dir') shown.set(parent, 'dir');
      shown.set(path, kind);
    }
    return shown;
  }

  #entry(): Entry | undefined {
    const choice = this.next();
    if (choice < 0.08) return this.#whiteout();
    if (choice < 0.11) return this.#opaque();
    const path = this.#path();
    if (!this.#mayPut(path, choice < 0.4)) return undefined;
    if (choice < 0.4) return this.#put(dir(path, this.#attributes('dir')), 'dir');
    if (choice < 0.52) return this.#hardlink(path);
    if (choice < 0.6) {
      const target = this.#pick(['a', '/a/b', '../../..', 'd/\xff', `${'x/'.repeat(100)}y`]);
      const mode = this.next() < 0.1 ? 0o644 : 0o777;
      return this.#put(symlink(path, target, { ...this.#attributes('symlink'), mode }), 'other');
    }
    if (choice < 0.63) return this.#put(fifo(path, this.#attributes('special')), 'other');
    if (choice < 0.66) return this.#put(socket(path, this.#attributes('special')), 'other');
    if (choice < 0.69)
      return this.#put(chardev(path, this.#pick(RDEVS), this.#attributes('special')), 'other');
    if (choice < 0.71)
      return this.#put(blockdev(path, this.#pick(RDEVS), this.#attributes('special')), 'other');
    return this.#put(file(path, this.#content(), this.#attributes('file')), 'other');
  }

  #whiteout(): Entry | undefined {
    const path = this.next() < 0.7 && this.lower.size > 0 ? this.#pick([...this.lower.keys()]) : this.#path();
    if (path === '' || parentsOf(path).some((parent) => this.#blocked(parent))) return undefined;
    this.#hides.add(path);
    return whiteout(path);
  }

  #opaque(): Entry | undefined {
    const directories = [...this.lower].filter(([, kind]) => kind === 'dir').map(([path]) => path);
    const known = directories.length > 0 && this.next() < 0.9;
    const path = this.next() < 0.05 ? '' : known ? this.#pick(directories) : this.#path();
    if ([...parentsOf(path), path].some((parent) => this.#blocked(parent))) return undefined;
    this.#opaques.add(path);
    return opaque(path);
  }

  #hardlink(path: ByteString): Entry | undefined {
    const own = [...this.#own].filter(([, kind]) => kind === 'other').map(([target]) => target);
    const lower = [...this.lower]
      .filter(([target, kind]) => kind === 'other' && this.#isUntouched(target))
      .map(([target]) => target);
    const useOwn = own.length > 0 && (lower.length === 0 || this.next() < 0.6);
    if (!useOwn && lower.length === 0) return undefined;
    const target = this.#pick(useOwn ? own : lower);
    if (target === path || path.startsWith(`${target}/`)) return undefined;
    if (!useOwn) this.#lowerTargets.add(target);
    const { mode, uid, gid, mtime } = this.#attributesOf.get(target) ?? {};
    const attributes: Attributes = {
      ...(mode === undefined ? {} : { mode }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(mtime === undefined ? {} : { mtime }),
    };
    return this.#put(hardlink(path, target, attributes), 'other');
  }

  /** The layer has nothing at the path, above it or below it: a link to it means the lower file. */
  #isUntouched(target: ByteString): boolean {
    if (this.#own.has(target) || this.#opaques.has(target)) return false;
    if ([...this.#hides, ...this.#opaques].some((path) => path.startsWith(`${target}/`))) return false;
    return !parentsOf(target).some((parent) => this.#own.get(parent) === 'other');
  }

  #blocked(path: ByteString): boolean {
    return this.#own.get(path) === 'other' || this.#lowerTargets.has(path);
  }

  #mayPut(path: ByteString, asDirectory: boolean): boolean {
    if (path === '') return asDirectory;
    if (this.#lowerTargets.has(path) || parentsOf(path).some((parent) => this.#blocked(parent))) return false;
    if (asDirectory) return !this.#blocked(path);
    const marked = [...this.#hides, ...this.#opaques];
    return !marked.some((other) => other.startsWith(`${path}/`)) && !this.#opaques.has(path);
  }

  #put(entry: Entry, kind: Kind): Entry {
    if (kind === 'other') removeTree(this.#own, entry.path, true);
    for (const parent of parentsOf(entry.path)) this.#own.set(parent, 'dir');
    if (entry.path !== '') this.#own.set(entry.path, kind);
    this.#attributesOf.set(entry.path, entry);
    return entry;
  }

  /** A path, below some directory that there is already more often than not. */
  #path(): ByteString {
    if (this.next() < 0.04) return '';
    const taken = [...this.lower.keys(), ...this.#own.keys()];
    if (taken.length > 0 && this.next() < 0.2) return this.#pick(taken);
    const directories = [...this.lower, ...this.#own].filter(([, kind]) => kind === 'dir');
    let path = directories.length > 0 && this.next() < 0.6 ? this.#pick(directories)[0] : '';
    const depth = this.next() < 0.75 ? 1 : 1 + this.#below(4);
    for (let index = 0; index < depth; index++) {
      const name = this.next() < 0.85 ? this.#pick(PLAIN_NAMES) : this.#pick(ODD_NAMES);
      path = path === '' ? name : `${path}/${name}`;
    }
    return path.length > 1500 ? 'a' : path;
  }

  #attributes(kind: 'dir' | 'file' | 'symlink' | 'special'): Attributes {
    if (this.next() < 0.4) return {};
    const xattrs: [string, string][] = [];
    if (this.next() < 0.2) xattrs.push(['trusted.k', '\x00\n\xff=']);
    if (this.next() < 0.1) xattrs.push(['security.lamina', '']);
    if ((kind === 'dir' || kind === 'file') && this.next() < 0.3) {
      xattrs.push(['user.name', 'v'.repeat(this.#below(300))], ['user.a,b c\xff', '1']);
    }
    if (kind === 'file' && this.next() < 0.15) {
      xattrs.push([
        'security.capability',
        '\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00',
      ]);
    }
    return {
      mode: this.#pick(MODES),
      uid: this.#pick(IDS),
      gid: this.#pick(IDS),
      mtime: this.#pick(TIMES),
      xattrs,
    };
  }

  #content(): Extract<Entry, { kind: 'file' }>['content'] {
    const choice = this.next();
    if (choice < 0.15) return '';
    if (choice < 0.22) {
      const sizeBytes = 1 + this.#below(300_000);
      const offset = this.#below(sizeBytes);
      return {
        sizeBytes,
        runs: [{ offset, data: 's'.repeat(Math.min(1 + this.#below(600), sizeBytes - offset)) }],
      };
    }
    const seed = String.fromCharCode(this.#below(256));
    return seed.repeat(choice < 0.3 ? this.#below(100_000) : 1 + this.#below(1100));
  }

  /** The same path as writers of tars may spell it. */
  #decorated(path: ByteString): ByteString {
    const choice = this.next();
    if (path === '') return choice < 0.5 ? './' : '.';
    if (choice < 0.1) return `./${path}`;
    if (choice < 0.15) return `/${path}`;
    if (choice < 0.18) return path.replace('/', '//');
    if (choice < 0.21) return path.replace('/', '/./');
    if (choice < 0.23) return `up/../${path}`;
    return path;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)]!;
  }

  #below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
}

/** a/b/c -> a, a/b */
function parentsOf(path: ByteString): ByteString[] {
  const names = path.split('/');
  return names.slice(1).map((_, index) => names.slice(0, index + 1).join('/'));
}

function removeTree(map: Map<ByteString, Kind>, path: ByteString, itself: boolean): void {
  if (itself) map.delete(path);
  const prefix = path === '' ? '' : `${path}/`;
  for (const other of [...map.keys()]) if (other.startsWith(prefix) && other !== path) map.delete(other);
}
