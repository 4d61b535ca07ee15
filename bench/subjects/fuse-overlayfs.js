/** The peer: Debian's fuse-overlayfs over the same unpacked layers, with its defaults. */
import { mkdirSync } from 'node:fs';
import { hasCommand, run, unmount } from '../lib/system.js';

export const fuseOverlayfs = {
  name: 'fuse-overlayfs',
  missing: () => (hasCommand('fuse-overlayfs') ? undefined : 'fuse-overlayfs is not installed'),
  mount(image, directory) {
    mkdirSync(directory, { recursive: true });
    run('fuse-overlayfs', ['-o', `ro,lowerdir=${[...image.lowers].reverse().join(':')}`, directory], {
      stdio: 'ignore',
    });
    return { umount: () => unmount(directory) };
  },
  mountWritable(image, directory, { upper, workdir }) {
    const layers = `lowerdir=${[...image.lowers].reverse().join(':')},upperdir=${upper},workdir=${workdir}`;
    run('fuse-overlayfs', ['-o', layers, directory], { stdio: 'ignore' });
    return { umount: () => unmount(directory) };
  },
};
