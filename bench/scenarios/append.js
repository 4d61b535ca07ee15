/**
 * 20,000 times open, append 100 bytes, close, through 200 files of the upper round and round. Stands for logs and for
 * programs that keep no file open. Does not show fsync.
 */
import { join } from 'node:path';
import { eachPlace } from '../lib/writable.js';

const TIMES = 20000;

export const append = {
  name: 'append',
  group: 'write',
  metrics: ['append'],
  images: ['base3'],
  measure: (context, subject, image) =>
    eachPlace(context, subject, image, {}, (steps) => {
      const directory = join(steps.directory, 'logs');
      context.write('create', directory, 200);
      steps.step('append', TIMES, () => context.write('append', directory, 200, TIMES).seconds);
    }),
};
