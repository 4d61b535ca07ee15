/**
 * Whether what a lazy layer showed is what its tar holds: asked when all of the layer has come and its digests were found right. A table
 * that says something else than the tar is a lie, whoever vouches for it.
 */
import type { ByteString } from '../../bytes.js';
import { displayBytes } from '../../bytes.js';
import { isDir, HOLE } from '../../layer/tree.js';
import type { Extent, TreeNode } from '../../layer/tree.js';
import { readWhole } from '../../registry/lazy/sparse-blob.js';

const CHUNK_BYTES = 1 << 20;

export interface ComparedLayer {
  root: TreeNode;
  fd: number;
  /** Where its extents count from. */
  offset: number;
}

/** What differs, as a sentence; undefined when nothing does. @param hasNanoseconds false for tables whose times are whole seconds */
export async function firstDifference(
  shown: ComparedLayer,
  real: ComparedLayer,
  hasNanoseconds: boolean,
  pause: () => Promise<void>,
): Promise<string | undefined> {
  const same = new Map<TreeNode, TreeNode>();
  const visit = async (a: TreeNode, b: TreeNode, path: ByteString): Promise<string | undefined> => {
    const where = displayBytes(path === '' ? '/' : path);
    // The names of one inode are one inode on the other side as well.
    const known = same.get(a);
    if (known !== undefined || (a.shared && b.shared)) {
      if (known !== undefined) return known === b ? undefined : `${where} is a link to another file`;
      same.set(a, b);
    }
    const field = differingField(a, b, hasNanoseconds);
    if (field !== undefined) return `${where} has another ${field}`;
    if (isDir(a) && isDir(b)) {
      for (const name of b.children.keys())
        if (!a.children.has(name)) return `${displayBytes(`${path}/${name}`)} is not in the table`;
      for (const [name, child] of a.children) {
        const other = b.children.get(name);
        if (other === undefined) return `${displayBytes(`${path}/${name}`)} is not in the layer`;
        const found = await visit(child, other, `${path}/${name}`);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    await pause();
    return (await isSameContent(a, shown, b, real)) ? undefined : `${where} has another content`;
  };
  return visit(shown.root, real.root, '');
}

function differingField(a: TreeNode, b: TreeNode, hasNanoseconds: boolean): string | undefined {
  if (a.type !== b.type) return 'type';
  if (a.type === 'whiteout') return undefined;
  if (a.type === 'file' && a.sizeBytes !== b.sizeBytes) return 'size';
  for (const key of [
    'mode',
    'uid',
    'gid',
    'mtimeSec',
    'target',
    'rdevMajor',
    'rdevMinor',
    'opaque',
    'implicit',
    'shared',
  ] as const)
    if (a[key] !== b[key]) return key;
  if (hasNanoseconds && a.mtimeNsec !== b.mtimeNsec) return 'mtimeNsec';
  const [left, right] = [a.xattrs ?? [], b.xattrs ?? []];
  const isSame =
    left.length === right.length &&
    left.every(({ name, value }, index) => name === right[index]!.name && value.equals(right[index]!.value));
  return isSame ? undefined : 'extended attribute';
}

async function isSameContent(
  a: TreeNode,
  shown: ComparedLayer,
  b: TreeNode,
  real: ComparedLayer,
): Promise<boolean> {
  for (let position = 0; position < a.sizeBytes; position += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, a.sizeBytes - position);
    const [one, other] = await Promise.all([
      readFile(a.extents, shown, position, length),
      readFile(b.extents, real, position, length),
    ]);
    if (!one.equals(other)) return false;
  }
  return true;
}

async function readFile(
  extents: readonly Extent[],
  { fd, offset: base }: ComparedLayer,
  from: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (const { logical, length: runBytes, source, offset } of extents) {
    const start = Math.max(from, logical);
    const end = Math.min(from + length, logical + runBytes);
    if (start >= end || source === HOLE) continue;
    const run = await readWhole(fd, base + offset + start - logical, base + offset + end - logical);
    run.copy(bytes, start - from);
  }
  return bytes;
}
