/**
 * The description of a test image: layers, bottom to top, each a list of operations, and the tree that they make when
 * merged. Every builder describes its image here once; tar, overlayfs directories and plain directory are made from it.
 *
 * An operation is { kind, path, ... }: dir, file { sizeBytes, seed }, symlink { target }, whiteout, opaque (both as in
 * OCI image-spec, layer.md). Each layer lists the directories above what it touches, as image builders do.
 */
import { posix } from 'node:path';
import { randomFrom, randomSize } from './random.js';

const EPOCH = 1700000000;

/** A stack under construction; it knows what is visible so that layers can replace and delete. */
export class Stack {
  layers = [];
  root = { operation: { kind: 'dir', path: '', mode: 0o755, mtimeSec: EPOCH }, children: new Map() };
  #mentioned = new Set();
  #serial = 0;

  /** Starts the next layer. */
  nextLayer() {
    this.layers.push([]);
    this.#mentioned = new Set(['']);
  }

  dir(path) {
    this.#parents(path);
    const node = this.#find(path);
    const operation = node?.children
      ? node.operation
      : { kind: 'dir', path, mode: 0o755, mtimeSec: this.#time() };
    this.#emit(operation);
    this.#mentioned.add(path);
    if (!node?.children) this.#put(path, { operation, children: new Map() });
  }

  file(path, sizeBytes, seed = ++this.#serial) {
    this.#parents(path);
    const mode = seed % 9 === 0 ? 0o755 : 0o644;
    const operation = { kind: 'file', path, mode, mtimeSec: this.#time(), sizeBytes, seed };
    this.#emit(operation);
    this.#put(path, { operation });
  }

  symlink(path, target) {
    this.#parents(path);
    const operation = { kind: 'symlink', path, mode: 0o777, mtimeSec: this.#time(), target };
    this.#emit(operation);
    this.#put(path, { operation });
  }

  whiteout(path) {
    this.#parents(path);
    this.#emit({ kind: 'whiteout', path, mode: 0o644, mtimeSec: this.#time() });
    this.#find(posix.dirname(path)).children.delete(posix.basename(path));
  }

  /** Makes the directory opaque: nothing of the lower layers shows in it any more. */
  opaque(path) {
    this.dir(path);
    this.#emit({ kind: 'opaque', path, mode: 0o644, mtimeSec: this.#time() });
    this.#find(path).children.clear();
  }

  /** Did the layer under construction mention this path? Then it must not hide it: whiteouts hide lower layers only. */
  touched(path) {
    return this.#mentioned.has(path);
  }

  /** Operations that are visible in the end, parents first, children in byte order; the root is left out. */
  *visible(node = this.root) {
    for (const name of [...node.children.keys()].sort()) {
      const child = node.children.get(name);
      yield child.operation;
      if (child.children) yield* this.visible(child);
    }
  }

  #emit(operation) {
    this.layers.at(-1).push(operation);
    this.#mentioned.add(operation.path);
  }

  #parents(path) {
    const parent = posix.dirname(path);
    if (parent !== '.' && !this.#mentioned.has(parent)) this.dir(parent);
  }

  #find(path) {
    let node = this.root;
    if (path === '.' || path === '') return node;
    for (const name of path.split('/')) node = node?.children?.get(name);
    return node;
  }

  #put(path, node) {
    this.#find(posix.dirname(path)).children.set(posix.basename(path), node);
  }

  #time() {
    return EPOCH + this.layers.length * 86400 + (this.layers.at(-1).length % 86400);
  }
}

const STEMS = ['index', 'lib', 'module', 'config', 'types', 'test', 'locale', 'readme', 'util', 'core'];
const SUFFIXES = ['.js', '.so', '.py', '.h', '.json', '.txt', '', '.mo', '.d.ts', '.map'];

/**
 * A stack that looks like an application image: most directories and files in the lower layers, later layers that add
 * to them, replace, delete, and make directories opaque.
 *
 * shape: { seed, sizes: { medianBytes, sigma, maxBytes }, entries: visible paths in the end,
 *          layers: [{ directories, files, replaced, deletedFiles, deletedDirectories, opaque }] }
 */
export function applicationStack(shape) {
  const random = randomFrom(shape.seed);
  const stack = new Stack();
  const pick = (list) => list[Math.floor(random() * list.length)];
  let serial = 0;
  const fileName = () =>
    `${pick(STEMS)}-${(serial++).toString(36)}${Math.floor(random() * 1e6).toString(36)}${pick(SUFFIXES)}`;

  const addFile = (directory) => {
    const path = posix.join(directory, fileName());
    if (random() < 0.02) stack.symlink(path, pick(['../', './', '/usr/']) + fileName());
    else stack.file(path, randomSize(random, shape.sizes));
  };

  for (const [index, layer] of shape.layers.entries()) {
    stack.nextLayer();
    const lower = [...stack.visible()];
    const lowerDirectories = lower.filter((operation) => operation.kind === 'dir');
    const lowerFiles = lower.filter((operation) => operation.kind === 'file');

    const nested = lowerDirectories.filter((operation) => operation.path.split('/').length >= 3);
    for (let i = 0; i < layer.deletedDirectories && nested.length > 0; i++) {
      const { path } = pick(nested);
      if (!stack.touched(path) && isVisible(stack, path)) stack.whiteout(path);
    }
    for (let i = 0; i < layer.opaque && nested.length > 0; i++) {
      const { path } = pick(nested);
      if (stack.touched(path) || !isVisible(stack, path)) continue;
      stack.opaque(path);
      for (let n = 0; n < 3; n++) addFile(path);
    }
    for (let i = 0; i < layer.deletedFiles && lowerFiles.length > 0; i++) {
      const { path } = pick(lowerFiles);
      if (!stack.touched(path) && isVisible(stack, path)) stack.whiteout(path);
    }
    for (let i = 0; i < layer.replaced && lowerFiles.length > 0; i++) {
      const { path } = pick(lowerFiles);
      if (!stack.touched(path) && isVisible(stack, path)) stack.file(path, randomSize(random, shape.sizes));
    }

    const own = [];
    const parents = lowerDirectories
      .map((operation) => operation.path)
      .filter((path) => isVisible(stack, path));
    for (let i = 0; i < layer.directories; i++) {
      const candidates = own.length > 0 && random() < 0.7 ? own : parents;
      const parent = candidates.length > 0 && random() > 0.02 ? pick(candidates) : '';
      const deep = parent.split('/').length > 9;
      const path = posix.join(deep ? '' : parent, `${pick(STEMS)}${(serial++).toString(36)}`);
      stack.dir(path);
      own.push(path);
    }
    const last = index === shape.layers.length - 1;
    const files = last ? shape.entries - [...stack.visible()].length : layer.files;
    for (let i = 0; i < files; i++) {
      addFile(parents.length > 0 && random() < 0.2 ? pick(parents) : pick(own));
    }
  }
  return stack;
}

function isVisible(stack, path) {
  let node = stack.root;
  for (const name of path.split('/')) {
    node = node.children?.get(name);
    if (node === undefined) return false;
  }
  return true;
}
