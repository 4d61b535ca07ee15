/** `lamina analyze --layer K`: what one layer adds, changes and removes, as a tree. */
import type { ByteString } from '../../bytes.js';
import { compareBytes, displayBytes, utf8ToBytes } from '../../bytes.js';
import type { Analysis } from '../../image/analyze/analyze.js';
import type { ChangeKind, LayerChange } from '../../image/analyze/changes.js';
import { changedAttributes } from '../../image/compare/attributes.js';
import { sameContent } from '../../image/compare/content.js';
import type { OpenedImage } from '../../image/open.js';
import type { TreeNode } from '../../layer/tree.js';
import { formatSize } from '../output/sizes.js';
import { modeText } from '../fs/attributes.js';
import { TREE_LINES } from '../fs/tree.js';
import { JsonArray, jsonName } from '../fs/output.js';
import type { Output } from '../fs/output.js';

const LETTERS: Record<ChangeKind, string> = { added: 'A', modified: 'M', removed: 'D' };

interface Branch {
  change: LayerChange | undefined;
  children: Map<ByteString, Branch>;
}

export async function printLayerTree(
  analysis: Analysis,
  layer: number,
  opened: OpenedImage,
  out: Output,
): Promise<void> {
  const { diffId, sizeBytes, command } = analysis.layers[layer]!;
  const about = `layer ${layer}  ${diffId}  ${formatSize(sizeBytes, 3)}  ${command ?? ''}`.trimEnd();
  await out.print(`${utf8ToBytes(displayBytes(utf8ToBytes(about)))}\n`);
  const root = branches(analysis.changes[layer]!);
  const draw = async (branch: Branch, prefix: ByteString): Promise<void> => {
    const names = [...branch.children.keys()].sort(compareBytes);
    for (const [index, name] of names.entries()) {
      const child = branch.children.get(name)!;
      const isLast = index === names.length - 1;
      await out.print(
        `${columns(child.change)} ${prefix}${isLast ? TREE_LINES.last : TREE_LINES.middle}${out.name(name)}${note(child.change, opened, out)}\n`,
      );
      await draw(child, prefix + (isLast ? TREE_LINES.none : TREE_LINES.through));
    }
  };
  await out.print(`${columns(root.change)} /${note(root.change, opened, out)}\n`);
  await draw(root, '');
}

export async function printLayerJson(
  analysis: Analysis,
  layer: number,
  opened: OpenedImage,
  out: Output,
): Promise<void> {
  const json = new JsonArray(out);
  const changes = [...analysis.changes[layer]!].sort((a, b) => compareBytes(a.path, b.path));
  for (const change of changes) {
    const { path, kind, before, after } = change;
    const node = (after ?? before)!;
    await json.add({
      ...jsonName('path', path),
      change: LETTERS[kind],
      type: node.type,
      sizeBytes: node.sizeBytes,
      ...(kind === 'modified' ? { changed: changedParts(change, opened) } : {}),
    });
  }
  await json.end();
}

function branches(changes: readonly LayerChange[]): Branch {
  const root: Branch = { change: undefined, children: new Map() };
  for (const change of changes) {
    let branch = root;
    for (const name of change.path.split('/')) {
      if (name === '') continue;
      let child = branch.children.get(name);
      if (child === undefined) {
        child = { change: undefined, children: new Map() };
        branch.children.set(name, child);
      }
      branch = child;
    }
    branch.change = change;
  }
  return root;
}

/** Letter, mode, owner and size; blank for a directory that only holds changes. */
function columns(change: LayerChange | undefined): string {
  const node = change?.after ?? change?.before;
  if (change === undefined || node === undefined) return ''.padEnd(34);
  const size = node.type === 'file' ? formatSize(node.sizeBytes, 3) : '-';
  const mode = modeText(node, false);
  return `${LETTERS[change.kind]} ${mode} ${`${node.uid}:${node.gid}`.padStart(11)} ${size.padStart(8)}`;
}

function note(change: LayerChange | undefined, opened: OpenedImage, out: Output): ByteString {
  const node = change?.after ?? change?.before;
  const target = node?.type === 'symlink' ? ` -> ${out.name(node.target)}` : '';
  if (change?.kind !== 'modified') return target;
  return `${target}  [${changedParts(change, opened).join(', ')}]`;
}

function changedParts({ before, after }: LayerChange, opened: OpenedImage): string[] {
  if (before === undefined || after === undefined) return [];
  const attributes = changedAttributes(before, after);
  const diffIds = opened.archived.layers.map(({ diffId }) => diffId);
  const content = (node: TreeNode): Parameters<typeof sameContent>[0] => ({
    ...node,
    sources: opened.sources,
    diffIds,
  });
  const isFile = before.type === 'file' && after.type === 'file';
  if (isFile && !sameContent(content(before), content(after))) return ['content', ...attributes];
  return attributes.length === 0 ? ['written again'] : attributes;
}
