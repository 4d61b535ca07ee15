/** A stack of layers -> real directories, by unpack.py: the independent side of the differential suites. Needs root. */
import { python } from './python.js';
import type { Stack } from './stack.js';

/**
 * Unpacks each layer into a directory of its own below `root`, in overlayfs's form.
 * Returns the directories to mount, uppermost first, as the kernel lists them.
 */
export async function unpackLowers(stack: Stack, root: string): Promise<string[]> {
  const places = await python('unpack.py', ['lowers', root], JSON.stringify(stack));
  return places.split('\n').filter((place) => place !== '');
}

/** Applies all layers in turn to the directory `root`, which is made. */
export async function unpackFlat(stack: Stack, root: string): Promise<void> {
  await python('unpack.py', ['flat', root], JSON.stringify(stack));
}
