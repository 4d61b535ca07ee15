/**
 * make -j2 with gcc of a real source tree that lies in the upper, as after its unpacking. Stands for building software in
 * a container. Compiler and system headers lie outside the mount. Does not show linking of something large.
 */
import { join } from 'node:path';
import { run } from '../lib/system.js';
import { eachPlace } from '../lib/writable.js';
import { sourceTree } from '../materials/source-tree.js';

export const compile = {
  name: 'compile',
  group: 'write',
  metrics: ['make-j2-busybox', 'make-j2-native'],
  images: ['base3'],
  async measure(context, subject, image) {
    const { name, tree, targets, objects } = await sourceTree(context.work);
    return eachPlace(context, subject, image, {}, (steps) => {
      const directory = join(steps.directory, 'source');
      run('cp', ['-a', tree, directory]);
      steps.program(`make-j2-${name}`, objects, 'make', ['-C', directory, '-j2', ...targets]);
    });
  },
};
