/**
 * The real `find DIR` over a 20-layer image: readdir, and a stat of every directory. Stands for find itself, `rsync`'s
 * first pass, security scanners. Includes find's start and its printing.
 */
import { coldAndWarm } from '../lib/passes.js';
import { timed } from '../lib/system.js';

export const find = {
  name: 'find',
  metrics: ['find-cold', 'find-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'find',
      unit: 's',
      pass: (directory) => ({ seconds: timed('find', [directory]), operations: image.entries, bytes: 0 }),
    }),
};
