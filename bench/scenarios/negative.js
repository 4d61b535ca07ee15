/**
 * Three names that are not there looked up in every directory. Stands for search paths: node_modules upwards, ld.so,
 * PYTHONPATH, #include. In a layered tree a missing name is the dearest one, as every layer must be asked. Does not show
 * names asked for below directories that are missing themselves.
 */
import { coldAndWarm } from '../lib/passes.js';

export const negative = {
  name: 'negative',
  metrics: ['negative-cold', 'negative-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'negative',
      unit: 'us',
      pass: (directory) => context.load('negative', directory, image.lists.missing),
    }),
};
