/**
 * COPY and ADD as entries of a layer. The rules are BuildKit's (Dockerfile reference, COPY; tonistiigi/fsutil copy): the contents of a
 * directory are copied, not itself; a destination that ends in a slash, or is a directory, takes the sources under their names;
 * links in the destination are followed inside the image; what is new is root's and 0755 where nothing says otherwise.
 */
import type { ByteString } from '../bytes.js';
import { utf8ToBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import type { TreeInode } from '../layer/tree.js';
import type { ImageView } from '../merge/view.js';
import type { ModeChange } from './chmod.js';
import { ignoreMatcher } from './ignore.js';
import type { IgnoreMatcher } from './ignore.js';
import { newFile } from './layer-plan.js';
import type { FileAttributes } from '../layer/tree.js';
import type { DirectoryDefaults, LayerPlan, Owner } from './layer-plan.js';
import { hasWildcard, matchSource } from './source-glob.js';
import type { Match } from './source-glob.js';

/** Where the things lie that are copied. */
export type CopySource =
  | { kind: 'tree'; view: ImageView; pattern: string }
  /** What a here-document or a URL gives. */
  | { kind: 'file'; name: string; bytes: Buffer; mode: number; mtimeSec?: number }
  /** A tar that is unpacked, or a clone: all of it goes into the destination. */
  | { kind: 'unpacked'; view: ImageView };

export interface CopyOptions {
  owner?: Owner;
  chmod?: ModeChange;
  /** Directories of the source's path are kept. */
  parents?: boolean;
  excludes?: readonly string[];
  /** Of what is new. */
  timeSec: number;
}

/**
 * @param destination absolute; a slash at its end says that it is a directory
 * Raises EBUILD when a source is not there, and when what is there already is of another kind.
 */
export function planCopy(
  plan: LayerPlan,
  sources: readonly CopySource[],
  destination: string,
  options: CopyOptions,
): void {
  new Copier(plan, destination, options).copy(sources);
}

class Copier {
  readonly #defaults: DirectoryDefaults;
  readonly #target: ByteString;
  readonly #isExcluded: IgnoreMatcher;
  readonly #hasSlash: boolean;

  constructor(
    private readonly plan: LayerPlan,
    destination: string,
    private readonly options: CopyOptions,
  ) {
    this.#defaults = { owner: options.owner ?? { uid: 0, gid: 0 }, timeSec: options.timeSec };
    this.#hasSlash = destination.endsWith('/');
    this.#target = plan.resolve(utf8ToBytes(destination));
    this.#isExcluded = ignoreMatcher(options.excludes ?? []);
  }

  copy(sources: readonly CopySource[]): void {
    let count = 0;
    for (const source of sources) {
      if (source.kind === 'unpacked') {
        this.#unpack(source.view);
        count++;
      } else if (source.kind === 'file') {
        this.#file(source, sources.length > 1);
        count++;
      } else count += this.#tree(source.view, source.pattern, sources.length > 1);
    }
    if (count === 0)
      throw new LaminaError('EBUILD', 'no source files were found', {
        hint: 'Check the patterns, and .dockerignore.',
      });
  }

  #tree(view: ImageView, pattern: string, isOneOfMany: boolean): number {
    const pivot = this.options.parents === true ? pivotOf(pattern) : undefined;
    const matches = matchSource(view, pattern);
    if (matches.length === 0 && !hasWildcard(pattern))
      throw new LaminaError('EBUILD', `"/${pattern.replace(/^\/+/, '')}": not found`, {
        hint: 'Check that it is in the build context, and not named in .dockerignore.',
      });
    const many = isOneOfMany || matches.length > 1;
    for (const match of matches) {
      if (pivot !== undefined) this.#keepParents(view, match, pivot);
      else if (view.toc.inode(match.ino).type === 'dir') this.#contents(view, match.ino, this.#target);
      else this.#put(view, match.ino, this.#fileTarget(nameOf(match.path), many));
    }
    return matches.length;
  }

  /** What a single file becomes. */
  #fileTarget(name: ByteString, isOneOfMany: boolean): ByteString {
    const isDirectory =
      this.#hasSlash || isOneOfMany || this.#target === '' || this.plan.at(this.#target)?.type === 'dir';
    return isDirectory ? join(this.#target, name) : this.#target;
  }

  #file(source: Extract<CopySource, { kind: 'file' }>, isOneOfMany: boolean): void {
    const mode = this.options.chmod?.(source.mode, false) ?? source.mode;
    const timeSec = source.mtimeSec ?? this.#defaults.timeSec;
    const path = this.#fileTarget(utf8ToBytes(source.name), isOneOfMany);
    this.plan.put(path, newFile(mode, source.bytes, { ...this.#defaults, timeSec }), this.#defaults);
  }

  /** What is in a directory of the source into one of the image, which is made like any other when it is not there. */
  #contents(view: ImageView, ino: number, target: ByteString): void {
    this.plan.makeDirectory(target, this.#defaults);
    this.#children(view, ino, target, '');
  }

  #children(view: ImageView, ino: number, target: ByteString, relative: ByteString): void {
    for (const { name, ino: child } of view.toc.entries(ino)) {
      const inner = join(relative, name);
      const isExcluded = this.#isExcluded(Buffer.from(inner, 'latin1').toString('utf8'));
      const isDir = view.toc.inode(child).type === 'dir';
      if (!isExcluded) this.#put(view, child, join(target, name));
      if (isDir) this.#children(view, child, join(target, name), inner);
    }
  }

  #put(view: ImageView, ino: number, path: ByteString): void {
    const inode = view.toc.inode(ino);
    if (inode.type === 'socket') return;
    this.plan.put(path, this.#entry(view, inode), this.#defaults);
  }

  #entry(
    view: ImageView,
    inode: TreeInode,
    attributes: FileAttributes = this.#changed(inode),
  ): Parameters<LayerPlan['put']>[1] {
    return {
      attributes,
      ...(inode.type === 'file' ? { content: { view, ino: inode.ino } } : {}),
      ...(inode.type !== 'dir' && inode.nlink > 1 ? { linkKey: `${viewNumber(view)}:${inode.ino}` } : {}),
    };
  }

  #changed(inode: TreeInode): FileAttributes {
    const { owner, chmod } = this.options;
    const isLink = inode.type === 'symlink';
    const isDir = inode.type === 'dir';
    return {
      ...inode,
      ...(owner ?? {}),
      mode: isLink || chmod === undefined ? inode.mode : chmod(inode.mode, isDir),
    };
  }

  /** A tar's entries may take the place of what is there, and keep owners and modes (BuildKit: --chown is for the directory). */
  #unpack(view: ImageView): void {
    this.plan.makeDirectory(this.#target, this.#defaults);
    const visit = (ino: number, target: ByteString): void => {
      for (const { name, ino: child } of view.toc.entries(ino)) {
        const inode = view.toc.inode(child);
        let path = join(target, name);
        // A directory that the tar does not describe may be a link in the image.
        if (inode.type === 'dir' && inode.implicit) {
          path = this.plan.resolve(path);
          this.plan.makeDirectory(path, this.#defaults);
        } else if (inode.type !== 'socket')
          this.plan.replace(path, this.#entry(view, inode, inode), this.#defaults);
        if (inode.type === 'dir') visit(child, path);
      }
    };
    visit(1, this.#target);
  }

  /** `--parents`: a/b/c below the destination, from behind the pivot `/./`. */
  #keepParents(view: ImageView, { path, ino }: Match, pivot: number): void {
    const names = path.split('/').filter((name) => name !== '');
    let target = this.#target;
    for (let depth = pivot + 1; depth <= names.length; depth++) {
      target = join(target, names[depth - 1]!);
      const source = depth === names.length ? ino : view.resolve(`/${names.slice(0, depth).join('/')}`);
      const isDir = view.toc.inode(source).type === 'dir';
      if (!isDir || this.plan.at(target) === undefined) this.#put(view, source, target);
    }
    if (view.toc.inode(ino).type === 'dir') this.#children(view, ino, target, '');
  }
}

/** How many parts of a source's path stand before `/./`; 0 where there is none. */
function pivotOf(pattern: string): number {
  const at = pattern.indexOf('/./');
  return at < 0
    ? 0
    : pattern
        .slice(0, at)
        .split('/')
        .filter((part) => part !== '' && part !== '.').length;
}

function join(directory: ByteString, name: ByteString): ByteString {
  return directory === '' ? name : `${directory}/${name}`;
}

function nameOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1);
}

const numbers = new WeakMap<ImageView, number>();
let count = 0;

/** Tells the inodes of several sources apart. */
function viewNumber(view: ImageView): number {
  let number = numbers.get(view);
  if (number === undefined) numbers.set(view, (number = count++));
  return number;
}
