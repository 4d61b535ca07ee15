/**
 * A repository of 4,600 files cloned over git's own transport, another branch checked out (about 1,100 files replaced),
 * and `git status` twice: the first reads what was checked out in the second in which the index was written, the second is
 * what an editor asks for all day. Stands for development containers and CI checkouts. Does not show a network, nor a
 * status with cold caches.
 */
import { join } from 'node:path';
import { run } from '../lib/system.js';
import { eachPlace } from '../lib/writable.js';
import { repository } from '../materials/repository.js';

export const git = {
  name: 'git',
  group: 'write',
  metrics: ['git-clone', 'git-checkout', 'git-status-first', 'git-status'],
  images: ['base3'],
  async measure(context, subject, image) {
    const { bare, files, changed } = await repository(context.work);
    const env = { ...process.env, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' };
    return eachPlace(context, subject, image, {}, (steps) => {
      const clone = join(steps.directory, 'clone');
      const inClone = (metric, operations, ...args) =>
        steps.program(metric, operations, 'git', ['-C', clone, ...args], { env });
      steps.program('git-clone', files, 'git', ['clone', '--quiet', '--no-local', bare, clone], { env });
      inClone('git-checkout', changed, 'checkout', '--quiet', 'earlier');
      inClone('git-status-first', files, 'status', '--porcelain');
      // An index that is younger than all files by its full seconds: no file has to be read to know that it is the same.
      run('sleep', ['1.1']);
      run('git', ['-C', clone, 'update-index', '--force-write-index'], { env });
      inClone('git-status', files, 'status', '--porcelain');
    });
  },
};
