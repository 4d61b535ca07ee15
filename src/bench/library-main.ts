/** The process of the subject `lamina-library` (subjects/library.ts): an image, then passes on stdin, a line of JSON each. */
import { createInterface } from 'node:readline';
import { openImage } from '../image/image.js';
import type { OpenImageOptions } from '../image/open.js';
import { runPass } from './library-load.js';
import type { Pass } from './subject.js';

const [name, options] = process.argv.slice(2) as [string, string];
const image = await openImage(name, JSON.parse(options) as OpenImageOptions);
const answer = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
answer('ready');
for await (const line of createInterface({ input: process.stdin })) {
  try {
    answer(await runPass(image, JSON.parse(line) as Pass));
  } catch (error) {
    answer({ error: (error as Error).message });
  }
}
await image.close();
