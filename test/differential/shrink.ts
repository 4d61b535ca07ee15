/**
 * Makes a failing stack small: leaves out layers, then entries, then attributes, for as long as the smaller stack fails as
 * well. Greedy halving (Zeller's ddmin), because most of a random stack has nothing to do with the failure.
 */
import type { Entry, Stack } from '../helpers/stack.js';

/** @param fails whether a stack still shows the failure; a stack that means nothing does not */
export async function shrinkStack(stack: Stack, fails: (stack: Stack) => Promise<boolean>): Promise<Stack> {
  let smallest = stack;
  for (;;) {
    const before = JSON.stringify(smallest).length;
    smallest = await without(smallest, fails);
    for (let index = 0; index < smallest.length; index++) {
      const replaced = (layer: readonly Entry[]): Stack =>
        smallest.map((old, at) => (at === index ? layer : old));
      const layer = await without(smallest[index]!, (candidate) => fails(replaced(candidate)));
      smallest = replaced(layer);
    }
    smallest = await plainer(smallest, fails);
    if (JSON.stringify(smallest).length === before) return smallest;
  }
}

/** `items` without the runs that `fails` does not need, from halves down to single ones. */
export async function without<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let kept = items;
  for (let run = Math.ceil(kept.length / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2)) {
    for (let start = 0; start < kept.length;) {
      const candidate = [...kept.slice(0, start), ...kept.slice(start + run)];
      if (await fails(candidate)) kept = candidate;
      else start += run;
    }
  }
  return kept;
}

/** Entries with fewer attributes and less content. */
async function plainer(stack: Stack, fails: (stack: Stack) => Promise<boolean>): Promise<Stack> {
  let smallest = stack;
  for (let layer = 0; layer < stack.length; layer++) {
    for (let at = 0; at < stack[layer]!.length; at++) {
      for (const simplify of SIMPLER) {
        const old = smallest[layer]![at]!;
        const entry = simplify(old);
        if (JSON.stringify(entry) === JSON.stringify(old)) continue;
        const candidate = smallest.map((entries, index) =>
          index === layer ? entries.map((one, place) => (place === at ? entry : one)) : entries,
        );
        if (await fails(candidate)) smallest = candidate;
      }
    }
  }
  return smallest;
}

const SIMPLER: readonly ((entry: Entry) => Entry)[] = [
  ({ mode: _, ...entry }) => entry as Entry,
  ({ uid: _, ...entry }) => entry as Entry,
  ({ gid: _, ...entry }) => entry as Entry,
  ({ mtime: _, ...entry }) => entry as Entry,
  ({ xattrs: _, ...entry }) => entry as Entry,
  (entry) => (entry.kind === 'file' ? { ...entry, content: '' } : entry),
  (entry) => ({ ...entry, path: entry.path.replace(/^\.?\//, '').replace(/^up\/\.\.\//, '') }),
];
