/** The ceiling: the merged tree as an ordinary directory, bound to the mount point so that each mount is a new one. */
import { mkdirSync } from 'node:fs';
import { run, unmount } from '../lib/system.js';

export const plainDir = {
  name: 'plain-dir',
  missing: () => undefined,
  mount(image, directory) {
    mkdirSync(directory, { recursive: true });
    run('mount', ['--bind', '-o', 'ro', image.plain, directory]);
    return { umount: () => unmount(directory) };
  },
  mountWritable(image, directory, { upper, lower }) {
    if (lower) run('cp', ['-a', `${image.plain}/.`, upper]);
    run('mount', ['--bind', upper, directory]);
    return { umount: () => unmount(directory) };
  },
};
