/**
 * 1 GiB written in order in pieces of 1 MiB to a new file and then over the same file, each without and with an fsync at
 * the end, and 50,000 writes of 4 KiB at random places of it. Stands for databases, archives, downloads. Without fsync it
 * shows the way into the page cache and not a disk. Does not show a file that has to be copied up first.
 */
import { join } from 'node:path';
import { eachPlace } from '../lib/writable.js';

const GIB = 2 ** 30;
const RANDOM_WRITES = 50000;

export const bulk = {
  name: 'bulk',
  group: 'write',
  metrics: ['write-1G', 'rewrite-1G', 'random-4K', 'write-1G-fsync', 'rewrite-1G-fsync'],
  images: ['base3'],
  measure: (context, subject, image) =>
    eachPlace(context, subject, image, {}, (steps) => {
      const file = join(steps.directory, 'bulk');
      const write = (metric, operations, ...args) =>
        steps.step(metric, operations, () => context.write(...args).seconds);
      write('write-1G', 1024, 'sequential', file, GIB);
      write('rewrite-1G', 1024, 'sequential', file, GIB);
      write('random-4K', RANDOM_WRITES, 'random', file, GIB, RANDOM_WRITES);
      const synced = join(steps.directory, 'synced');
      write('write-1G-fsync', 1024, 'sequential', synced, GIB, 'fsync');
      write('rewrite-1G-fsync', 1024, 'sequential', synced, GIB, 'fsync');
    }),
};
