/**
 * One chown of a file of 1 GiB in a lower layer. Stands for entry points that give a data directory to a service user: a
 * union without metacopy copies the file. Does not show the first write to it, which copies it here as well.
 */
import { join } from 'node:path';
import { eachPlace } from '../lib/writable.js';

export const chown = {
  name: 'chown',
  group: 'write',
  metrics: ['chown-1G'],
  images: ['large1g'],
  measure: (context, subject, image) =>
    eachPlace(context, subject, image, { lower: true }, (steps) => {
      const file = join(steps.directory, image.sample);
      steps.step('chown-1G', 1, () => context.write('chown', file, 1234).seconds);
    }),
};
