/**
 * How much of a file is fetched beyond what was asked for. A round trip costs as much as some tens of kilobytes, and who has asked for several
 * parts of a file, in whatever order, will want others: the more he has asked, the more comes along.
 */
import { isDir } from '../../layer/tree.js';
import type { DirNode } from '../../layer/tree.js';
import type { LazyLayer } from '../../layer/lazy/pieces.js';

const FIRST_BYTES = 64 * 1024;
const MAX_BYTES = 1 << 20;

interface FileRun {
  offset: number;
  end: number;
  questions: number;
}

export class ReadAhead {
  #runs: FileRun[] | undefined;

  constructor(private readonly layer: LazyLayer) {}

  /** Bytes after `length` bytes from `offset` of the lazy source; 0 at the end of a file. */
  after(offset: number, length: number): number {
    const run = this.#find(offset);
    if (run === undefined) return 0;
    const wanted = Math.min(MAX_BYTES, FIRST_BYTES * 2 ** Math.min(run.questions++, 10));
    return Math.max(0, Math.min(wanted, run.end - offset - length));
  }

  #find(offset: number): FileRun | undefined {
    const runs = (this.#runs ??= runsOf(this.layer));
    let [low, high] = [0, runs.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle]!.end <= offset) low = middle + 1;
      else high = middle;
    }
    const run = runs[low];
    return run !== undefined && run.offset <= offset ? run : undefined;
  }
}

function runsOf(layer: LazyLayer): FileRun[] {
  const runs: FileRun[] = [];
  const visit = (dir: DirNode): void => {
    for (const node of dir.children.values()) {
      if (isDir(node)) visit(node);
      const stored = node.extents.filter(({ source }) => source === 0);
      if (stored.length === 0) continue;
      const offset = Math.min(...stored.map((extent) => extent.offset));
      const end = Math.max(...stored.map((extent) => extent.offset + extent.length));
      runs.push({ offset, end, questions: 0 });
    }
  };
  visit(layer.tree(0).root);
  return runs.sort((a, b) => a.end - b.end);
}
