/**
 * 20,000 small files unpacked by tar, copied with cp -a inside the mount, and the copy's original removed by rm -rf. Stands
 * for package managers and build steps of an image. Nothing is there before in the lower layers; tar runs as root, so that
 * each file costs chown, chmod and utimes as well. Does not show whiteouts (see remove-lower), nor a disk that must be
 * waited for: nothing is synced while the clock runs.
 */
import { join } from 'node:path';
import { eachPlace } from '../lib/writable.js';
import { SMALL_FILES, smallFiles as material } from '../materials/small-files.js';

export const smallFiles = {
  name: 'small-files',
  group: 'write',
  metrics: ['untar', 'cp-a', 'rm-rf'],
  images: ['base3'],
  async measure(context, subject, image) {
    const { tar, top } = await material(context.work);
    return eachPlace(context, subject, image, {}, (steps) => {
      const { directory } = steps;
      steps.program('untar', SMALL_FILES, 'tar', ['-xf', tar, '-C', directory]);
      steps.program('cp-a', SMALL_FILES, 'cp', ['-a', join(directory, top), join(directory, 'copy')]);
      steps.program('rm-rf', SMALL_FILES, 'rm', ['-rf', join(directory, top)]);
    });
  },
};
