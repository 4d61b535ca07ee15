/**
 * `npm ci` of this repository from a warm cache that lies outside the mount. Stands for the step that most Node images and
 * CI jobs spend their time in. Half of it is npm's own work in JavaScript. Does not show a network nor install scripts.
 */
import { join } from 'node:path';
import { run } from '../lib/system.js';
import { eachPlace } from '../lib/writable.js';
import { npmCi as flags, npmProject } from '../materials/npm-project.js';

export const npmCi = {
  name: 'npm-ci',
  group: 'write',
  metrics: ['npm-ci'],
  images: ['base3'],
  async measure(context, subject, image) {
    const { project, cache, files } = await npmProject(context.work);
    return eachPlace(context, subject, image, {}, (steps) => {
      const cwd = join(steps.directory, 'project');
      run('cp', ['-r', project, cwd]);
      steps.program('npm-ci', files, 'npm', flags(cache), { cwd });
    });
  },
};
