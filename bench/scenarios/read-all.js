/**
 * Every file of a 20-layer image opened, read to its end and closed, in depth-first order, twice. Stands for `grep -r`,
 * `tar c`, checksumming, virus scanners. Does not show random order nor several readers. "First" is the first read through
 * this mount: the pages of the sources are in memory.
 */
import { coldAndWarm } from '../lib/passes.js';

export const readAll = {
  name: 'read-all',
  metrics: ['read-all-first', 'read-all-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'read-all',
      unit: 's',
      first: 'first',
      pass: (directory) => context.load('read-all', directory, image.lists.files),
    }),
};
