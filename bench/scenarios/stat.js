/**
 * lstat of every path of a 20-layer image, in depth-first order. Stands for tools that look at everything by name:
 * package managers, linkers, interpreters resolving imports, `git status`. Does not show lookups from many threads, nor
 * random order.
 */
import { coldAndWarm } from '../lib/passes.js';

export const stat = {
  name: 'stat',
  metrics: ['stat-cold', 'stat-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'stat',
      unit: 'us',
      pass: (directory) => context.load('stat', directory, image.lists.paths),
    }),
};
