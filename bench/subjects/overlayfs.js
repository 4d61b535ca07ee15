/**
 * The target: kernel overlayfs over the unpacked layers, mounted by lowerdir+ so that 127 layers fit. The kernel wants two
 * lower directories where there is no upper one, so a single layer gets an empty second one below it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compiled } from '../lib/work.js';
import { run, unmount } from '../lib/system.js';

export const overlayfs = {
  name: 'overlayfs',
  missing: () => undefined,
  mount(image, directory, { work }) {
    mkdirSync(directory, { recursive: true });
    const lowers = [...image.lowers].reverse();
    if (lowers.length === 1) {
      const empty = join(work, 'empty');
      mkdirSync(empty, { recursive: true });
      lowers.push(empty);
    }
    run(compiled(work, 'overlay-tool'), ['mount', directory, ...lowers]);
    return { umount: () => unmount(directory) };
  },
  /** As container engines would have it at its best: nothing of a file is copied before it must be. */
  mountWritable(image, directory, { upper, workdir }) {
    const layers = `lowerdir=${[...image.lowers].reverse().join(':')},upperdir=${upper},workdir=${workdir}`;
    run('mount', [
      '-t',
      'overlay',
      '-o',
      `${layers},metacopy=on,redirect_dir=on,index=on`,
      'bench',
      directory,
    ]);
    return { umount: () => unmount(directory) };
  },
};
