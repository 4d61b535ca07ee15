/** A tar of 20,000 small files in 1,000 directories, about 45 MB: half of them are smaller than 1.5 KiB, none larger than 64 KiB. */
import { join } from 'node:path';
import { randomFrom, randomSize } from '../images/random.js';
import { Stack } from '../images/stack.js';
import { writeLayerTar } from '../images/write-stack.js';
import { cached } from '../lib/work.js';

export const SMALL_FILES = 20000;
const DIRECTORIES = 1000;

/** -> { tar, top: the directory in it that holds everything, entries, bytes }. */
export function smallFiles(work) {
  return cached(work, 'small-files', 1, async (directory) => {
    const random = randomFrom(20000);
    const stack = new Stack();
    stack.nextLayer();
    let bytes = 0;
    for (let i = 0; i < SMALL_FILES; i++) {
      const d = i % DIRECTORIES;
      const sizeBytes = randomSize(random, { medianBytes: 1536, sigma: 1, maxBytes: 65536 });
      bytes += sizeBytes;
      stack.file(`small/p${d % 20}/d${d}/file-${i.toString(36)}.txt`, sizeBytes, i + 1);
    }
    const tar = join(directory, 'small.tar');
    const entries = [...stack.visible()];
    // Depth first, as tar(1) writes them.
    await writeLayerTar(tar, entries);
    return { tar, top: 'small', entries: entries.length, bytes };
  });
}
