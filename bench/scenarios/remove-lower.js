/**
 * rm -rf of all 21,800 paths of the lower layers, from a fresh mount. Stands for `apt-get clean`, `rm -rf
 * /var/lib/apt/lists`, uninstalling: each name that goes away leaves a whiteout. A plain directory has nothing to leave.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eachPlace } from '../lib/writable.js';

export const removeLower = {
  name: 'remove-lower',
  group: 'write',
  metrics: ['rm-rf-lower'],
  images: ['base3'],
  measure: (context, subject, image) =>
    eachPlace(context, subject, image, { lower: true }, (steps) => {
      const top = readdirSync(steps.directory).map((name) => join(steps.directory, name));
      steps.program('rm-rf-lower', image.entries, 'rm', ['-rf', ...top]);
    }),
};
