/**
 * A walk over all directories of a 20-layer image by readdir alone: opens each directory by the type that readdir gave and
 * stats nothing. Stands for globbing (fd, ripgrep --files, bundlers). It also proves that all subjects list the same
 * number of names. Does not show what a walk costs that asks for attributes (see find, ls-lR).
 */
import { coldAndWarm } from '../lib/passes.js';

export const walk = {
  name: 'walk',
  metrics: ['walk-cold', 'walk-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'walk',
      unit: 's',
      pass: (directory) => context.load('walk', directory),
    }),
};
